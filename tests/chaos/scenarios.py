#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Small scenes, a minute or so each, of one fault at its worst moment; without --faults the same work in peace.

    tests/chaos/scenarios.py NAME [--build DIR] [--faults] [--seed N] [--out FILE] [name=value ...]

Ends with the judge's problems (exit 1 if there are any). What a mutant (mutants/*.mutant) breaks goes red in its
scene and nowhere else; the real thing is clean in all of them, which mutants.py checks first.
"""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import sys
import threading
import time
import uuid
from datetime import datetime, timezone

import psycopg
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import facts  # noqa: E402
import judge  # noqa: E402
from clock import Clocks  # noqa: E402
from load import FeedReader, Journal, SocketReader, first_cursor  # noqa: E402
from rig import Rig, alive, processes, wait_until  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import frames  # noqa: E402
from failpoints import Failpoints  # noqa: E402

LIMIT_S = 60
SCENES = {}
SECOND = "select 1 from takt.live where run_id = %s and attempt = 2 and state = 'running'"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def scene(nodes=1, **rig):
    """A function of (scene, faults, **arguments): made with so many nodes."""
    def add(function):
        SCENES[function.__name__] = function, nodes, rig
        return function
    return add


class Scene:
    def __init__(self, build, seed, nodes, reader=True, clock=False, **rig):
        """clock: the server's own, which can be set."""
        self.clocks = Clocks(0, begin=datetime.now(timezone.utc)) if clock else None
        if clock:
            self.clock = self.clocks.pg
            rig["pg_env"] = self.clock.env
        self.rig = Rig(seed=seed, nodes=nodes, build=build, **rig)
        self.client = Journal(self.rig.journals / "client.jsonl", sync=True)
        self.faults = Journal(self.rig.journals / "faults.jsonl", sync=True)
        self.tasks, self.points, self.threads, self.readers, self.tags = {}, {}, [], [], set()
        self.faults_n, self.schedules, self.has_reader = 0, [], reader
        self.witness_file = self.rig.journals / "witness.jsonl"
        for node in self.rig.nodes:
            self.points[node] = Failpoints(node.root / "fp")
            node.env["TAKT_FAILPOINTS_DIR"] = node.executor_env["TAKT_FAILPOINTS_DIR"] = str(node.root / "fp")

    # work ---------------------------------------------------------------------------------------

    def start(self, *nodes):
        for node in nodes or self.rig.nodes:
            node.start()
        wait_until(lambda: all(n.is_up() for n in nodes or self.rig.nodes), LIMIT_S, f"the nodes\n{self.rig.logs()}")
        wait_until(lambda: self.rig.has_type("witness"), LIMIT_S, "the witness")
        if self.has_reader and not self.readers:
            self.read_with(FeedReader(self.rig))

    def read_with(self, reader):
        self.readers.append(reader)
        thread = threading.Thread(target=reader.run, args=(dict(self.tasks),), daemon=True)
        thread.start()
        self.threads.append(thread)
        wait_until(lambda: reader.is_ready, LIMIT_S, "the reader")

    def define(self, name, task_type, parameters=None, cron=None, **limits):
        parameters = dict(parameters or {})
        if task_type.startswith("witness"):
            parameters.update(file=str(self.witness_file), label=name)
        document = {"name": name, "task_type": task_type, "timeout_seconds": 300, "max_retries": 0, "retry_delay_seconds": 1,
                    "overlap": "parallel", "parameters": parameters, **({"cron_expression": cron} if cron else {}), **limits}
        status, body = self.rig.http("POST", "/tasks", document)
        assert status == 201, (status, body)
        self.tasks[name] = body["id"]
        if cron or "schedule" in limits:
            self.schedules.append(body["id"])

    def send(self, kind, path, about, key, node):
        """One try, as load.py journals it; (status, body) or None."""
        self.client.write(what="sent", kind=kind, key=key, at=time.time(), **about)
        try:
            status, body = self.rig.http("POST", path, node=node, key=key, role="operator", timeout=10)
        except (requests.RequestException, ValueError) as e:
            self.client.write(what="silence", key=key, at=time.time(), why=type(e).__name__)
            return None
        body = body if isinstance(body, dict) else {}
        run = about.get("run") or body.get("id") or body.get("run_id")
        self.client.write(what="answer", kind=kind, key=key, at=time.time(), status=status, run=run, state=body.get("state"))
        return status, body

    def order(self, kind, path, nodes=None, **about):
        """Until it is acknowledged; the answer."""
        key, end, n = f"c-{uuid.uuid4()}", time.monotonic() + LIMIT_S, 0
        nodes = nodes or self.rig.nodes
        while time.monotonic() < end:
            answer = self.send(kind, path, about, key, nodes[n % len(nodes)])
            if answer and answer[0] < 500 and (answer[0] != 202 or kind == "run.cancel"):
                return answer
            n += 1
            time.sleep(0.1)
        raise TimeoutError(f"{kind} was not acknowledged")

    def run(self, name, nodes=None):
        status, body = self.order("run.create", f"/tasks/{self.tasks[name]}/run", nodes, task=self.tasks[name])
        assert status == 201, body
        return body["id"]

    def cancel(self, run):
        return self.order("run.cancel", f"/runs/{run}/cancel", run=run)

    # looks --------------------------------------------------------------------------------------

    def lines(self, run, phase=None):
        return [line for line in facts.lines(self.witness_file) if line["run"] == run and phase in (None, line["phase"])]

    def wait(self, condition, what, limit_s=LIMIT_S):
        def holds():
            try:
                return condition()
            except (psycopg.Error, requests.RequestException, OSError):
                return None
        return wait_until(holds, limit_s, what)

    def state(self, run):
        return self.rig.query("select coalesce(r.state, l.state) from takt.run r left join takt.live l on l.run_id = r.id "
                              "where r.id = %s", run)[0][0]

    def wait_state(self, run, *states, limit_s=LIMIT_S):
        return self.wait(lambda: self.state(run) in states, f"run {run} to be {states}", limit_s)

    def has_ended(self, run):
        return judge.STATES[self.state(run)]

    def wait_running(self, run, steps=1):
        """In the tables and by the witness; False if it has ended instead."""
        self.wait(lambda: self.state(run) == "running" or self.has_ended(run), f"run {run} to be running")
        self.wait(lambda: len(self.lines(run, "step")) >= steps or self.has_ended(run), f"{steps} steps of run {run}")
        return not self.has_ended(run)

    def wait_end(self, run, limit_s=LIMIT_S):
        self.wait(lambda: self.has_ended(run), f"run {run} to end", limit_s)

    def node_of(self, run):
        name = self.rig.query("select n.name from takt.live l join takt.node n on n.id = l.node_id where l.run_id = %s", run)[0][0]
        return next(n for n in self.rig.nodes if n.name == name)

    def unit_of(self, run):
        """(unit id, node) of the unit of that run that runs now."""
        return next(((u, n) for n in self.rig.nodes for u in n.plugins() if u.startswith(run)), None)

    def now(self):
        return self.rig.query("select extract(epoch from clock_timestamp())::float8")[0][0]

    def sleep(self, seconds):
        """Passing time is what is being tested here."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.1)

    # faults -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def fault(self, kind, node=None, units_hit=()):
        """From now until the block is left; the block may add to units_hit."""
        self.faults_n += 1
        fault = {"no": self.faults_n, "kind": kind, "node": node and node.name, "at": time.time(), "units_hit": list(units_hit)}
        self.faults.write(**fault)
        yield fault
        self.faults.write(**{**fault, "healed": time.time()})

    def die_at(self, node, point, action="crash", before=lambda: None):
        """Arm, do something, wait until it has fired."""
        self.points[node].arm(point, action)
        before()
        self.wait(lambda: self.points[node].has_fired(point), f"{node.name} to pass {point}")

    def signal(self, node, kind, sig):
        pids = node.pids(kind)
        for pid in pids:
            os.kill(pid, sig)
        return pids

    def hold_events(self, condition):
        """The transaction that adds such an event (SQL over `new`) waits after its insert, until release()."""
        self.rig.query("create or replace function takt.chaos_hold() returns trigger language plpgsql security definer as "
                       f"$$ begin if {condition} then perform pg_advisory_xact_lock_shared(4711); end if; return null; end $$")
        self.rig.query("create trigger chaos_hold after insert on takt.event_batch for each row execute function takt.chaos_hold()")
        holder = self.rig.pg.connect()
        holder.execute("select pg_advisory_lock(4711)")
        return holder

    def is_held(self):
        return self.rig.query("select 1 from pg_locks where locktype = 'advisory' and objid = 4711 and not granted")

    # the end ------------------------------------------------------------------------------------

    def note_tags(self):
        for node in self.rig.nodes:
            for path in (node.state / "units").glob("*.*.*"):
                file = frames.read_unit(path)
                if file and file.meta["tag"]:
                    self.tags.add(file.meta["tag"])

    def tagged(self):
        """Processes that carry the tag of a unit."""
        wanted, found = {f"TAKT_UNIT={tag}".encode() for tag in self.tags}, []
        for p in processes().values():
            with contextlib.suppress(OSError):
                if wanted & set(pathlib.Path(f"/proc/{p.pid}/environ").read_bytes().split(b"\0")):
                    found.append({"pid": p.pid, "comm": p.comm, "argv": "a unit's"})
        return found

    def quiet(self):
        until = self.rig.query("select extract(epoch from now())::float8")[0][0] - 3
        for task in self.schedules:
            self.wait(lambda t=task: self.rig.http("POST", f"/tasks/{t}/disable")[0] == 200, "a schedule to be disabled")
        return until

    def settle(self, limit_s=60):
        """Nothing is live, the readers have it all; or it will not become so."""
        with contextlib.suppress(TimeoutError):
            self.wait(lambda: self.rig.query("select count(*) from takt.live")[0][0] == 0, "all runs to end", limit_s)
            self.wait(lambda: self.rig.query("select count(*) from takt.command where decided_at is null")[0][0] == 0,
                      "all commands to be decided", limit_s)
            total = self.rig.query("select count(*) from takt.event")[0][0]
            for reader in self.readers:
                if isinstance(reader, FeedReader):
                    self.wait(lambda r=reader: r.count >= total, "the feed's reader", 5)
        self.sleep(1 if self.readers else 0)

    def judged(self):
        until = self.quiet()
        self.settle()
        self.note_tags()
        f = facts.collect(self.rig, is_final=True)
        f.due_until = until
        for reader in self.readers:
            reader.stopping.set()
        for thread in self.threads:
            thread.join(20)
        f.unexpected = list(self.rig.watch())
        f.leftovers = self.tagged()
        self.rig.stop()
        f.leftovers += self.rig.leftovers()
        return f, judge.judge(f)

    def close(self):
        self.note_tags()
        for reader in self.readers:
            reader.stopping.set()
        self.rig.close()
        if self.clocks:
            self.clocks.close()
        for p in self.tagged():
            with contextlib.suppress(OSError):
                os.kill(p["pid"], signal.SIGKILL)


# Stopped and dead nodes ----------------------------------------------------------------------------


@scene(nodes=2)
def stopped_engine(s, faults, type="witness", steps=50, step_ms=500, stop_s=0, retries=3):
    """An engine is stopped beside its running unit; stop_s 0: until another attempt runs elsewhere, or the run has ended."""
    s.start()
    s.define("long", type, {"steps": steps if faults else 4, "step_ms": step_ms}, max_retries=retries)
    run = s.run("long")
    s.wait_running(run, 2)
    if not faults:
        s.wait_state(run, "completed")
        return
    node = s.node_of(run)
    with s.fault("stop", node):
        pids = s.signal(node, "engine", signal.SIGSTOP)
        if stop_s:
            s.sleep(stop_s)
        else:
            s.wait(lambda: s.has_ended(run) or s.rig.query(SECOND, run),
                   "another node to go on", 70)
            s.sleep(3)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        s.wait(node.has_lease, "the lease of the engine that woke up")
    s.wait_end(run, 90)


@scene(nodes=2)
def late_report(s, faults):
    """An engine is stopped with a result in its hands, and sends it when another attempt runs elsewhere."""
    s.start()
    s.define("silent", "witness", {"steps": 1, "step_ms": 8000 if faults else 3000}, max_retries=3)
    run = s.run("silent")
    s.wait_running(run)
    node = s.node_of(run)
    if faults:
        s.sleep(2)  # what the step has brought is committed
        with s.fault("stop", node):
            s.die_at(node, "record.send", "stop")
            s.wait(lambda: s.has_ended(run) or s.rig.query(SECOND, run), "another node to go on", 70)
            s.sleep(1)
            s.signal(node, "engine", signal.SIGCONT)
            s.wait(node.has_lease, "the lease of the engine that woke up")
    s.wait_end(run)


@scene(nodes=2)
def dead_machine(s, faults, type="witness_change", steps=30):
    """A node dies with everything that ran there; its run is another's after the rescue."""
    s.start()
    s.define("long", type, {"steps": steps if faults else 4, "step_ms": 300}, max_retries=3)
    run = s.run("long")
    s.wait_running(run, 2)
    if faults:
        node = s.node_of(run)
        unit, _ = s.unit_of(run)
        with s.fault("dead", node, [unit]):
            pids = node.pids("plugin") + node.pids("keeper")
            node.kill("taktd")
            node.kill("executor")
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            s.wait(lambda: s.rig.query("select 1 from takt.event_item where run_id = %s and item ->> 'type' = 'attempt_taken_over'", run),
                   "the takeover", 60)
            node.start()
    s.wait_end(run)


