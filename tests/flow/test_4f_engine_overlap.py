# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What happens to a due time while earlier runs of the task have not ended, and to a run that is not started in time."""
import datetime as dt
import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import checker  # noqa: E402
from engine import Engine  # noqa: E402
from pg import BUILD, wait_until  # noqa: E402

SLOW = {"steps": 1, "step_ms": 600000}


@pytest.fixture(scope="module")
def t():
    with Engine() as engine:
        yield engine
        assert checker.check(engine.owner) == []
        p = subprocess.run([BUILD / "takt", "verify", "-o", "json", "--db", engine.pg.conninfo], capture_output=True, text=True,
                           check=False)
        assert p.returncode == 0, p.stdout + p.stderr
        assert {c["name"]: c["examined"] for c in json.loads(p.stdout)["checks"]}["decision_event"] > 0


class Slow:
    """A task whose runs do not end by themselves, and its due times, each later than the one before."""

    def __init__(self, t, task_type="witness", parameters=SLOW, **limits):
        self.t, self.n = t, 0
        self.task = t.task(task_type, parameters, cron="0 0 1 1 *", **limits)
        self.base = t.one("select date_trunc('second', now()) - interval '1 min'")

    def fire(self):
        """The decision about the next due time: (decision, rule, run, detail)."""
        self.n += 1
        due = self.t.due(self.task, f"timestamptz '{self.base + dt.timedelta(seconds=self.n)}'")
        return wait_until(lambda: self.t.sql("select decision, rule, run_id::text, detail from takt.occurrence "
                                             "where task_id = %s and due_at = %s", self.task, due), 30, "the decision")[0]

    def running(self):
        run = self.fire()[2]
        self.t.wait_state(run, "running")
        return run

    def end(self):
        self.t.sql("delete from takt.schedule where task_id = %s", self.task)
        for (run,) in self.t.sql("select run_id::text from takt.live where task_id = %s", self.task):
            self.t.cancel(run)
            self.t.wait_end(run)


@pytest.fixture
def slow(t):
    made = []

    def make(*args, **limits):
        made.append(Slow(t, *args, **limits))
        return made[-1]
    yield make
    for each in made:
        each.end()


def live(t, task):
    return t.one("select count(*) from takt.live where task_id = %s", task)


def test_queue_of_one(t, slow):
    s = slow()
    s.running()
    decision, rule, queued, detail = s.fire()
    assert (decision, rule, detail) == ("fired", "due", None) and t.state_of(queued) == "queued"
    assert s.fire() == ("skipped", "overlap.queue_full", None, {"limit": 1})


def test_queue_of_two(t, slow):
    s = slow(overlap="queue", overlap_limit=2)
    s.running()
    waiting = [s.fire() for _ in range(2)]
    assert [w[:2] for w in waiting] == [("fired", "due")] * 2
    assert s.fire() == ("skipped", "overlap.queue_full", None, {"limit": 2})
    assert [t.state_of(w[2]) for w in waiting] == ["queued", "queued"]
    assert t.cancel(waiting[0][2])[0] == 200
    assert s.fire()[:2] == ("fired", "due")


def test_runs_by_hand_do_not_fill_the_queue_but_wait_in_it(t, slow):
    s = slow()
    s.running()
    by_hand = t.run(s.task)
    assert s.fire()[:2] == ("fired", "due")
    assert t.state_of(by_hand) == "queued"


def test_skip_says_which_run_was_in_the_way(t, slow):
    s = slow(overlap="skip")
    first = s.running()
    assert s.fire() == ("skipped", "overlap.skip", None, {"run_id": first})
    assert t.cancel(first)[0] == 202 and t.wait_end(first) == "cancelled"
    by_hand = t.run(s.task)
    t.wait_state(by_hand, "running")
    assert s.fire() == ("skipped", "overlap.skip", None, {"run_id": by_hand})
    assert t.cancel(by_hand)[0] == 202 and t.wait_end(by_hand) == "cancelled"
    assert s.fire()[:2] == ("fired", "due")


def test_replace_cancels_the_old_one_and_the_new_one_runs_after_it(t, slow):
    s = slow(overlap="replace")
    first = s.running()
    decision, rule, second, detail = s.fire()
    assert (decision, rule, detail) == ("fired", "due", {"replaces": [first]})
    assert t.wait_end(first) == "cancelled"
    stop = next(e for e in t.events(first) if e["type"] == "task_cancelling")
    assert (stop["actor"], stop["reason"]) == ("schedule", "overlap.replace")
    t.wait_state(second, "running")
    ended, started = t.one("select finished_at from takt.run where id = %s", first), \
        t.one("select started_at from takt.live where run_id = %s", second)
    assert started >= ended
    third = s.fire()[2]
    t.wait_state(third, "running")
    assert t.wait_end(second) == "cancelled"


def test_parallel_up_to_a_number(t, slow):
    s = slow(overlap="parallel", overlap_limit=2)
    first, second = s.running(), s.running()
    decision, rule, run, detail = s.fire()
    assert (decision, rule, run) == ("skipped", "overlap.parallel_full", None)
    assert detail["limit"] == 2 and detail["run_id"] in (first, second)
    assert t.cancel(first)[0] == 202 and t.wait_end(first) == "cancelled"
    assert s.fire()[:2] == ("fired", "due")


