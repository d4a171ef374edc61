# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""kill -9 of engine, executor and database while slowed units run; fencing; refusals; orderly stops.

What really happened is read from the witness file that the units write, not from Takt's tables.
"""
import json
import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import checker  # noqa: E402
from engine import Engine, uuid7  # noqa: E402
from forge import add_events  # noqa: E402
from pg import wait_until  # noqa: E402

UNITS, STEPS, STEP_MS = 6, 2000, 200  # they end when the test says so


def expected_output(label, steps, output_b):
    return b"".join(f"{label} step {i} ".encode() + bytes(97 + (i * 7 + k) % 26 for k in range(output_b)) + b"\n"
                    for i in range(1, steps + 1))


def slow_runs(t, file, output_b=300):
    runs = {}
    for n in range(UNITS):
        task = t.task("witness", {"file": str(file), "label": f"w{n}", "steps": STEPS, "step_ms": STEP_MS,
                                  "output_b": output_b, "until_file": f"{file}.end"})
        runs[t.run(task)] = f"w{n}"
    for run in runs:
        t.wait_state(run, "running")
    return runs


def steps_seen(file):
    return sum(json.loads(line)["phase"] == "step" for line in file.read_text().splitlines())


def running_now(file):
    """Units that have started and not ended, by what they wrote themselves."""
    open_units = set()
    for line in map(json.loads, file.read_text().splitlines()):
        if line["phase"] == "start":
            open_units.add(line["run"])
        elif line["phase"] in ("end", "cancelled"):
            open_units.discard(line["run"])
    return len(open_units)


def kill_five_times(t, file, kill):
    for _ in range(5):
        seen = steps_seen(file)
        wait_until(lambda s=seen: steps_seen(file) >= s + UNITS, 30, "more steps")
        assert running_now(file) >= 5
        kill()


def all_as_if_nothing_had_been(t, file, runs, output_b=300):
    pathlib.Path(f"{file}.end").touch()
    for run, label in runs.items():
        assert t.wait_end(run, 120) == "completed"
        lines = [line for line in t.witness(file) if line["run"] == run]
        steps = sum(line["phase"] == "step" for line in lines)
        assert checker.check_witness(lines, steps) == []
        mine = [line for line in t.output(run).splitlines(True) if line.startswith(label.encode())]
        assert b"".join(mine) == expected_output(label, steps, output_b)
        assert t.types(run).count("task_completed") == 1
        assert t.one("select count(*) from takt.attempt where run_id = %s", run) == 1


def test_engine_killed():
    with Engine() as t:
        file = t.root / "witness"
        runs = slow_runs(t, file)

        def kill():
            t.kill_engine()
            t.start_engine()
        kill_five_times(t, file, kill)
        all_as_if_nothing_had_been(t, file, runs)
        assert t.one("select epoch from takt.node") == 6


def test_database_killed():
    with Engine(durable=True) as t:
        file = t.root / "witness"
        runs = slow_runs(t, file)

        def kill():
            before = t.one("select incarnation from takt.node")
            t.kill_database()
            wait_until(lambda: t.one("select incarnation from takt.node") > before, 30, "the engine to be back")
        kill_five_times(t, file, kill)
        all_as_if_nothing_had_been(t, file, runs)
        assert t.one("select epoch from takt.node") == 1
        assert t.one("select incarnation from takt.node") >= 6


def test_executor_killed():
    with Engine() as t:
        file = t.root / "witness"
        runs = slow_runs(t, file)

        def kill():
            t.executor_process.kill()
            t.executor_process.wait()
            t.start_executor()
        kill_five_times(t, file, kill)
        all_as_if_nothing_had_been(t, file, runs)


def test_the_engine_is_away_while_units_end():
    with Engine() as t:
        file = t.root / "witness"
        task = t.task("witness", {"file": str(file), "label": "x", "steps": 3, "step_ms": 300})
        run = t.run(task)
        t.wait_state(run, "running")
        t.kill_engine()
        wait_until(lambda: '"end"' in file.read_text(), 30, "the unit's end")
        t.start_engine()
        assert t.wait_end(run) == "completed"
        assert t.output(run).count(b"x step") == 3


def test_terms_are_orderly():
    with Engine() as t:
        file = t.root / "witness"
        runs = slow_runs(t, file)
        assert t.kill_engine(signal.SIGTERM) == 0
        assert t.one("select lease_until <= now() from takt.node")
        t.start_engine()
        all_as_if_nothing_had_been(t, file, runs)


def test_claimed_but_never_started():
    """A crash between the claim's commit and START: the attempt is there, the executor knows nothing."""
    with Engine() as t:
        t.executor_process.terminate()
        t.executor_process.wait(20)
        t.kill_engine()
        file = t.root / "witness"
        run = uuid7()
        task = t.task("witness", {"file": str(file), "steps": 2, "step_ms": 1})
        make_dispatched(t, task, run, epoch=1)
        t.start_executor()
        t.start_engine()
        assert t.wait_end(run) == "completed"
        assert checker.check_witness(t.witness(file), 2) == []