# Units, keepers, executors ---------------------------------------------------------------------------


@scene()
def power_loss(s, faults, point="keeper.told"):
    """The engine is down, the unit ends, the power goes: what the keeper had told must be there afterwards."""
    s.start()
    s.define("short", "witness", {"steps": 8, "step_ms": 500, "output_b": 3000})
    run = s.run("short")
    s.wait_running(run, 2)
    node = s.rig.nodes[0]
    if faults:
        with s.fault("power", node):
            node.kill("taktd")
            node.kill("executor")
            keepers = node.pids("keeper")
            s.die_at(node, point, "powerloss")
            s.wait(lambda: not any(alive(p) for p in keepers), "the end of the keeper")
            node.start()
            s.wait(node.is_up, "the node")
    s.wait_end(run)


@scene()
def plugin_killed(s, faults, retries=1):
    """The unit's process dies in each attempt that it gets, three at most."""
    s.start()
    s.define("again", "witness", {"steps": 12 if faults else 3, "step_ms": 250}, max_retries=retries)
    run = s.run("again")
    for attempt in range(1, 4) if faults else ():
        unit = f"{run}.{attempt}.0"
        s.wait(lambda u=unit: s.has_ended(run) or u in s.rig.nodes[0].plugins() and s.lines(run), "the next attempt")
        pid = s.rig.nodes[0].plugins().get(unit)
        if pid is None:
            break
        with s.fault("plugin", s.rig.nodes[0], [unit]):
            os.kill(pid, signal.SIGKILL)
            s.wait(lambda p=pid: not alive(p), "the end of the process")
    s.wait_end(run)


