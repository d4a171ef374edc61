# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The official phoenix client: joins, is cut off in the middle of runs, resumes; nothing is lost, repeated or reordered."""
import pathlib
import sys
import threading

import psycopg
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import web  # noqa: E402
from dev import BUILD, Dev  # noqa: E402
from gateway import Rig  # noqa: E402
from pg import wait_until  # noqa: E402


@pytest.fixture(scope="module")
def folder():
    found = web.prepare()
    if found is None:
        pytest.skip("node and npm are not installed")
    return found


@pytest.fixture()
def rig():
    with Rig() as r:
        yield r


def address(rig):
    return rig.url.replace("http", "ws") + "/socket"


def rows(rig, where="true", args=()):
    """Events as the database has them, (run, number, type), in feed order."""
    return [(str(r), n, t) for r, n, t in rig.pg.sql(
        "select run_id, seq, item ->> 'type' from takt.event_item "
        f"where {where} order by node_no, incarnation, feed_seq, seq", args)]


def heard(client):
    return [(e["run_id"], e["seq"], e["type"]) for e in client.events]


class Work:
    """Runs that go on while clients are cut off; several events a commit, runs interleaved."""

    def __init__(self, rig, runs):
        self.rig, self.runs, self.stop = rig, runs, threading.Event()
        self.thread = threading.Thread(target=self._go, daemon=True)
        self.thread.start()

    def _go(self):
        i = 0
        while not self.stop.wait(0.003):
            i += 1
            self.rig.engine.events(self.runs[i % len(self.runs)],
                                   [{"type": "progress", "done": i}, {"type": "output", "to": i}][: 1 + i % 2])

    def end(self):
        self.stop.set()
        self.thread.join(30)


@pytest.mark.parametrize("how", ["authToken", "param"])
def test_join_events_leave(rig, folder, how):
    task = rig.task()
    run = rig.engine.run(task)
    with web.Client(folder, address(rig), rig.token("viewer"), f"task:{task}", how) as c:
        c.wait(lambda c: c.heard("joined"), "the join")
        assert c.heard("open") == ["phoenix" if how == "authToken" else ""]
        joined = c.heard("joined")[0]
        assert joined["snapshot"]["id"] == task and joined["resumed"] is False and joined["gap"] is False
        rig.engine.events(run, [{"type": "task_dispatched"}, {"type": "attempt_started"}])
        rig.engine.finish(run)
        c.wait(lambda c: len(c.events) == 3, "three events")
        assert [e["seq"] for e in c.events] == [2, 3, 4]
        assert [e["type"] for e in c.events] == ["task_dispatched", "attempt_started", "task_completed"]
        assert all(e["run_id"] == run and e["task_id"] == task for e in c.events)
        c.say("heartbeat")
        c.wait(lambda c: c.heard("pong"), "the heartbeat's reply")
        c.say("leave")
        c.wait(lambda c: c.heard("left") and c.heard("leaving"), "the leave")
        rig.engine.events(rig.engine.run(task), [{"type": "progress"}])
        c.say("heartbeat")
        c.wait(lambda c: len(c.heard("pong")) == 2, "the second heartbeat")
        assert len(c.events) == 3


@pytest.mark.parametrize("topic", ["task", "run"])
def test_resume_after_every_kind_of_cut(rig, folder, topic):
    """Must show 5: cut mid-run, rejoined with its cursor, each event seen once and in order."""
    task = rig.task()
    runs = [rig.engine.run(task) for _ in range(1 if topic == "run" else 3)]
    name = f"task:{task}" if topic == "task" else f"run:{runs[0]}"
    with web.Client(folder, address(rig), rig.token("viewer"), name) as c:
        c.wait(lambda c: c.heard("joined"), "the join")
        before = len(rows(rig))
        work = Work(rig, runs)
        try:
            def progress():
                n = len(c.events)
                c.wait(lambda c: len(c.events) > n + 20, "20 more events")
            progress()
            for _ in range(3):  # the client's connection dies
                n = len(c.heard("joined"))
                c.say("cut")
                c.wait(lambda c: len(c.heard("joined")) > n, "the rejoin")
                progress()
            rig.kill()          # the gateway dies
            rig.start()
            progress()
            assert rig.stop() == 0  # an orderly restart
            rig.start()
            progress()
        finally:
            work.end()
        expected = rows(rig)[before:]
        c.wait(lambda c: len(c.events) >= len(expected), "the rest")
        assert heard(c) == expected
        assert 1012 in c.heard("closed") and 1006 in c.heard("closed")
        assert all(j["resumed"] and not j["gap"] for j in c.heard("joined")[1:]) and len(c.heard("joined")) >= 6