def make_dispatched(t, task, run, epoch, unit_state="pending"):
    node = t.one("select id from takt.node")
    definition = json.dumps(t.one("select definition from takt.task where id = %s", task))
    t.sql("insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, created_at, "
          "policy) values (%s, %s, 'AAAAAAAA', %s, 1, 'x', 'witness', 'manual', now(), %s)", run, t.org, task, definition)
    t.sql("insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, queue_depth, node_id, epoch, attempt) "
          "values (%s, %s, %s, 'queued', now(), 0, true, null, 0, 0)", run, t.org, task)
    t.sql("update takt.live set state = 'dispatched', event_seq = 2, node_id = %s, epoch = %s, attempt = 1, opened_at = now(), "
          "timeout_s = 300, units = 1, attempt_started_at = case when %s = 'running' then now() end where run_id = %s",
          node, epoch, unit_state, run)
    at = "2026-01-01T00:00:00.000000Z"
    add_events(t.owner.execute, run, [
        {"type": "task_created", "severity": "info", "at": at, "state": "queued"},
        {"type": "task_dispatched", "severity": "info", "at": at, "state": "dispatched"}])


def test_a_unit_that_is_running_only_in_the_database_is_lost():
    with Engine() as t:
        t.kill_engine()
        run = uuid7()
        task = t.task("witness", {"steps": 1})
        make_dispatched(t, task, run, epoch=1, unit_state="running")
        t.start_engine()
        assert t.wait_end(run) == "failed"
        assert "attempt_lost" in t.types(run)
        assert t.one("select state from takt.attempt where run_id = %s", run) == "lost"


def kill_keeper(t, file):
    """The unit's process is a child of its keeper; its pid is what it wrote itself."""
    pid = t.witness(file)[0]["pid"]
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    os.kill(int(stat.rsplit(")", 1)[1].split()[1]), signal.SIGKILL)


def test_a_lost_unit_is_run_again_where_its_type_allows_it():
    with Engine() as t:
        file = t.root / "witness"
        run = t.run(t.task("witness", {"file": str(file), "steps": 20, "step_ms": 100}, max_retries=1))
        wait_until(lambda: file.exists() and steps_seen(file) > 2, 30, "steps")
        kill_keeper(t, file)
        assert t.wait_end(run) == "completed"
        assert [s for (s,) in t.sql("select state from takt.attempt where run_id = %s order by no", run)] == ["lost", "passed"]
        assert "attempt_lost" in t.types(run)


def test_a_lost_unit_fails_where_its_type_says_so():
    with Engine() as t:
        file = t.root / "witness"
        device = t.device("d")
        run = t.run(t.task("witness_each", {"file": str(file), "steps": 20, "step_ms": 100}, max_retries=3,
                           target={"type": "device", "id": device}))
        wait_until(lambda: file.exists() and steps_seen(file) > 2, 30, "steps")
        kill_keeper(t, file)
        assert t.wait_end(run) == "failed"
        assert [s for (s,) in t.sql("select state from takt.attempt where run_id = %s", run)] == ["lost"]
        assert t.one("select error ->> 'code' from takt.unit where run_id = %s", run) == "takt.lost"


def test_an_executor_without_room_refuses_and_the_units_wait():
    with Engine(max_units=8, executor_units=2) as t:
        runs = [t.run(t.task("witness", {"steps": 1, "step_ms": 300})) for _ in range(8)]
        for run in runs:
            assert t.wait_end(run) == "completed"
            assert t.one("select count(*) from takt.attempt where run_id = %s", run) == 1
        assert "refused" in (t.root / "engine.log").read_text()


def test_a_stale_epoch_is_fenced():
    """Somebody else took the run over while our unit ran: its reports change nothing."""
    with Engine() as t:
        file = t.root / "witness"
        run = t.run(t.task("witness", {"file": str(file), "steps": 1000, "step_ms": 50}))
        t.wait_state(run, "running")
        t.steal(run)
        wait_until(lambda: "fenced" in t.types(run), 30, "the fenced event")
        fenced = next(e for e in t.events(run) if e["type"] == "fenced")
        assert fenced["epoch"] == 1
        seen = t.one("select max(journal_off) from takt.unit where run_id = %s", run)
        wait_until(lambda: not list((t.state / "units").glob(f"{run}*")), 30, "the unit to be dropped")
        assert t.one("select max(journal_off) from takt.unit where run_id = %s", run) == seen
        t.give_back(run)


def test_a_restart_keeps_retries_and_schedules():
    with Engine() as t:
        run = t.run(t.task("witness", {"fail": "x", "fail_until_attempt": 1}, max_retries=1, retry_delay_seconds=2))
        t.wait_state(run, "retry_wait")
        t.kill_engine()
        t.start_engine()
        assert t.wait_end(run) == "completed"


def test_cancel_asked_while_the_executor_is_away():
    with Engine() as t:
        run = t.run(t.task("witness", {"steps": 1, "step_ms": 600000}))
        t.wait_state(run, "running")
        t.executor_process.kill()
        t.executor_process.wait()
        assert t.cancel(run)[0] == 202
        t.start_executor()
        assert t.wait_end(run) == "cancelled"


@pytest.mark.parametrize("kills", [5])
def test_engine_killed_during_claims(kills):
    """Many short runs, the engine dies at any moment: each runs, none twice."""
    with Engine() as t:
        file = t.root / "witness"
        runs = []
        for _ in range(kills):
            runs += [t.run(t.task("witness", {"file": str(file), "steps": 2, "step_ms": 20}), wait=False)
                     for _ in range(15)]
            have = t.one("select count(*) from takt.run where state is not null")
            wait_until(lambda h=have: t.one("select count(*) from takt.run where state is not null") >= h + 3, 60, "3 ends")
            t.kill_engine()
            t.start_engine()
        for run in runs:
            wait_until(lambda r=run: t.state_of(r), 60, "the run's row")
            assert t.wait_end(run, 120) == "completed"
        assert checker.check_witness(t.witness(file), 2) == []
        assert len({line["run"] for line in t.witness(file)}) == len(runs)