@scene()
def escapees(s, faults):
    """A unit with helpers that left their parents and are deaf; its keeper is killed."""
    s.start()
    tree = s.rig.journals / "tree"
    s.define("tree", "tree", {"file": str(tree), "mode": "neighbour", "helpers": 3, "ms": 6000})
    run = s.run("tree")
    s.wait(lambda: tree.exists() and tree.read_text().count("helper") == 3, "the helpers")
    s.wait_state(run, "running")
    if faults:
        unit, node = s.unit_of(run)
        with s.fault("keeper", node, [unit]):
            os.kill(node.keepers()[unit], signal.SIGKILL)
            s.wait_state(run, "failed")
    s.wait_end(run)


@scene()
def part_killed(s, faults, part="engine"):
    """Engine or executor die twice beside a unit that goes on."""
    s.start()
    s.define("long", "witness", {"steps": 24 if faults else 6, "step_ms": 300, "output_b": 500})
    run = s.run("long")
    node = s.rig.nodes[0]
    for turn in range(2) if faults else ():
        if not s.wait_running(run, 4 + 8 * turn):
            break
        with s.fault(part, node):
            node.kill(part)
            node.start()
            s.wait(node.is_up, "the node")
    s.wait_end(run)


@scene()
def stale_tuple(s, faults):
    """Keeper and executor are dead, and the keeper's pid is somebody else's by now."""
    s.start()
    s.define("long", "witness", {"steps": 16 if faults else 4, "step_ms": 300}, max_retries=2)
    run = s.run("long")
    s.wait_running(run, 2)
    if faults:
        unit, node = s.unit_of(run)
        with s.fault("keeper", node, [unit]):
            keeper = node.keepers()[unit]
            node.kill("executor")
            os.kill(keeper, signal.SIGKILL)
            s.wait(lambda: not alive(keeper), "the end of the keeper")
            path = node.state / "units" / unit
            start = frames.UnitFile(path).meta["keeper_start"]
            frames.write_keeper(path, s.rig.bystander.pid, start)
            node.start()
            s.wait(node.is_up, "the node")
            s.wait(lambda: s.rig.query("select 1 from takt.unit where run_id = %s and attempt = 1 and state = 'failed'", run),
                   "the unit to be lost")
    s.wait_end(run)


