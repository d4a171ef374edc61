# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Two engines on one database: no leader, no due time decided twice, no run claimed twice."""
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import checker  # noqa: E402
from engine import Engine  # noqa: E402
from pg import BUILD, wait_until  # noqa: E402


@pytest.fixture(scope="module")
def t():
    with Engine(max_units=8) as engine:
        engine.second_node()
        yield engine


def nodes_of(t, runs):
    return {str(n) for (n,) in t.sql("select node_id from takt.attempt where run_id = any(%s::uuid[])", runs)}


def test_runs_are_shared_and_none_is_run_twice(t):
    file = t.root / "shared"
    runs = [t.run(t.task("witness", {"file": str(file), "steps": 2, "step_ms": 150}), wait=False) for _ in range(48)]
    for run in runs:
        wait_until(lambda r=run: t.state_of(r), 30, "the run's row")
        assert t.wait_end(run) == "completed"
    assert len(nodes_of(t, runs)) == 2
    assert checker.check_witness(t.witness(file), 2) == []


def test_each_due_time_is_decided_once(t):
    tasks = [t.task("hello", cron="* * * * *", overlap="parallel") for _ in range(100)]
    for _ in range(3):
        due = t.one("select date_trunc('second', now())")
        t.sql("update takt.schedule set (next_due_at, next_fire_at) = (%s, %s) where task_id = any(%s::uuid[])", due, due, tasks)
        t.sql("notify takt_schedule")
        wait_until(lambda d=due: t.one("select count(*) from takt.occurrence where due_at = %s and "
                                       "task_id = any(%s::uuid[])", d, tasks) == 100, 30, "100 decisions")
    t.sql("delete from takt.schedule where task_id = any(%s::uuid[])", tasks)
    wait_until(lambda: t.one("select count(*) from takt.live where task_id = any(%s::uuid[])", tasks) == 0, 60, "the end")
    fired = t.one("select count(*) from takt.occurrence where task_id = any(%s::uuid[]) and decision = 'fired'", tasks)
    assert fired == t.one("select count(*) from takt.run where task_id = any(%s::uuid[])", tasks)


def test_runs_of_one_task_do_not_overlap_across_nodes(t):
    file = t.root / "one"
    task = t.task("witness", {"file": str(file), "steps": 1, "step_ms": 60})
    runs = [t.run(task, wait=False) for _ in range(12)]
    for run in runs:
        wait_until(lambda r=run: t.state_of(r), 30, "the run's row")
        assert t.wait_end(run) == "completed"
    busy = None
    for line in t.witness(file):
        if line["phase"] == "start":
            assert busy is None
            busy = line["run"]
        elif line["phase"] == "end":
            assert busy == line["run"]
            busy = None


def test_cancel_reaches_the_node_that_has_the_run(t):
    runs = [t.run(t.task("witness", {"steps": 1, "step_ms": 600000})) for _ in range(12)]
    for run in runs:
        t.wait_state(run, "running")
    assert len(nodes_of(t, runs)) == 2
    for run in runs:
        assert t.cancel(run)[0] == 202
    for run in runs:
        assert t.wait_end(run) == "cancelled"


def test_a_draining_node_finishes_what_it_has_and_claims_nothing(t):
    second = t.others[0]
    end = t.root / "drained"
    running = [t.run(t.task("witness", {"file": str(t.root / "draining"), "steps": 100000, "step_ms": 50,
                                        "until_file": str(end)})) for _ in range(8)]
    for run in running:
        t.wait_state(run, "running")
    assert len(nodes_of(t, running)) == 2
    second.drain()
    runs = [t.run(t.task("hello")) for _ in range(24)]
    for run in runs:
        assert t.wait_end(run) == "completed"
    assert nodes_of(t, runs) == {t.node()}
    assert {t.state_of(run) for run in running} == {"running"}
    end.touch()
    for run in running:
        assert t.wait_end(run) == "completed"
    t.drain()
    waiting = t.run(t.task("hello"))  # decided, by one of two that both claim nothing
    second.kill_engine(signal.SIGTERM)
    second.start_engine()
    wait_until(lambda: t.one("select lease_until > now() from takt.node where name = 'second'"), 30, "its return")
    assert t.state_of(waiting) == "queued"
    second.drain(False)
    assert t.wait_end(waiting) == "completed"
    assert nodes_of(t, [waiting]) == {second.node()}
    t.drain(False)


def test_a_second_engine_with_the_same_identity_waits(t):
    """A copied state directory, or a restart while the old process still lives."""
    incarnation = t.one("select incarnation from takt.node where name = 'test-node'")
    twin = subprocess.Popen([str(BUILD / "taktd"), "-x", "engine", "-c", str(t.root / "taktd.conf")],
                            stdout=(out := open(t.root / "twin.log", "wb")), stderr=out, stdin=subprocess.DEVNULL)
    try:
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        wait_until(lambda: t.one(waiting) == 1, 30, "the twin to wait for the node's lock")
        assert t.wait_end(t.run(t.task("hello"))) == "completed"
        assert t.one("select incarnation from takt.node where name = 'test-node'") == incarnation
    finally:
        twin.terminate()
        assert twin.wait(20) == 0
        out.close()
