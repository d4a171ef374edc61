# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A gateway on a scratch cluster, for the flow tests, with a stand-in for the engine.

    with Rig() as rig:
        rig.token("admin")                      # text of a token of organisation `default`
        rig.get("/tasks", rig.token("viewer"))  # requests.Response
        rig.engine.events(run, [{"type": ...}]) # as the engine would write them

The stand-in (FakeEngine) answers commands and writes events with the engine's own role, so that these
tests need no executor. Everything lives in a directory of its own and dies with the test.
"""
import base64
import ctypes
import hashlib
import json
import os
import pathlib
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid

import psycopg
import requests

from forge import add_events
from pg import BUILD, Pg, wait_until

TARGET_SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["target_type", "target_id"],
    "properties": {"target_type": {"type": "string", "enum": ["device", "device_group"]},
                   "target_id": {"type": "string", "format": "uuid"},
                   "destination": {"type": "string", "maxLength": 200}}}
TYPES = [
    {"id": "hello", "version": "1.0", "title": "Hello", "summary": "says hello", "targets": "none", "caps": [],
     "params_schema": {"type": "object", "additionalProperties": False,
                       "properties": {"message": {"type": "string", "maxLength": 100},
                                      "count": {"type": "integer", "minimum": 1, "maximum": 10}}},
     "default_timeout_s": 60, "default_max_retries": 2, "default_retry_delay_s": 5, "recovery": "rerun"},
    {"id": "backup", "version": "1.0", "title": "Backup", "summary": "saves configurations", "targets": "each",
     "caps": ["net"], "params_schema": TARGET_SCHEMA, "default_timeout_s": 600, "default_max_retries": 3,
     "default_retry_delay_s": 60, "recovery": "rerun"},
]
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def uuid7():
    ms = int(time.time() * 1000)
    raw = ms.to_bytes(6, "big") + secrets.token_bytes(10)
    raw = bytearray(raw)
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return str(uuid.UUID(bytes=bytes(raw)))


class FakeEngine:
    """Writes what an engine writes: nodes, runs, events in feed order; answers commands on request."""

    def __init__(self, pg, name="node-1"):
        self.pg = pg
        self.c = pg.connect("takt_engine", autocommit=False)
        self.lock = threading.RLock()
        self.node = str(uuid.uuid4())
        self.feed_seq = 0
        self.c.execute("insert into takt.node (id, name, epoch, incarnation, version, lease_until, started_at) "
                       "values (%s, %s, 1, 1, 'fake', now() + interval '1 hour', now())", (self.node, name))
        self.no = self.c.execute("select no from takt.node where id = %s", (self.node,)).fetchone()[0]
        self.incarnation = 1
        self.c.commit()
        self.answering = None
        self.stop = threading.Event()

    def plugins(self, types, file="hello.so"):
        with self.lock:
            self.c.execute("insert into takt.plugin (node_id, file, status, name, version, abi, digest, types) values "
                           "(%s, %s, 'loaded', 'test', '1.0', '1.0', 'd', %s) on conflict (node_id, file) do update set "
                           "types = excluded.types", (self.node, file, json.dumps(types)))
            self.c.execute("select pg_notify('takt_plugins', '')")
            self.c.commit()

    def platform(self, name):
        with self.lock:
            self.c.execute("insert into takt.platform (name, title) values (%s, %s)", (name, name.upper()))
            self.c.commit()

    def seal_key(self, public):
        with self.lock:
            self.c.execute("insert into takt.seal_key values (%s, %s)", (hashlib.sha256(public).hexdigest()[:16], public))
            self.c.commit()

    def reincarnate(self):
        with self.lock:
            self.incarnation += 1
            self.feed_seq = 0
            self.c.execute("update takt.node set incarnation = %s where id = %s", (self.incarnation, self.node))
            self.c.commit()

    def run(self, task, run=None, trigger="manual", actor="test"):
        """A queued run of a task with its first event; its id."""
        run = run or uuid7()
        with self.lock:
            org, name, kind, definition, revision = self.c.execute(
                "select org_id, name, task_type, definition, revision from takt.task where id = %s", (task,)).fetchone()
            self.c.execute("insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, "
                           "actor, created_at, policy) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, now(), %s)",
                           (run, org, secrets.token_hex(4).upper(), task, revision, name, kind, trigger, actor,
                            json.dumps(definition)))
            self.c.execute("insert into takt.live (run_id, org_id, task_id, state, next_at, queue_depth) "
                           "values (%s, %s, %s, 'queued', now(), true)", (run, org, task))
            self._event(run, [{"type": "task_created", "state": "queued", "trigger": trigger}])
            self.c.commit()
        return run

    def _event(self, run, items):
        self.c.execute("update takt.live set event_seq = event_seq + %s where run_id = %s", (len(items), run))
        self.feed_seq += 1
        items = [{"severity": "info", "at": "2026-11-22T00:00:00.000Z", **i} for i in items]
        add_events(self.c.execute, run, items, self.feed_seq, self.node)
        self.c.execute("select pg_notify('takt_feed', '')")

    def events(self, run, items):
        with self.lock:
            self._event(run, items)
            self.c.commit()

    def decision(self, task, rule="overlap.skip"):
        """A due time that makes no run, told as schedule_fire.sql tells it; its event's id."""
        event, items = uuid7(), [{"type": "occurrence_skipped", "severity": "warning", "at": "2026-11-22T00:00:00.000Z", "rule": rule,
                                  "due_at": "2026-11-22T00:00:00Z", "n": 1}]
        with self.lock:
            self.feed_seq += 1
            self.c.execute("insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, event_id) "
                           "select id, '2026-11-22', id, org_id, 'skipped', %s, %s from takt.task where id = %s", (rule, event, task))
            self.c.execute("insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, "
                           "first_seqs, prevs, items) select takt.uuid_v7(), t.org_id, n.no, n.incarnation, %s, %s, now(), "
                           "array[%s::uuid], array[t.id], array[1], array[null::uuid], array[%s::json] "
                           "from takt.task t, takt.node n where t.id = %s and n.id = %s",
                           (self.feed_seq, self.feed_seq, event, json.dumps(items), task, self.node))
            self.c.execute("select pg_notify('takt_feed', '')")
            self.c.commit()
        return event

    def state(self, run, state, **columns):
        with self.lock:
            sets = "".join(f", {k} = %s" for k in columns)
            self.c.execute(f"update takt.live set state = %s{sets} where run_id = %s", (state, *columns.values(), run))
            self.c.commit()

    def finish(self, run, state="completed"):
        """dispatched, running, finished: the shortest legal way."""
        with self.lock:
            now = self.c.execute("select state from takt.live where run_id = %s", (run,)).fetchone()[0]
            for step in {"queued": ("dispatched", "running"), "dispatched": ("running",)}.get(now, ()):
                self.c.execute("update takt.live set state = %s, attempt = 1, epoch = 1 where run_id = %s", (step, run))
            self._event(run, [{"type": f"task_{state}", "state": state}])
            self.c.execute("update takt.run set state = %s, started_at = created_at, finished_at = now(), attempts = 1, "
                           "summary = '{\"units\": 1}', last_batch = (select last_batch from takt.live where run_id = id) "
                           "where id = %s", (state, run))
            self.c.execute("delete from takt.live where run_id = %s", (run,))
            self.c.commit()

    def answer_one(self):
        """Decide the oldest open command; True if there was one."""
        with self.lock:
            row = self.c.execute("select id, kind, body, run_id, actor from takt.command where decided_at is null "
                                 "order by created_at limit 1 for update").fetchone()
            if not row:
                self.c.commit()
                return False
            command, kind, body, run, actor = row
            if kind == "run.create":
                self.run(body["task_id"], str(run), actor=actor)
                status, answer = 201, {"id": str(run), "state": "queued"}
            else:
                state = self.c.execute("select state from takt.live where run_id = %s", (run,)).fetchone()
                if state:
                    self.finish(run, "cancelled") if state[0] == "cancelling" else self.state(run, "cancelled_now")
                status, answer = ((200, {"id": str(run), "state": "cancelled"}) if state else
                                  (409, {"detail": "the run has finished", "code": "finished"}))
            self.c.execute("update takt.command set decided_at = now(), status = %s, answer = %s where id = %s",
                           (status, json.dumps(answer), command))
            self.c.execute("select pg_notify('takt_answer', '')")
            self.c.commit()
            return True

    def start_answering(self):
        """Answer commands until the rig closes."""
        listener = self.pg.connect("takt_engine")
        listener.execute("listen takt_command")

        def loop():
            with listener:
                while not self.stop.is_set():
                    while self.answer_one():
                        pass
                    select.select([listener.fileno()], [], [], 0.2)
                    listener.execute("select 1")  # takes the notifications off the wire
        self.answering = threading.Thread(target=loop, daemon=True)
        self.answering.start()

    def close(self):
        self.stop.set()
        if self.answering:
            self.answering.join(10)
        self.c.close()