# Crashes of an engine at a point -------------------------------------------------------------------------


@scene()
def crash_at_the_result(s, faults, point="record.send"):
    """The engine dies with the result of a unit in its hands: before it is sent, or after it was committed."""
    s.start()
    s.define("silent", "witness", {"steps": 1, "step_ms": 5000})
    run = s.run("silent")
    s.wait_running(run)
    if faults:
        node = s.rig.nodes[0]
        s.sleep(2)  # what the step has brought is committed
        with s.fault("engine", node):
            s.die_at(node, point)
            s.wait(node.is_up, "the node")
    s.wait_end(run)


@scene()
def cancel_without_an_engine(s, faults):
    """The engine dies when the cancel is committed and before the executor hears of it."""
    judge.CANCEL_S = 12.0  # nobody has to be rescued here
    s.start()
    s.define("long", "witness", {"steps": 60, "step_ms": 500})
    run = s.run("long")
    s.wait_running(run, 2)
    node = s.rig.nodes[0]
    if faults:
        with s.fault("engine", node):
            # The first commit of that job reads the command, the second decides it.
            s.die_at(node, "command.committed", "crash:2", lambda: s.cancel(run))
            s.wait(node.is_up, "the node")
    else:
        assert s.cancel(run)[0] in (200, 202)
    s.wait_end(run)


