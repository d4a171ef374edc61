# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A database, an executor and an engine for the engine's flow tests; no gateway.

    with Engine() as t:
        task = t.task("hello")
        run = t.run(task)            # by command, as the gateway would write it
        assert t.wait_end(run) == "completed"
    # leaving checks everything (tests/lib/checker.py)

Rows are written as takt_owner; the programs are the ones in TAKT_BUILD.
"""
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import shutil
import time
import uuid

import psycopg

import checker
from forge import add_events
from pg import BUILD, Pg, wait_until

TERMINAL = ("completed", "failed", "timed_out", "cancelled", "expired")


def uuid7():
    ms = time.time_ns() // 1_000_000
    raw = bytearray(ms.to_bytes(6, "big") + os.urandom(10))
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    return str(uuid.UUID(bytes=bytes(raw)))


class Engine:
    def __init__(self, max_units=64, plugins=("plugins/hello", "tests/plugins"), executor=True, durable=False,
                 executor_units=64, environment=None):
        self.environment = environment or {}
        self.max_units = max_units
        self.executor_units = executor_units
        self.plugins = plugins
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="ten-", dir="/tmp"))
        self.state = self.root / "node"
        self.state.mkdir(mode=0o700)
        self.engine_process = self.executor_process = None
        self.pg = Pg(durable=durable)
        self.others = []
        try:
            self.pg.migrate()
            self.owner = self.pg.connect("takt_owner")
            self.org = self.one("insert into takt.org (name) values ('acme') returning id")
            self.one("select takt.make_partitions((current_date - interval '1 month')::date, 6)")
            self.write_conf()
            if executor:
                self.start_executor()
            self.start_engine()
            wait_until(lambda: self.one("select id from takt.node"), 30, "the engine to enter its node")
        except BaseException:
            self.close()
            raise

    # processes ---------------------------------------------------------------------------------

    calendar_dirs = ()

    def write_conf(self, **more):
        values = {"state_dir": str(self.state), "node_name": "test-node", "db": self.pg.conninfo,
                  "listen": "127.0.0.1:1", "log_level": "debug", **more}
        lines = [f'{k} = "{v}"' for k, v in values.items() if k not in ("log_level",)]
        lines += [f"log_level = {values['log_level']}", f"max_units = {self.max_units}", "roles = {engine}",
                  "auto_migrate = false", "platform_dirs = {}",
                  "calendar_dirs = {%s}" % ", ".join(f'"{d}"' for d in self.calendar_dirs)]
        (self.root / "taktd.conf").write_text("\n".join(lines) + "\n")

    def _spawn(self, name, argv):
        with open(self.root / f"{name}.log", "ab") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                    env={**os.environ, **self.environment})

    def start_executor(self):
        argv = [str(BUILD / "takt-executor"), "--state", str(self.state), "--max-units", str(self.executor_units),
                "--log-level", "debug"]
        for directory in self.plugins:
            argv += ["--plugin-dir", str(BUILD / directory)]
        self.executor_process = self._spawn("executor", argv)

    def start_engine(self):
        self.engine_process = self._spawn(
            "engine", [str(BUILD / "taktd"), "-x", "engine", "-c", str(self.root / "taktd.conf")])

    def second_node(self, name="second", max_units=None):
        """Another engine with its own state and executor on the same database; ended by close()."""
        other = Engine.__new__(Engine)
        other.__dict__.update(self.__dict__)
        other.root = self.root / name
        other.state = other.root / "node"
        other.state.mkdir(mode=0o700, parents=True)
        other.max_units = max_units or self.max_units
        other.write_conf(node_name=name)
        other.start_executor()
        other.start_engine()
        self.others.append(other)
        wait_until(lambda: self.one("select count(*) from takt.node") == 1 + len(self.others), 30, "the second node")
        return other

    def node(self):
        """This node's id, once its engine has entered it."""
        return (self.state / "node-id").read_text().strip()

    def drain(self, is_draining=True):
        self.sql("update takt.node set draining = %s where id = %s", is_draining, self.node())
        self.sql("notify takt_node")

    def kill_engine(self, sig=signal.SIGKILL):
        self.engine_process.send_signal(sig)
        code = self.engine_process.wait(60)
        return code

    def kill_database(self):
        self.owner.close()
        self.pg.kill9()
        self.pg.start()
        self.owner = self.pg.connect("takt_owner")

    def _stop(self, process):
        if process and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _stop_units(self):
        """Keepers outlive the executor by design; end ours by what their directories say."""
        for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
            try:
                fds = os.listdir(f"/proc/{pid}/fd")
                mine = any(os.readlink(f"/proc/{pid}/fd/{f}").startswith(str(self.state)) for f in fds)
                if mine and int(pid) != os.getpid():
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                continue

    def close(self):
        for other in self.others:
            other._stop(other.engine_process)
            other._stop(other.executor_process)
            other._stop_units()
        self._stop(self.engine_process)
        self._stop(self.executor_process)
        self._stop_units()
        self.pg.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def logs(self):
        return "\n".join(f"--- {p.name}\n" + "\n".join(p.read_text(errors="replace").splitlines()[-60:])
                         for p in sorted(self.root.glob("*.log")))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                problems = checker.check(self.owner)
                assert not problems, "\n".join(problems)
            else:
                print(self.logs())
        except AssertionError:
            print(self.logs())
            raise
        finally:
            self.close()

    # rows --------------------------------------------------------------------------------------

    def sql(self, text, *params):
        cursor = self.owner.execute(text, params or None)
        return cursor.fetchall() if cursor.description else None

    def one(self, text, *params):
        rows = self.sql(text, *params)
        return rows[0][0] if rows else None

    def task(self, task_type, parameters=None, target=None, cron=None, zone="UTC", enabled=True, schedule=None, **limits):
        """A definition as the gateway normalises it. schedule: columns of takt.schedule, besides include and exclude: ids of
        calendars."""
        task = str(uuid.uuid4())
        definition = {"name": f"{task_type}-{task[:8]}", "description": "", "task_type": task_type,
                      "cron_expression": cron, "timezone": zone, "enabled": enabled,
                      "max_retries": limits.get("max_retries", 0),
                      "retry_delay_seconds": limits.get("retry_delay_seconds", 0),
                      "timeout_seconds": limits.get("timeout_seconds", 300),
                      "dst_gap": "run_at_gap_end", "dst_fold": "first", "overlap": limits.get("overlap", "queue"),
                      **({"overlap_limit": limits["overlap_limit"]} if "overlap_limit" in limits else {}),
                      "parameters": {"type": task_type, **(parameters or {})}, "target": target}
        self.sql("insert into takt.task (id, org_id, name, task_type, enabled, definition) values (%s,%s,%s,%s,%s,%s)",
                 task, self.org, definition["name"], task_type, enabled, json.dumps(definition))
        if cron or schedule is not None:
            self._schedule(task, {"kind": "cron", "expr": cron or "", "zone": zone, "enabled": enabled, **(schedule or {})})
        return task

    def _schedule(self, task, columns):
        calendars = [(c, is_exclude) for side, is_exclude in (("include", False), ("exclude", True))
                     for c in columns.pop(side, ())]
        row = {"id": task, "org_id": self.org, "task_id": task, "has_calendars": bool(calendars), **columns}
        with self.owner.transaction():
            self.sql(f"insert into takt.schedule ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})", *row.values())
            for calendar, is_exclude in calendars:
                self.sql("insert into takt.schedule_calendar (org_id, schedule_id, calendar_id, is_exclude) values (%s,%s,%s,%s)",
                         self.org, task, calendar, is_exclude)

    def calendar(self, name, days):
        """days: {date: reason}; returns its id."""
        calendar = str(self.one("insert into takt.calendar (id, org_id, name, source) values (gen_random_uuid(), %s, %s, 'days') "
                                "returning id", self.org, name))
        self.calendar_days(calendar, days)
        return calendar

    def calendar_days(self, calendar, days):
        """Other days, as the gateway puts them: who uses it is planned anew."""
        with self.owner.transaction():
            self.sql("delete from takt.calendar_day where calendar_id = %s", calendar)
            for day, reason in days.items():
                self.sql("insert into takt.calendar_day (calendar_id, org_id, day, reason) values (%s,%s,%s,%s)", calendar, self.org,
                         day, reason)
            self.sql("update takt.calendar set version = version + 1 where id = %s", calendar)
            self.sql("update takt.schedule s set replan_from = now(), next_due_at = case when next_due_at <= now() then next_due_at end, "
                     "next_fire_at = case when next_due_at <= now() then next_fire_at end "
                     "where id in (select schedule_id from takt.schedule_calendar where calendar_id = %s)", calendar)
        self.sql("notify takt_schedule")

    def due(self, task, when):
        """Set the schedule's next time; `when` is an SQL expression. Returns it: the engine may move on at once."""
        due = self.one(f"update takt.schedule set (next_due_at, next_fire_at) = ({when}, {when} + jitter_off_s * interval '1 s') where task_id = %s returning next_due_at", task)
        self.sql("notify takt_schedule")
        return due

    def command(self, kind, body, run):
        command = str(uuid.uuid4())
        self.sql("insert into takt.command (id, org_id, request_hash, kind, actor, body, run_id) "
                 "values (%s,%s,%s,%s,'tester',%s,%s)", command, self.org, hashlib.sha256(b"x").digest(), kind,
                 json.dumps(body), run)
        self.sql("notify takt_command")
        return command

    def answer(self, command, limit_s=30):
        wait_until(lambda: self.one("select decided_at from takt.command where id = %s", command), limit_s,
                   "the command's answer")
        return self.sql("select status, answer from takt.command where id = %s", command)[0]

    def run(self, task, wait=True):
        run = uuid7()
        command = self.command("run.create", {"task_id": task}, run)
        if wait:
            status, answer = self.answer(command)
            assert status == 201, answer
            assert answer["id"] == run and answer["state"] == "queued"
        return run

    def cancel(self, run, reason="test"):
        return self.answer(self.command("run.cancel", {"run_id": run, "reason": reason}, run))

    def steal(self, run):
        """As if another node had taken it over: what this node reports of it from now on is stale."""
        self.sql("update takt.live set epoch = epoch + 1, node_id = gen_random_uuid() where run_id = %s", run)

    def give_back(self, run):
        """End a stolen run as its owner would, so that the tables are whole again."""
        wait_until(lambda: self._end_stolen(run), 30, "a feed number that no engine takes meanwhile")

    def _end_stolen(self, run):
        try:
            with self.owner.transaction():
                self._end_as_owner(run)
            return True
        except psycopg.errors.UniqueViolation:
            return False

    def _end_as_owner(self, run):
        self.sql("update takt.live set state = 'cancelling', event_seq = event_seq + 2 where run_id = %s", run)
        self.sql("insert into takt.attempt_row (run_id, no, org_id, epoch, node_id, state, opened_at, finished_at, timeout_s, "
                 "unit_state) select run_id, attempt, org_id, epoch, node_id, 'cancelled', opened_at, now(), timeout_s, "
                 "'cancelled' from takt.live where run_id = %s", run)
        at = "2026-01-01T00:00:00.000000Z"
        add_events(self.owner.execute, run, [
            {"type": "task_cancelling", "severity": "info", "at": at, "state": "cancelling"},
            {"type": "task_cancelled", "severity": "info", "at": at, "state": "cancelled"}])
        self.sql("update takt.run set state = 'cancelled', finished_at = now(), last_batch = (select last_batch from takt.live "
                 "where run_id = id) where id = %s", run)
        self.sql("delete from takt.live where run_id = %s", run)

    def device(self, name, platform="linux"):
        self.sql("insert into takt.platform (name, title) values (%s, %s) on conflict do nothing", platform, platform)
        return str(self.one("insert into takt.device (id, org_id, name, address, platform) values "
                            "(gen_random_uuid(), %s, %s, '192.0.2.1', %s) returning id", self.org, name, platform))

    def group(self, name, devices):
        group = str(self.one("insert into takt.device_group (id, org_id, name) values (gen_random_uuid(), %s, %s) "
                             "returning id", self.org, name))
        for device in devices:
            self.sql("insert into takt.group_member values (%s, %s, %s)", group, device, self.org)
        return group

    def state_of(self, run):
        return self.one("select coalesce(r.state, l.state) from takt.run r left join takt.live l on l.run_id = r.id "
                        "where r.id = %s", run)

    def wait_state(self, run, *states, limit_s=60):
        def reached():
            state = self.state_of(run)
            return state if state in states else None
        try:
            return wait_until(reached, limit_s, f"run {run} to be {' or '.join(states)}")
        except TimeoutError as e:
            raise AssertionError(f"{e}; it is {self.state_of(run)}") from e

    def wait_end(self, run, limit_s=60):
        return self.wait_state(run, *TERMINAL, limit_s=limit_s)

    def events(self, run):
        return [item for (item,) in self.sql("select item from takt.event_item where run_id = %s order by seq", run)]

    def types(self, run):
        return [e["type"] for e in self.events(run)]

    def summary(self, run):
        return self.one("select summary from takt.run where id = %s", run)

    def output(self, run, attempt=1, unit=0):
        """The unit's output, decompressed; fails on a gap or an overlap."""
        whole = b""
        for off, raw_b, data in self.sql("select off, raw_b, data from takt.output where run_id = %s and attempt = %s "
                                         "and unit_no = %s order by off", run, attempt, unit):
            assert off == len(whole), f"output jumps from {len(whole)} to {off}"
            raw = subprocess.run(["zstd", "-dcq"], input=bytes(data), capture_output=True, check=True).stdout
            assert len(raw) == raw_b
            whole += raw
        return whole

    def witness(self, path):
        return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