class Rig:
    def __init__(self, start=True):
        self.root = tempfile.mkdtemp(prefix="tgw-", dir="/tmp")
        self.port = free_port()
        self.process = None
        self.log = f"{self.root}/gateway.log"
        self.pg = Pg()
        try:
            self.pg.migrate()
            self.pg.sql("select takt.make_partitions((now() - interval '1 month')::date, 3)", role="takt_owner")
            self.tokens = {}
            self.orgs = {}
            self.org("default")
            self.engine = FakeEngine(self.pg)
            self.engine.plugins(TYPES)
            self.engine.platform("frr")
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    def org(self, name):
        """An organisation with a token of each role."""
        self.orgs[name] = str(self.pg.sql("insert into takt.org (name) values (%s) returning id", (name,))[0][0])
        for role in ("viewer", "operator", "admin"):
            text = "takt_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
            self.pg.sql("insert into takt.token (org_id, name, actor, role, hash) values (%s, %s, %s, %s, %s)",
                        (self.orgs[name], role, f"{name}-{role}", role, hashlib.sha256(text.encode()).digest()))
            self.tokens[name, role] = text

    def token(self, role, org="default"):
        return self.tokens[org, role]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def command(self):
        binary = os.environ.get("TAKT_GATEWAY")
        return [binary] if binary else [str(BUILD / "taktd"), "-x", "gateway"]

    def start(self, wait=True):
        conf = pathlib.Path(self.root, "taktd.conf")
        conf.write_text(f'roles = {{gateway}}\nstate_dir = "{self.root}"\ndb = "{self.pg.conninfo}"\n'
                        f'listen = "127.0.0.1:{self.port}"\nlog_level = debug\n', encoding="utf-8")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.command(), "-c", str(conf)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
        if wait:
            wait_until(self.is_ready, what="the gateway")

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the gateway ended: {self.log_text()[-3000:]}")
        try:
            if requests.get(f"{self.url}/readyz", timeout=5).status_code != 200:
                return False
            types = requests.get(f"{self.url}/api/v1/task-types", timeout=5,
                                 headers={"Authorization": f"Bearer {self.token('viewer')}"})
            return types.status_code == 200
        except requests.RequestException:
            return False

    def stop(self):
        """Orderly; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.process = None
        return status

    def kill(self):
        self.process.kill()
        self.process.wait(30)
        self.process = None

    def log_text(self):
        return pathlib.Path(self.log).read_text(encoding="utf-8", errors="replace")

    def request(self, method, path, token=None, headers=None, **kw):
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return requests.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=30, **kw)

    def get(self, path, token, **kw):
        return self.request("GET", path, token, **kw)

    def post(self, path, token, body=None, **kw):
        return self.request("POST", path, token, json=body, **kw) if body is not None else \
            self.request("POST", path, token, **kw)

    def task(self, name="t", org="default", **more):
        """A task by the API; its id."""
        r = self.post("/tasks", self.token("admin", org), {"name": name, "task_type": "hello", **more})
        assert r.status_code == 201, r.text
        return r.json()["id"]

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if getattr(self, "engine", None):
            self.engine.close()
        self.pg.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def end(self):
        """The gateway stops in order, and no sanitizer had anything to say."""
        if self.process:
            assert self.process.poll() is None, f"the gateway died: {self.log_text()[-3000:]}"
            assert self.stop() == 0, self.log_text()[-3000:]
        reports = re.findall(r"(?:ERROR: \w+Sanitizer|runtime error:|WARNING: \w+Sanitizer).*", self.log_text())
        assert not reports, f"{reports}: {self.log_text()[-6000:]}"

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.end()
        finally:
            self.close()