@scene(settings={"client_connection_check_interval": "0"})
def commit_in_doubt(s, faults):
    """An engine dies in the middle of a transaction that goes on without it, and comes back meanwhile."""
    s.start()
    s.define("every second", "hello", cron="* * * * * *")
    s.define("short", "witness", {"steps": 8, "step_ms": 500})
    run = s.run("short")
    s.wait_running(run, 2)
    node = s.rig.nodes[0]
    if faults:
        holder = s.hold_events(f"'{run}' = any(new.run_ids) and new.items::text like '%task_completed%'")
        s.wait(s.is_held, "the transaction")
        with s.fault("engine", node):
            node.kill("executor")  # so that the new engine does not meet the old one's locks
            node.kill("engine")
            s.sleep(5)
            holder.close()
            node.start()
            s.wait(lambda: s.rig.query("select 1 from takt.event where at > now() - interval '1 s'"), "new events")
    s.wait_end(run)
    s.sleep(3)


@scene()
def aborted_commit(s, faults):
    """A transaction fails after its events were written; the connection stays."""
    s.start()
    s.define("short", "witness", {"steps": 3, "step_ms": 300})
    if faults:
        s.rig.query("create sequence public.chaos_hits")
        s.rig.query("create function public.chaos_abort() returns trigger language plpgsql security definer as $$ begin "
                    "if new.items::text like '%task_completed%' and nextval('public.chaos_hits') <= 2 then "
                    "raise exception 'as asked' using errcode = '40001'; end if; return null; end $$")
        s.rig.query("create trigger chaos_abort after insert on takt.event_batch for each row execute function public.chaos_abort()")
        with s.fault("backend", s.rig.nodes[0]):
            runs = [s.run("short")]
            s.wait(lambda: s.rig.query("select last_value >= 2 from public.chaos_hits")[0][0], "two failures")
    else:
        runs = [s.run("short")]
    runs += [s.run("short") for _ in range(2)]
    for run in runs:
        s.wait_state(run, "completed")


# Schedules ----------------------------------------------------------------------------------------------


@scene()
def downtime(s, faults):
    """Nobody is there for five due times."""
    s.start()
    s.define("every 3 s", "hello", cron="*/3 * * * * *")
    s.sleep(4)
    node = s.rig.nodes[0]
    if faults:
        with s.fault("outage", node):
            node.kill("taktd")
            s.sleep(15)
            node.start()
            s.wait(node.is_up, "the node")
    s.sleep(7)


