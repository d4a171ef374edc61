# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Work for the nodes, and witnesses to it: schedules, slowed units, commands, readers. All of it is journaled.

    load = Load(rig, seed=7); load.start()
    load.running()           # unit id -> (node, pid): units that run now, by the witness's own stamps
    load.stop(); load.settle()

Journals in rig.journals: `witness.jsonl` (the plugin's), `client.jsonl` (each command sent and each answer, fsynced),
`reader-*.jsonl`. Threads here make no processes.
"""
import json
import os
import random
import select
import sys
import threading
import time
import uuid

import psycopg
import requests

from rig import SOURCE, alive, wait_until

sys.path.insert(0, str(SOURCE / "tests/lib"))
from rawws import Closed, Refused, Ws  # noqa: E402

STEPS, STEP_MS, FILLER = (18, 22, 26, 31, 20, 28), 600, 300  # slow units: a quarter of a minute each
AHEAD = 5  # steps before a unit's end in which it does not count as running: it may end before the fault

# name -> (task type, parameters, limits)
SCHEDULES = {
    "every second": ("hello", {}, {"cron_expression": "* * * * * *", "overlap": "parallel"}),
    "every 3 s": ("witness", {"steps": 2, "step_ms": 300}, {"cron_expression": "*/3 * * * * *"}),
    "every 5 s": ("witness", {"steps": 1, "step_ms": 200}, {"cron_expression": "*/5 * * * * *", "timezone": "Europe/Berlin"}),
    "uneven": ("witness", {"steps": 3, "step_ms": 200}, {"cron_expression": "7,8,21,40-42 * * * * *", "overlap": "parallel"}),
    "too slow": ("witness", {"steps": 5, "step_ms": 500}, {"cron_expression": "*/2 * * * * 0-7"}),
    "minutes": ("hello", {}, {"cron_expression": "* * * * *", "timezone": "America/New_York"}),
    "waits too long": ("witness", {"steps": 8, "step_ms": 500},
                       {"schedule": {"cron": "*/3 * * * * *", "timezone": "UTC", "start_deadline_seconds": 1}}),
    "replanned": ("hello", {}, {"schedule": {"cron": "*/6 * * * * *", "timezone": "UTC", "exclude": ["far"]}, "overlap": "parallel"}),
}
FAR = {"far": {"days": [{"date": "2090-01-01", "reason": "a day that nobody meets"}]}}
BY_HAND = {
    "again": ("witness", {"steps": 2, "step_ms": 200, "fail": "not yet", "fail_until_attempt": 2}, {"max_retries": 3}),
    "never": ("witness", {"steps": 1, "step_ms": 200, "fail": "no", "rc": -200}, {"max_retries": 3}),
    "deadline": ("witness", {"steps": 60, "step_ms": 300}, {"timeout_seconds": 3, "max_retries": 1}),
}
SLOW = 4


class Journal:
    """Lines of JSON; sync: on disk before it returns."""

    def __init__(self, path, sync=False):
        self.file, self.sync, self.lock = open(path, "a", encoding="utf-8"), sync, threading.Lock()

    def write(self, **line):
        with self.lock:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
            if self.sync:
                os.fsync(self.file.fileno())


class Witness:
    """The plugin's journal, read as it grows: what runs now."""

    def __init__(self, path):
        self.path, self.at, self.rest, self.units = path, 0, b"", {}

    def read(self):
        if not self.path.exists():
            return
        with open(self.path, "rb") as f:
            f.seek(self.at)
            data = f.read()
        self.at += len(data)
        *whole, self.rest = (self.rest + data).split(b"\n")
        for text in whole:
            line = json.loads(text)
            unit = f"{line['run']}.{line['attempt']}.{line['unit']}"
            if line["phase"] in ("end", "cancelled"):
                self.units.pop(unit, None)
            else:
                self.units[unit] = line

    def running(self, label="slow"):
        """unit -> pid, of slow units with a good part before them."""
        self.read()
        for unit in [u for u, line in self.units.items() if not alive(line["pid"])]:
            del self.units[unit]
        return {u: line["pid"] for u, line in self.units.items()
                if line["label"].startswith(label) and line["step"] <= STEPS[int(line["label"][5:])] - AHEAD}


class Load:
    def __init__(self, rig, seed=1, busy=None, schedules=SCHEDULES, cancels=True, calendars=None):
        """busy: how many slow runs there shall be at once. schedules, calendars: by name."""
        self.rig, self.rng = rig, random.Random(seed)
        self.busy = busy or 8 * len(rig.nodes)
        self.schedules, self.with_cancels = schedules or {}, cancels
        self.calendars = {**(FAR if schedules is SCHEDULES else {}), **(calendars or {})}
        self.client = Journal(rig.journals / "client.jsonl", sync=True)
        self.witness = Witness(rig.journals / "witness.jsonl")
        self.tasks, self.threads = {}, []
        self.stopping, self.hold = threading.Event(), threading.Event()
        self.work, self.lock, self.open_commands = [], threading.Condition(), 0
        self.readers = []
        self.errors = []

    # definitions -------------------------------------------------------------------------------

    def _define(self, name, task_type, parameters, limits):
        document = {"name": name, "task_type": task_type, "timeout_seconds": 300, "max_retries": 0, "retry_delay_seconds": 1,
                    "parameters": parameters, **limits}
        if task_type != "hello":
            parameters.update(file=str(self.rig.journals / "witness.jsonl"), label=name)
        status, body = self.rig.http("POST", "/tasks", document, node=self.rig.nodes[0])
        if status != 201:
            raise RuntimeError(f"task {name}: {status} {body}")
        self.tasks[name] = body["id"]

    def define(self):
        kinds = ["witness"] * SLOW + (["witness_change"] * 2 if self.rig.has_type("witness_change") else [])
        self.slow = []
        for i, kind in enumerate(kinds):
            self._define(f"slow-{i}", kind, {"steps": STEPS[i], "step_ms": STEP_MS, "output_b": FILLER},
                         {"overlap": "parallel", "max_retries": 3})
            self.slow.append(f"slow-{i}")
        for name, (kind, parameters, limits) in BY_HAND.items():
            self._define(name, kind, dict(parameters), {"overlap": "parallel", **limits})

    def define_schedules(self):
        for name, body in self.calendars.items():
            status, said = self.rig.http("PUT", f"/calendars/{name}", body)
            if status != 201:
                raise RuntimeError(f"calendar {name}: {status} {said}")
        for name, (kind, parameters, limits) in self.schedules.items():
            self._define(name, kind, dict(parameters), {"max_retries": 3, **limits})

    def replan(self, n):
        """The calendar "far" gets another day: next times are computed anew, and are the same."""
        days = [*FAR["far"]["days"], {"date": f"2091-{n // 28 % 12 + 1:02}-{n % 28 + 1:02}"}]
        status, said = self.rig.http("PUT", "/calendars/far", {"days": days}, node=self.rig.nodes[n % len(self.rig.nodes)])
        if status != 200:
            raise OSError(f"calendar far: {status} {said}")

    # commands ----------------------------------------------------------------------------------

    def order(self, kind, path, **about):
        """Queue a command; it is repeated until it is acknowledged."""
        with self.lock:
            self.open_commands += 1
            self.work.append((kind, path, about, f"c-{uuid.UUID(int=self.rng.getrandbits(128))}"))
            self.lock.notify()

    def _send(self, kind, path, about, key, first):
        """One try; true if that was the answer."""
        node = self.rig.nodes[(first + int(time.monotonic() * 3)) % len(self.rig.nodes)]
        self.client.write(what="sent", kind=kind, key=key, at=time.time(), **about)
        try:
            status, body = self.rig.http("POST", path, node=node, key=key, role="operator", timeout=8)
        except (requests.RequestException, ValueError) as e:
            self.client.write(what="silence", key=key, at=time.time(), why=type(e).__name__)
            return False
        body = body if isinstance(body, dict) else {}
        run = about.get("run") or body.get("id") or body.get("run_id")
        self.client.write(what="answer", kind=kind, key=key, at=time.time(), status=status, run=run, state=body.get("state"),
                          node=node.name)
        if status == 202 and kind == "run.create":
            return False  # kept; asked again for the run
        return status < 500 and status not in (408, 425, 429)

    def _command_thread(self, number):
        rng = random.Random(number)
        while not self.stopping.is_set():
            with self.lock:
                if not self.work:
                    self.lock.wait(0.5)
                    continue
                kind, path, about, key = self.work.pop(0)
            for n in range(1000):
                if self._send(kind, path, about, key, number + n) or self.stopping.is_set():
                    break
                time.sleep(0.1 + 0.2 * rng.random())
            if rng.random() < 0.1 and kind == "run.create":
                self._send(kind, path, about, key, number + 1)  # a repeat gets the same run
            with self.lock:
                self.open_commands -= 1

    def _run(self, name):
        self.order("run.create", f"/tasks/{self.tasks[name]}/run", task=self.tasks[name])

    def _keep_busy_thread(self):
        """Looks at the live rows with a connection of its own: how many slow runs are missing."""
        rng, db, beat = random.Random(self.rng.random()), None, 0
        ids = [self.tasks[name] for name in self.slow]
        while not self.stopping.wait(0.5):
            if self.hold.is_set():
                continue
            try:
                db = db or self.rig.pg.connect()
                live = db.execute("select run_id::text from takt.live where task_id = any(%s::uuid[])", (ids,)).fetchall()
            except psycopg.Error:
                db = None
                continue
            with self.lock:
                waiting = self.open_commands
            for _ in range(min(4, max(0, self.busy - len(live) - waiting))):
                self._run(rng.choice(self.slow))
            beat += 1
            if beat % 8 == 0:
                self._run(rng.choice(sorted(BY_HAND)))
            if beat % 20 == 0 and live and self.with_cancels:
                run = rng.choice(live)[0]
                self.order("run.cancel", f"/runs/{run}/cancel", run=run)

    # start and end -----------------------------------------------------------------------------

    def _thread(self, target, *args):
        def guarded():
            try:
                target(*args)
            except Exception as e:  # a campaign must not go on with half of its load
                self.errors.append(f"{target.__name__}: {type(e).__name__} {e}")
        t = threading.Thread(target=guarded, daemon=True)
        t.start()
        self.threads.append(t)

    def start(self, sockets=2):
        self.define()
        self.readers = [FeedReader(self.rig)]
        self.readers += [SocketReader(self.rig, i + 1) for i in range(sockets)]
        # Sockets are to hear everything: what they join begins where the stream was before the first run.
        start = first_cursor(self.rig, self.tasks["slow-0"])
        self.define_schedules()
        for reader in self.readers[1:]:
            reader.since = {task: start for task in self.tasks.values()}
        for reader in self.readers:
            self._thread(reader.run, self.tasks)
        wait_until(lambda: all(r.is_ready for r in self.readers) or self.errors, 30, "the readers")
        for i in range(4):
            self._thread(self._command_thread, i)
        self._thread(self._keep_busy_thread)
        return self

    def running(self):
        """unit -> (node's name, pid) of slow units that run now and have a good part before them."""
        pids = self.witness.running()
        where = {unit: node.name for node in self.rig.nodes for unit in node.keepers(0.2)}
        return {unit: (where[unit], pid) for unit, pid in pids.items() if unit in where}

    def quiet(self):
        """No new work: no commands, no schedules. Lasts."""
        self.hold.set()
        # Of the moment before: what falls due while one after the other is disabled need not be decided.
        until = self.rig.query("select extract(epoch from now())::float8")[0][0]
        for name in self.schedules:
            def disabled(path=f"/tasks/{self.tasks[name]}/disable"):
                try:
                    return self.rig.http("POST", path)[0] == 200
                except requests.RequestException:
                    return False
            wait_until(disabled, 30, f"'{name}' to be disabled")
        wait_until(lambda: self.open_commands == 0, 60, "the open commands")
        return until

    def settle(self, limit_s=90):
        """After quiet(): wait until nothing is live and the readers have seen the end; what is left of it."""
        live = "select count(*) from takt.live"
        try:
            wait_until(lambda: self.rig.query(live)[0][0] == 0, limit_s, "all runs to end")
            total = self.rig.query("select count(*) from takt.event")[0][0]
            wait_until(lambda: self.readers[0].count >= total, 30, "the feed's reader")
        except TimeoutError:
            pass
        at = time.monotonic()
        wait_until(lambda: time.monotonic() - at > 3, 10, "the sockets' readers")
        return self.rig.query(live)[0][0]

    def stop(self):
        self.stopping.set()
        for r in self.readers:
            r.stopping.set()
        for t in self.threads:
            t.join(20)
        return self.errors


class FeedReader:
    """Reads the feed of events with SQL, by (node, incarnation, number), as a gateway would; survives the server."""

    # Whole rows, as they were committed: the cursor is always at the end of one.
    ROWS = ("select r.run_id::text, r.first_seq, b.incarnation, b.feed_first + r.i - 1, json_array_length(r.items) from (select * from "
            "takt.event_batch where node_no = %s and (incarnation, feed_last) > (%s, %s) order by incarnation, feed_last limit 200) b, "
            "unnest(b.run_ids, b.first_seqs, b.items) with ordinality r(run_id, first_seq, items, i) order by 3, 4")

    def __init__(self, rig):
        self.rig, self.stopping, self.is_ready, self.count = rig, threading.Event(), False, 0
        self.out, self.at = Journal(rig.journals / "reader-feed.jsonl"), {}
        self.out.write(kind="feed")

    def _read(self, db):
        n = 0
        for (node,) in db.execute("select no from takt.node").fetchall():
            for run, first, incarnation, feed, items in db.execute(self.ROWS, (node, *self.at.get(node, (0, 0)))).fetchall():
                self.out.write(run=run, first_seq=first, node=node, incarnation=incarnation, feed=feed, n=items)
                self.at[node] = incarnation, feed
                n += 1
        self.count += n
        return n

    def run(self, _tasks):
        db = None
        while not self.stopping.is_set():
            try:
                if db is None:
                    db = self.rig.pg.connect("takt_feed")
                    db.execute("listen takt_feed")
                if not self._read(db):
                    select.select([db.fileno()], [], [], 0.5)
                    db.execute("select 1")
                self.is_ready = True
            except psycopg.Error:
                db = None
                time.sleep(0.2)


def first_cursor(rig, task):
    """Where the stream is now, as a join tells it."""
    ws = Ws(rig.nodes[0].port, "/socket/websocket?vsn=2.0.0", [f"Authorization: Bearer {rig.tokens['viewer']}"])
    ws.send(json.dumps(["1", "1", f"task:{task}", "phx_join", {}]))
    answer = json.loads(ws.recv(20))[4]["response"]
    ws.close()
    return answer["cursor"]


class SocketReader:
    """A Phoenix client on all tasks' topics; goes to the next node when its gateway goes, and on from its cursors."""

    def __init__(self, rig, number):
        self.rig, self.number, self.stopping, self.is_ready = rig, number, threading.Event(), False
        self.out = Journal(rig.journals / f"reader-socket{number}.jsonl")
        self.since, self.ref = {}, 0

    def _connect(self, node, tasks):
        ws = Ws(node.port, "/socket/websocket?vsn=2.0.0", [f"Authorization: Bearer {self.rig.tokens['viewer']}"])
        for task in tasks:
            self.ref += 1
            since = {"since": self.since[task]} if task in self.since else {}
            ws.send(json.dumps([str(self.ref), str(self.ref), f"task:{task}", "phx_join", since]))
        return ws

    def _take(self, text):
        _, _, topic, event, payload = json.loads(text)
        task = topic.partition(":")[2]
        if event == "phx_reply" and topic != "phoenix":
            if payload["status"] != "ok":
                raise Closed(0)
            answer = payload["response"]
            if "cursor" in answer:
                self.out.write(kind="joined", task=task, gap=answer["gap"], resumed=answer["resumed"], at=time.time())
                self.since.setdefault(task, answer["cursor"])
                self.joined.add(task)
        elif event in ("phx_error", "phx_close"):
            raise Closed(0)
        elif "seq" in payload:
            self.out.write(kind="event", run=payload["run_id"] or payload["event_id"], seq=payload["seq"], type=event)
            self.since[task] = payload["cursor"]

    def _listen(self, ws, tasks):
        heard = beat = time.monotonic()
        while not self.stopping.is_set():
            if ws.rest or select.select([ws.s], [], [], 0.2)[0]:
                self._take(ws.recv(20))
                heard = time.monotonic()
            if self.joined >= set(tasks):
                self.is_ready = True
            if time.monotonic() > beat + 5:
                beat = time.monotonic()
                self.ref += 1
                ws.send(json.dumps([None, str(self.ref), "phoenix", "heartbeat", {}]))
            if time.monotonic() > heard + 20:
                raise Closed(0)

    def run(self, tasks):
        tasks = list(tasks.values())
        turn = self.number
        while not self.stopping.is_set():
            self.joined, ws = set(), None
            try:
                ws = self._connect(self.rig.nodes[turn % len(self.rig.nodes)], tasks)
                self._listen(ws, tasks)
            except (OSError, Closed, Refused):
                turn += 1
                time.sleep(0.2)
            finally:
                if ws:
                    ws.close()