def test_parallel_without_a_number(t, slow):
    s = slow(overlap="parallel")
    for _ in range(4):
        s.running()
    assert live(t, s.task) == 4


def test_a_policy_that_was_changed_sees_the_runs_from_before(t, slow):
    s = slow(overlap="parallel")
    runs = {s.running(), s.running()}
    t.sql("update takt.task set definition = definition || '{\"overlap\": \"skip\"}' where id = %s", s.task)
    assert s.fire()[3]["run_id"] in runs
    t.sql("update takt.task set definition = definition || '{\"overlap\": \"replace\"}' where id = %s", s.task)
    assert set(s.fire()[3]["replaces"]) == runs
    for run in runs:
        assert t.wait_end(run) == "cancelled"


def test_a_run_that_is_not_started_in_time_expires(t, slow):
    s = slow()
    t.sql("update takt.schedule set start_deadline_s = 1 where task_id = %s", s.task)
    first = s.running()
    late = s.fire()[2]
    assert t.wait_end(late) == "expired"
    assert t.summary(late)["message"] == "not started within 1 s"
    last = t.events(late)[-1]
    assert (last["type"], last["state"], last["severity"]) == ("task_expired", "expired", "warning")
    assert t.one("select finished_at - created_at >= interval '1 s' and started_at is null from takt.run where id = %s", late)
    # One that was started is not touched, also where it is tried again.
    assert t.state_of(first) == "running"
    assert t.one("select expires_at from takt.live where run_id = %s", first) is None


def test_nobody_takes_one_that_has_expired(t, slow):
    s = slow("no_plugin_has_this")
    t.sql("update takt.schedule set start_deadline_s = 1 where task_id = %s", s.task)
    assert t.wait_end(s.fire()[2]) == "expired"


def test_decisions_are_told_in_the_feed(t, slow):
    s = slow(overlap="skip")
    first = s.running()
    s.fire()
    event, due, detail = t.sql("select event_id, due_at, detail from takt.occurrence where task_id = %s and rule = 'overlap.skip'",
                               s.task)[0]
    at, items = t.sql("select at, items from takt.event where run_id = %s and task_id = %s", event, s.task)[0]
    (item,) = items
    assert item.pop("at") == at.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert item == {"type": "occurrence_skipped", "severity": "warning", "rule": "overlap.skip", "n": 1,
                    "due_at": due.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "detail": {"run_id": first}}
    assert detail == {"run_id": first}
    status, body = t.sql("select * from takt.timeline(takt.find_any(%s), 'task or run', %s, 0, 10)", s.task, s.task)[0]
    assert status == 200 and body["run"]["id"] == first and body["items"]
    assert [(d["event_id"], d["type"], d["rule"], d["due_at"]) for d in body["decisions"]] == [
        (str(event), "occurrence_skipped", "overlap.skip", item["due_at"].replace("Z", ".000Z"))]
    assert t.sql("select status from takt.timeline(takt.find_run(%s), 'run', %s, 0, 10)", str(event), str(event)) == [(404,)]


def test_fired_and_missed_in_one_commit_have_numbers_without_gaps(t):
    """The checker and `takt verify` look over the numbers at the end."""
    tasks = [t.task("hello", cron="* * * * *", overlap="parallel") for _ in range(30)]
    t.sql("update takt.schedule set (next_due_at, next_fire_at) = (at, at) from (select date_trunc('minute', now()) - "
          "interval '10 min' as at) x where task_id = any(%s::uuid[])", tasks)
    t.sql("notify takt_schedule")
    wait_until(lambda: t.one("select count(*) from takt.occurrence where task_id = any(%s::uuid[]) and decision = 'fired'",
                             tasks) >= 30, 60, "30 firings")
    assert t.one("select count(*) from takt.occurrence where task_id = any(%s::uuid[]) and decision = 'missed'", tasks) >= 30
    both = "select count(*) from takt.event_batch b where run_ids && %s::uuid[] and run_ids && %s::uuid[]"
    ids = [t.sql(f"select {c} from takt.occurrence where task_id = any(%s::uuid[]) and {c} is not null", tasks)
           for c in ("run_id", "event_id")]
    assert t.one(both, *([str(i) for (i,) in x] for x in ids)) >= 1
    t.sql("delete from takt.schedule where task_id = any(%s::uuid[])", tasks)
    wait_until(lambda: t.one("select count(*) from takt.live where task_id = any(%s::uuid[])", tasks) == 0, 60, "their runs to end")


def test_a_late_firing_says_by_how_much(t):
    task = t.task("hello", cron="0 0 1 1 *")
    due = t.due(task, "date_trunc('second', now()) - interval '10 min'")
    detail = wait_until(lambda: t.sql("select detail from takt.occurrence where task_id = %s and due_at = %s", task, due), 30,
                        "the decision")[0][0]
    assert 600 <= detail["late_s"] <= 660
    t.sql("delete from takt.schedule where task_id = %s", task)
    wait_until(lambda: live(t, task) == 0, 30, "its run to end")