@scene(nodes=2)
def two_decide(s, faults):
    """An engine has read what is due and is stopped; another one, started now, decides; the first wakes up."""
    first, second = s.rig.nodes
    s.start(first)
    s.define("every 2 s", "hello", cron="*/2 * * * * *")
    decided = "select count(*) from takt.occurrence"
    s.wait(lambda: s.rig.query(decided)[0][0] >= 2, "decisions")
    if faults:
        with s.fault("outage", first):
            s.die_at(first, "schedule.committed", "stop")
            pids, n = first.pids("engine"), s.rig.query(decided)[0][0]
            second.start()
            s.wait(lambda: s.rig.query(decided)[0][0] >= n + 3, "the other one to decide")
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            s.wait(lambda: first.has_lease() and second.is_up(), "both")
        s.sleep(5)
    s.sleep(3)


@scene(nodes=2)
def fast_clock(s, faults):
    """The clock of one daemon is 40 s ahead of the database's."""
    node = s.rig.nodes[1]
    if faults:
        node.env.update(LD_PRELOAD=FAKETIME, FAKETIME="+40s", FAKETIME_DONT_FAKE_MONOTONIC="1", NO_FAKE_STAT="1")
    s.start()
    s.define("every 3 s", "hello", cron="*/3 * * * * *")
    s.define("every minute", "hello", cron="7,27,47 * * * * *")
    s.sleep(12)


@scene()
def stale_decision(s, faults, stop_s=85):
    """An engine has read what is due and stands still before it decides; what it had read is late by then."""
    s.start()
    node, due = s.rig.nodes[0], time.gmtime(s.now() + 12)
    for name, catch_up in (("none", {"catch_up": "none"}), ("deadline", {"catch_up": "all", "catch_up_deadline_seconds": 30})):
        s.define(name, "hello", schedule={"kind": "cron", "expr": f"{due.tm_sec} {due.tm_min} * * * *", **catch_up})
    s.sleep(4)
    if faults:
        with s.fault("outage", node):
            s.die_at(node, "schedule.send", "stop:2")
            s.sleep(stop_s)
            for pid in node.pids("engine"):
                os.kill(pid, signal.SIGCONT)
            s.wait(node.is_up, "the node")
    else:
        s.sleep(10)
    s.wait(lambda: s.rig.query("select count(*) from takt.occurrence")[0][0] >= 2, "the decisions")
    s.sleep(2)


@scene(clock=True)
def leap(s, faults):
    """The server's clock goes an hour ahead, over one due time of each; there is none after it that is not late."""
    s.start()
    due = time.gmtime(s.now() + 1500)
    for name, catch_up in (("none", {"catch_up": "none"}), ("latest", {}),
                           ("deadline", {"catch_up": "all", "catch_up_deadline_seconds": 600})):
        s.define(name, "hello", schedule={"kind": "cron", "expr": f"{due.tm_min} * * * *", **catch_up})
    s.define("often", "hello", schedule={"kind": "every", "expr": "3s", "catch_up": "all", "catch_up_limit": 3})
    s.sleep(5)
    if faults:
        at = s.now()
        s.clock.set(3600.0)
        s.sleep(3)
        s.faults.write(no=1, kind="outage", on="server", node=None, at=at, healed=s.now(), step_s=3600.0, units_hit=[])
    s.sleep(8)


@scene()
def jitter(s, faults):
    """Schedules with a jitter, each its own; without faults there are some without."""
    s.start()
    for n in range(8):
        s.define(f"every 4 s, {n}", "hello", schedule={"kind": "every", "expr": "4s", "jitter_seconds": 5 if faults else 0})
    s.sleep(14)


@scene()
def start_deadlines(s, faults):
    """Nobody can start what is queued for longer than its start deadline."""
    s.start()
    node = s.rig.nodes[0]
    s.define("hurry", "hello", schedule={"kind": "every", "expr": "3s", "start_deadline_seconds": 2})
    s.sleep(5)
    if faults:
        with s.fault("executor", node):
            node.kill("executor")
            s.sleep(12)
            node.start()
            s.wait(node.is_up, "the node")
    s.sleep(8)


