# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Cancel in every state, with an answer that says what came of it."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine  # noqa: E402


@pytest.fixture(scope="module")
def t():
    with Engine(max_units=4) as engine:
        yield engine


def test_queued_ends_at_once(t):
    task = t.task("witness", {"steps": 1, "step_ms": 3000})
    first, second = t.run(task), t.run(task)
    t.wait_state(first, "running")
    status, answer = t.cancel(second, "not needed")
    assert (status, answer["state"]) == (200, "cancelled")
    end = t.events(second)[-1]
    assert end["type"] == "task_cancelled" and end["reason"] == "not needed" and end["actor"] == "tester"
    assert t.wait_end(first) == "completed"


def test_retry_wait_ends_at_once(t):
    run = t.run(t.task("witness", {"fail": "no"}, max_retries=1, retry_delay_seconds=3600))
    t.wait_state(run, "retry_wait")
    assert t.cancel(run)[0] == 200
    assert t.state_of(run) == "cancelled"


def test_running_goes_through_cancelling(t):
    file = t.root / "running"
    run = t.run(t.task("witness", {"file": str(file), "steps": 1, "step_ms": 600000}))
    t.wait_state(run, "running")
    status, answer = t.cancel(run, "enough")
    assert (status, answer["state"]) == (202, "cancelling")
    assert t.wait_end(run) == "cancelled"
    assert t.witness(file)[-1]["phase"] == "cancelled"
    types = t.types(run)
    assert types.index("task_cancelling") < types.index("task_cancelled")
    assert t.one("select state from takt.attempt where run_id = %s", run) == "cancelled"
    assert t.summary(run)["reason"] == "enough"


def test_dispatched_or_running_of_a_group_with_waiting_units(t):
    group = t.group("g", [t.device(f"d{i}") for i in range(9)])
    run = t.run(t.task("witness_each", {"steps": 1, "step_ms": 600000}, target={"type": "device_group", "id": group}))
    t.wait_state(run, "running")
    assert t.cancel(run)[0] == 202
    assert t.wait_end(run) == "cancelled"
    assert {s for (s,) in t.sql("select state from takt.unit where run_id = %s", run)} == {"cancelled"}


def test_cancel_during_dispatch_never_loses_the_run(t):
    for _ in range(10):
        run = t.run(t.task("hello", {"steps": 1}))
        status, answer = t.cancel(run)
        state = t.wait_end(run)
        assert state in ("cancelled", "completed")
        assert status in (200, 202, 409), answer


def test_twice_is_answered_twice(t):
    run = t.run(t.task("witness", {"steps": 1, "step_ms": 600000}))
    t.wait_state(run, "running")
    assert t.cancel(run)[0] == 202
    assert t.cancel(run)[0] in (202, 409)
    assert t.wait_end(run) == "cancelled"
    assert t.types(run).count("task_cancelling") == 1


def test_finished_is_409_and_unknown_is_404(t):
    run = t.run(t.task("hello"))
    t.wait_end(run)
    status, answer = t.cancel(run)
    assert status == 409 and answer["state"] == "completed"
    status, answer = t.answer(t.command("run.cancel", {}, "01900000-0000-7000-8000-000000000001"))
    assert status == 404 and answer["code"] == "run.not_found"
