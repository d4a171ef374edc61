# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A run by command, from its row to its last event."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine, uuid7  # noqa: E402
from pg import wait_until  # noqa: E402


@pytest.fixture(scope="module")
def t():
    with Engine() as engine:
        yield engine


def test_hello_by_command(t):
    task = t.task("hello", {"name": "Ada", "steps": 2})
    run = t.run(task)
    assert t.wait_end(run) == "completed"
    types = t.types(run)
    core = [x for x in types if x not in ("output", "progress")]
    assert core == ["task_created", "task_dispatched", "task_started", "attempt_started", "unit_started",
                    "unit_finished", "attempt_success", "task_completed"]
    finished = next(e for e in t.events(run) if e["type"] == "unit_finished")
    assert finished["state"] == "passed" and finished["result"] == {"greeting": "hello, Ada"}
    assert t.output(run).count(b"hello, Ada") == 2
    assert t.summary(run)["message"] == "passed"
    assert t.one("select last_run_at is not null from takt.task where id = %s", task)


def test_a_start_is_the_units_own_not_the_commits(t):
    """Start and end of a short unit reach the database in one commit, and still lie apart."""
    run = t.run(t.task("hello", {"steps": 1, "step_ms": 0}))
    assert t.wait_end(run) == "completed"
    for table, key in (("run", "id"), ("attempt", "run_id"), ("unit", "run_id")):
        assert t.one(f"select started_at < finished_at from takt.{table} where {key} = %s", run), table


def test_a_command_is_decided_once(t):
    task = t.task("hello")
    run = t.run(task)
    t.wait_end(run)
    t.sql("notify takt_command")
    again = t.run(t.task("hello"))
    t.wait_end(again)
    assert t.one("select count(*) from takt.run where task_id = %s", task) == 1


def test_a_notification_is_a_hint_whatever_it_says(t):
    """A command's id once, twice, another's, or no id at all: one run, whoever is first."""
    task = t.task("hello")
    run = t.run(task, wait=False)
    command = t.one("select id from takt.command where run_id = %s", run)
    for payload in (str(command), str(command).upper(), uuid7(), "no id", "x" * 5000):
        t.sql("select pg_notify('takt_command', %s)", payload)
    assert t.wait_end(run) == "completed"
    assert t.answer(command)[0] == 201
    assert t.one("select count(*) from takt.run where task_id = %s", task) == 1


def test_a_command_is_decided_also_when_nothing_can_be_claimed(t):
    """The claim is a part of the decision's transaction; when it fails, the decision is made without it."""
    t.sql("create function takt.test_refuse() returns trigger language plpgsql as $$ begin raise 'no claim'; end $$")
    t.sql("create trigger test_refuse before update on takt.live for each row when (new.state = 'dispatched') "
          "execute function takt.test_refuse()")
    try:
        run = t.run(t.task("hello"))
        assert t.state_of(run) == "queued"
    finally:
        t.sql("drop trigger test_refuse on takt.live")
        t.sql("drop function takt.test_refuse")
    assert t.wait_end(run) == "completed"


def test_a_command_that_cannot_be_stored_does_not_hold_up_others(t):
    bad = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    task = t.task("hello")
    status, answer = t.answer(t.command("run.create", {"task_id": task}, bad))
    assert status == 422 and bad in answer["detail"]
    assert t.wait_end(t.run(task)) == "completed"


def test_a_definition_that_cannot_be_read_does_not_hold_up_others(t):
    run = t.run(t.task("witness_each", target={"type": "device", "id": "nonsense"}, timeout_seconds="soon"))
    assert t.wait_end(t.run(t.task("hello"))) == "completed"
    assert t.wait_end(run) == "failed"


def test_unknown_task_is_answered_404(t):
    status, answer = t.answer(t.command("run.create", {"task_id": "00000000-0000-4000-8000-000000000000"},
                                        uuid7()))
    assert status == 404 and answer["code"] == "task.not_found"


def test_a_disabled_task_runs_by_hand(t):
    assert t.wait_end(t.run(t.task("hello", enabled=False))) == "completed"


def test_two_runs_of_a_task_do_not_overlap(t):
    file = t.root / "overlap"
    task = t.task("witness", {"file": str(file), "steps": 3, "step_ms": 100})
    runs = [t.run(task) for _ in range(3)]
    for run in runs:
        assert t.wait_end(run) == "completed"
    open_run = None
    for line in t.witness(file):
        if line["phase"] == "start":
            assert open_run is None
            open_run = line["run"]
        if line["phase"] == "end":
            assert open_run == line["run"]
            open_run = None


def test_parallel_runs_of_a_task_overlap(t):
    file = t.root / "parallel"
    task = t.task("witness", {"file": str(file), "steps": 1, "step_ms": 1500}, overlap="parallel")
    runs = [t.run(task) for _ in range(3)]
    for run in runs:
        assert t.wait_end(run) == "completed"
    phases = [line["phase"] for line in t.witness(file)]
    assert phases.count("start") == 3 and phases.index("end") > 2


def test_a_type_that_nobody_offers_stays_queued(t):
    run = t.run(t.task("no_such_type"))
    other = t.run(t.task("hello"))
    t.wait_end(other)
    assert t.state_of(run) == "queued"
    assert t.cancel(run)[0] == 200
    assert t.state_of(run) == "cancelled"


def test_plugins_and_node_are_published(t):
    types = t.one("select jsonb_agg(x ->> 'id') from takt.plugin p, jsonb_array_elements(p.types) x "
                  "where p.status = 'loaded'")
    assert {"hello", "witness"} <= set(types)
    assert t.one("select count(*) from takt.seal_key") == 1
    assert t.one("select epoch from takt.node") == 1


def test_more_units_than_slots(t):
    runs = [t.run(t.task("witness", {"steps": 2, "step_ms": 50}), wait=False) for _ in range(90)]
    for run in runs:
        wait_until(lambda r=run: t.state_of(r), 30, "the run's row")
        assert t.wait_end(run, 120) == "completed"