# Clients and streams ------------------------------------------------------------------------------------


@scene(nodes=2)
def lost_answer(s, faults):
    """A gateway dies when the command is committed; the client asks the other one with the same key."""
    s.start()
    s.define("short", "witness", {"steps": 2, "step_ms": 200})
    runs = [s.run("short")]
    if faults:
        node = s.rig.nodes[0]
        for _ in range(2):
            with s.fault("gateway", node):
                s.points[node].arm("gateway.committed", "crash")
                runs.append(s.run("short"))
                s.wait(lambda: s.points[node].has_fired("gateway.committed"), "the gateway to die")
                s.wait(node.is_up, "the node")
    runs.append(s.run("short"))
    for run in runs:
        s.wait_state(run, "completed")


@scene(reader=False, settings={"wal_writer_delay": "10s", "bgwriter_lru_maxpages": "0", "autovacuum": "off"})
def server_killed(s, faults):
    """kill -9 of PostgreSQL right after the client was told that its run is there; nothing else is written then."""
    s.start()
    s.define("hello", "hello")
    node = s.rig.nodes[0]
    runs = [s.run("hello") for _ in range(3)]
    for run in runs:
        s.wait_end(run)
    for _ in range(3) if faults else ():
        with s.fault("postgres"):
            node.kill("executor")
            s.wait(lambda: s.rig.query("select 1 from takt.plugin") and not node.pids("executor"), "the executor's end")
            s.run("hello")
            s.rig.kill_postgres()
            s.sleep(1)
            s.rig.start_postgres()
            node.start()
            s.wait(node.is_up, "the node")


@scene(reader=False)
def feed_lost(s, faults):
    """The gateway's connection to the feed is gone for three seconds in which a lot happens."""
    s.start()
    s.define("every second", "hello", cron="* * * * * *")
    reader = SocketReader(s.rig, 0)
    start = first_cursor(s.rig, s.tasks["every second"])
    reader.since = {task: start for task in s.tasks.values()}
    s.read_with(reader)
    s.sleep(3)
    if faults:
        with s.fault("backend"):
            s.rig.query("alter role takt_feed nologin")
            s.rig.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'takt_feed'")
            s.sleep(3)
            s.rig.query("alter role takt_feed login")
    s.sleep(5)


def play(name, build, seed=1, faults=True, keep=None, **arguments):
    """(problems, what happened)."""
    function, nodes, rig = SCENES[name]
    began, s = time.monotonic(), None
    s = Scene(build, seed, nodes, **rig)
    try:
        late = []
        try:
            function(s, faults, **arguments)
        except TimeoutError as e:  # the judge may know why
            late = [judge.problem("I18", f"{name}: {e}")]
        f, problems = s.judged()
        problems += late
        if problems and keep:
            pathlib.Path(keep).write_text(s.rig.logs(200000))
    except BaseException:
        if keep:
            pathlib.Path(keep).write_text(s.rig.logs(200000))
        raise
    finally:
        s.close()
    return problems, {"seconds": round(time.monotonic() - began, 1), "runs": len(f.runs), "faults": len(f.faults),
                      "states": sorted({r["state"] or "live" for r in f.runs.values()}),
                      "due_times": sum(o["n"] for o in f.occurrences)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=sorted(SCENES))
    p.add_argument("--build", default=os.environ.get("TAKT_BUILD") or "build-chaos")
    p.add_argument("--faults", action="store_true")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", help="a file for the result")
    p.add_argument("--logs", help="a file for the nodes' logs, if there are problems")
    p.add_argument("arguments", nargs="*", metavar="name=value")
    a = p.parse_intermixed_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = {k: json.loads(v) if v.lstrip("-").isdigit() else v for k, v in (x.split("=", 1) for x in a.arguments)}
    problems, seen = play(a.name, a.build, a.seed, a.faults, a.logs, **given)
    result = {"scene": a.name, "with_faults": a.faults, **given, **seen, "problems": problems}
    if a.out:
        pathlib.Path(a.out).write_text(json.dumps(result, indent=1) + "\n")
    for x in problems[:20]:
        print(f"  {x['invariant']}: {x['what']}")
    print(json.dumps({k: v for k, v in result.items() if k != "problems"}), "RED" if problems else "clean", flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
