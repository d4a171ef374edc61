# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Retries, deadlines, groups, and targets that are not there."""
import pathlib
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine  # noqa: E402

PERMANENT, AUTH, TRANSIENT = -200, -202, -100


@pytest.fixture(scope="module")
def t():
    with Engine(max_units=8) as engine:
        yield engine


def attempts(t, run):
    return [state for (state,) in t.sql("select state from takt.attempt where run_id = %s order by no", run)]


def test_retry_passes_the_second_time(t):
    run = t.run(t.task("witness", {"fail": "not yet", "fail_until_attempt": 1}, max_retries=3,
                       retry_delay_seconds=1))
    assert t.wait_end(run) == "completed"
    assert attempts(t, run) == ["failed", "passed"]
    events = t.events(run)
    retried = next(e for e in events if e["type"] == "task_retried")
    assert retried["delay_s"] == 1 and retried["attempt"] == 2 and retried["next_at"].endswith("Z")
    order = [e["type"] for e in events if e["type"].startswith("task_")]
    assert order == ["task_created", "task_dispatched", "task_started", "task_retried", "task_queued",
                     "task_dispatched", "task_completed"]


def test_the_delay_is_from_the_attempts_end_and_never_shorter(t):
    run = t.run(t.task("witness", {"fail": "no"}, max_retries=1, retry_delay_seconds=1))
    assert t.wait_end(run) == "failed"
    gap = t.one("select extract(epoch from b.opened_at - a.finished_at) from takt.attempt a join takt.attempt b "
                "on b.run_id = a.run_id and b.no = 2 where a.run_id = %s and a.no = 1", run)
    assert gap >= 1


def test_retries_count_after_the_first_attempt(t):
    run = t.run(t.task("witness", {"fail": "never"}, max_retries=3))
    assert t.wait_end(run) == "failed"
    assert attempts(t, run) == ["failed"] * 4
    assert t.summary(run)["message"] == "never"


@pytest.mark.parametrize("rc", [PERMANENT, AUTH])
def test_permanent_errors_are_not_retried(t, rc):
    run = t.run(t.task("witness", {"fail": "wrong", "rc": rc}, max_retries=3))
    assert t.wait_end(run) == "failed"
    assert attempts(t, run) == ["failed"]


def test_timeout_ends_the_attempt_and_then_the_run(t):
    run = t.run(t.task("witness", {"steps": 1, "step_ms": 600000}, timeout_seconds=1, max_retries=1))
    assert t.wait_end(run) == "timed_out"
    assert attempts(t, run) == ["timed_out", "timed_out"]
    assert t.types(run)[-1] == "task_timed_out"


def test_a_slot_that_comes_too_late_is_a_timeout(t):
    block = [t.run(t.task("witness", {"steps": 1, "step_ms": 4000})) for _ in range(7)]
    for run in block:
        t.wait_state(run, "running")
    group = t.group("late", [t.device(f"late{i}") for i in range(3)])
    run = t.run(t.task("witness_each", {"steps": 1, "step_ms": 600000}, timeout_seconds=1,
                       target={"type": "device_group", "id": group}))
    assert t.wait_end(run) == "timed_out"
    assert t.summary(run)["message"] == "3 of 3 failed"
    for other in block:
        t.wait_end(other)


def test_one_of_four_fails(t):
    names = ["a1", "a2", "a3", "a4"]
    group = t.group("four", [t.device(n) for n in names])
    run = t.run(t.task("witness_each", {"file": str(t.root / "four"), "fail": "broken", "fail_device": "a3",
                                        "rc": PERMANENT}, target={"type": "device_group", "id": group}))
    assert t.wait_end(run) == "failed"
    summary = t.summary(run)
    assert summary["message"] == "1 of 4 failed" and (summary["passed"], summary["failed"]) == (3, 1)
    end = t.events(run)[-1]
    assert end["type"] == "task_failed" and end["message"] == "1 of 4 failed"
    units = dict(t.sql("select device_name, state from takt.unit where run_id = %s", run))
    assert units == {"a1": "passed", "a2": "passed", "a3": "failed", "a4": "passed"}
    error = t.one("select error from takt.unit where run_id = %s and state = 'failed'", run)
    assert error == {"code": "witness.failed", "message": "broken", "hint": "as asked"}


def test_only_the_failed_unit_is_repeated(t):
    file = t.root / "again"
    group = t.group("again", [t.device(f"b{i}") for i in range(4)])
    run = t.run(t.task("witness_each", {"file": str(file), "fail": "once", "fail_device": "b2",
                                        "fail_until_attempt": 1}, max_retries=2,
                       target={"type": "device_group", "id": group}))
    assert t.wait_end(run) == "completed"
    assert t.summary(run)["message"] == "4 of 4 passed"
    starts = [(line["attempt"], line["device"]) for line in t.witness(file) if line["phase"] == "start"]
    assert sorted(starts) == [(1, "b0"), (1, "b1"), (1, "b2"), (1, "b3"), (2, "b2")]


def test_a_permanent_failure_stays_while_others_are_repeated(t):
    group = t.group("mixed", [t.device("c0"), t.device("c1")])
    device = t.device("c2")
    task = t.task("witness_each", {"fail": "x", "fail_device": "c0", "rc": PERMANENT}, max_retries=2,
                  target={"type": "device_group", "id": group})
    run = t.run(task)
    assert t.wait_end(run) == "failed"
    assert t.one("select count(*) from takt.attempt where run_id = %s", run) == 1
    assert t.summary(run)["message"] == "1 of 2 failed"
    assert t.wait_end(t.run(t.task("witness_each", {}, target={"type": "device", "id": device}))) == "completed"


@pytest.mark.parametrize("kind", ["device", "device_group"])
def test_an_unresolved_target_fails_and_says_so(t, kind):
    target = str(uuid.uuid4())
    run = t.run(t.task("witness_each", {}, target={"type": kind, "id": target}, max_retries=3))
    assert t.wait_end(run) == "failed"
    assert target in t.summary(run)["message"]
    assert t.one("select error_class from takt.attempt where run_id = %s", run) == "parameters"


def test_an_empty_group_is_unresolved(t):
    run = t.run(t.task("witness_each", {}, target={"type": "device_group", "id": t.group("none", [])}))
    assert t.wait_end(run) == "failed"
    assert "is empty" in t.events(run)[-1]["message"]
