# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
The engine dies once at each of its points of lib/base/failpoints.def (before a transaction is sent, after
it, after its answer), the gateway at each of its own: started again, everything is as if nothing had been.
"""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import failpoints  # noqa: E402
import gateway  # noqa: E402
from engine import Engine  # noqa: E402
from pg import wait_until  # noqa: E402

pytestmark = pytest.mark.skipif(not failpoints.are_built(), reason="needs ./configure --enable-failpoints")
AT_START = ("recover", "node_enter")  # jobs that run once per start


@pytest.fixture(scope="module")
def points():
    with failpoints.Failpoints() as points:
        yield points


@pytest.fixture(scope="module")
def node(points):
    """One for all points: the checker looks over everything when the last one is done."""
    with Engine() as t:
        yield t


def has_died_at(t, points, name):
    return lambda: points.has_fired(name) and t.engine_process.poll() is not None


def starts(file):
    return file.read_text().count('"phase":"start"') if file.exists() else 0


class Work:
    """A run by hand, one that needs a second attempt, one that is due, one that nobody starts in time, and a schedule that is
    planned anew: every job of one node."""

    def __init__(self, t, name):
        self.t, self.file = t, t.root / f"witness-{name}"
        params = {"file": str(self.file), "steps": 1}
        self.runs = {t.run(t.task("witness", params), wait=False): 1,
                     t.run(t.task("witness", {**params, "fail": "x", "fail_until_attempt": 1}, max_retries=1), wait=False): 2}
        self.scheduled = t.task("witness", params, cron="0 0 1 1 *")
        self.due = t.due(self.scheduled, "now()")
        self.unwanted = t.task("no_plugin_has_this", cron="0 0 1 1 *")
        t.sql("update takt.schedule set start_deadline_s = 1 where task_id = %s", self.unwanted)
        t.due(self.unwanted, "now()")
        self.replanned = t.task("hello", cron="0 0 1 1 *")
        t.sql("update takt.schedule set next_due_at = null, next_fire_at = null, replan_from = now() where id = %s", self.replanned)
        t.sql("notify takt_schedule")

    def is_right(self):
        t = self.t
        ours = "select id from takt.run where task_id = %s and due_at = %s"
        wait_until(lambda: t.sql(ours, self.scheduled, self.due), 60, "the run that is due")
        found = t.sql(ours, self.scheduled, self.due)
        assert len(found) == 1
        for run, attempts in {**self.runs, str(found[0][0]): 1}.items():
            wait_until(lambda r=run: t.state_of(r), 30, "the command to be decided")
            assert t.wait_end(run) == "completed"
            assert t.one("select count(*) from takt.attempt where run_id = %s", run) == attempts
        assert starts(self.file) == 4
        ended = "select state from takt.run where task_id = %s and state is not null"
        assert wait_until(lambda: t.sql(ended, self.unwanted), 60, "the run that nobody starts to end") == [("expired",)]
        wait_until(lambda: t.sql("select 1 from takt.schedule where id = %s and replan_from is null and next_due_at > now()", self.replanned),
                   60, "the next time that is computed anew")


def start_again(t):
    t.start_engine()
    wait_until(lambda: t.one("select count(*) from takt.node where lease_until > now()"), 30, "the node")


@pytest.mark.parametrize("name", [n for n in failpoints.names("engine") if n.split(".")[0] not in ("fenced", "rescue")])
def test_engine_dies_at(node, points, name):
    points.arm(name, "crash")
    if name.split(".")[0] in AT_START:
        node.kill_engine()
        node.start_engine()
    work = Work(node, name)
    wait_until(has_died_at(node, points, name), 30, f"the engine to die at {name}")
    start_again(node)
    work.is_right()


@pytest.mark.parametrize("name", [n for n in failpoints.names("engine") if n.split(".")[0] == "fenced"])
def test_engine_dies_while_it_tells_of_a_stale_report(node, points, name):
    run = node.run(node.task("witness", {"steps": 1000, "step_ms": 50}))
    node.wait_state(run, "running")
    points.arm(name, "crash")
    node.steal(run)
    wait_until(has_died_at(node, points, name), 30, f"the engine to die at {name}")
    start_again(node)
    wait_until(lambda: not list((node.state / "units").glob(f"{run}*")), 30, "the unit to be dropped")
    # Dropped first, told later: a crash in between leaves the drop, at most one event, never a change.
    assert node.types(run).count("fenced") <= 2
    node.give_back(run)


def test_engine_dies_while_it_takes_runs_over(points):
    """Four nodes survive a fifth: three of them die at one point each of the takeover."""
    names = [n for n in failpoints.names("engine") if n.split(".")[0] == "rescue"]
    with Engine() as t:
        file = t.root / "witness"
        runs = [t.run(t.task("witness", {"file": str(file), "steps": 40, "step_ms": 100}, max_retries=3)) for _ in range(2)]
        for run in runs:
            t.wait_state(run, "running")
        survivors = [t.second_node(f"other{n}") for n in range(len(names) + 1)]
        for name in names:
            points.arm(name, "crash")
        t.kill_engine()
        t.executor_process.kill()
        t.executor_process.wait()
        for name in names:
            wait_until(lambda n=name: points.has_fired(n), 90, f"a node to die at {name}")
        for node in survivors:
            if node.engine_process.poll() is not None:
                node.start_engine()
        for run in runs:
            assert t.wait_end(run, 120) == "completed"
            # Who dies behind the commit has the runs, and loses them to the next in the same way.
            assert 1 <= t.types(run).count("attempt_taken_over") <= len(names)


@pytest.mark.parametrize("name", failpoints.names("gateway"))
def test_gateway_dies_at(points, name):
    """A client that got no answer repeats its request: one command, one run."""
    with gateway.Rig() as rig:
        task = rig.task()
        points.arm(name, "crash")
        key = {"Idempotency-Key": name}
        with pytest.raises(gateway.requests.ConnectionError):
            rig.post(f"/tasks/{task}/run", rig.token("operator"), headers=key)
        assert points.has_fired(name)
        rig.process.wait(30)
        rig.start()
        rig.engine.start_answering()
        r = rig.post(f"/tasks/{task}/run", rig.token("operator"), headers=key)
        assert r.status_code == 201, r.text
        assert rig.pg.sql("select count(*), min(run_id::text) from takt.command") == [(1, r.json()["id"])]