def test_none_of_what_was_acknowledged(rig, folder):
    """Each cursor of a history, as `since`, gives exactly what came after it."""
    task = rig.task()
    runs = [rig.engine.run(task) for _ in range(2)]
    for i in range(4):
        rig.engine.events(runs[i % 2], [{"type": "progress"}, {"type": "output"}, {"type": "plugin_event"}])
    rig.engine.reincarnate()
    rig.engine.events(runs[0], [{"type": "progress"}, {"type": "output"}])
    expected = rows(rig)
    with web.Client(folder, address(rig), rig.token("viewer"), f"task:{task}", since="v1.") as c:
        c.wait(lambda c: len(c.events) >= len(expected), "the whole history")
        assert heard(c) == expected
        cursors = [e["cursor"] for e in c.events]
    for i in range(0, len(cursors), 3):
        with web.Client(folder, address(rig), rig.token("viewer"), f"task:{task}", since=cursors[i]) as c:
            c.wait(lambda c: c.heard("joined") and len(c.events) >= len(expected) - i - 1, "the rest of the history")
            rig.engine.events(runs[1], [{"type": "progress", "last": i}])
            expected = rows(rig)
            c.wait(lambda c: c.events and c.events[-1].get("last") == i, "the live event")
            assert heard(c) == expected[i + 1:]


def test_refused_join(rig, folder):
    with web.Client(folder, address(rig), rig.token("viewer"), "task:a1b2c3d4-5678-9abc-def0-123456789abc") as c:
        c.wait(lambda c: c.heard("refused"), "the refusal")
        assert c.heard("refused")[0] == {"reason": "there is no task a1b2c3d4-5678-9abc-def0-123456789abc",
                                         "code": 404, "retry": False}


def test_drain_sends_clients_back(rig, folder):
    task = rig.task()
    with web.Client(folder, address(rig), rig.token("viewer"), f"task:{task}") as c:
        c.wait(lambda c: c.heard("joined"), "the join")
        assert rig.stop() == 0
        c.wait(lambda c: 1012 in c.heard("closed"), "the close code")
        rig.start()
        c.wait(lambda c: len(c.heard("joined")) == 2, "the rejoin")
        wait_until(lambda: c.heard("joined")[1]["resumed"], what="a resumed join")


def test_whole_takt_under_cuts_and_kills(folder):
    """Must show 5 on a whole Takt: real units run while the client, the gateway and the engine are cut off or killed."""
    with Dev(plugin_dirs=[BUILD / "tests/plugins"]) as dev:
        dev.ready("witness")
        task = dev.api("POST", "/tasks", {"name": "watched", "task_type": "witness", "overlap": "parallel",
                                          "parameters": {"label": "w", "steps": 120, "step_ms": 100}})[1]["id"]
        with web.Client(folder, dev.url.replace("http", "ws") + "/socket", dev.token, f"task:{task}") as c:
            c.wait(lambda c: c.heard("joined"), "the join")
            runs = [dev.api("POST", f"/tasks/{task}/run")[1]["id"] for _ in range(3)]
            for strike in ("cut", "gateway", "cut", "engine", "gateway"):
                n, joins = len(c.events), len(c.heard("joined"))
                c.wait(lambda c: len(c.events) > n + 5, f"five more events before the next strike ({strike})")
                if strike == "cut":
                    c.say("cut")
                else:
                    dev.kill9(strike)
                if strike != "engine":
                    c.wait(lambda c: len(c.heard("joined")) > joins, "the rejoin")
            c.wait(lambda c: sum(e["type"] == "task_completed" for e in c.events) == 3, "the end of three runs", 120)
            with psycopg.connect(dev.conninfo()) as connection:
                rows_of = {run: [n for n, in connection.execute(
                    "select seq from takt.event_item where run_id = %s order by seq", [run])] for run in runs}
            for run in runs:
                assert [e["seq"] for e in c.events if e["run_id"] == run] == rows_of[run], run
            assert len(c.heard("joined")) >= 5 and all(j["resumed"] and not j["gap"] for j in c.heard("joined")[1:])
