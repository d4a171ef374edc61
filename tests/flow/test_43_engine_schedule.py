# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Due times: fired once, never early, moved on from the previous due time, caught up, not overlapping."""
import datetime as dt
import pathlib
import sys
import time
import zoneinfo

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine  # noqa: E402
from pg import wait_until  # noqa: E402


@pytest.fixture(scope="module")
def t():
    with Engine() as engine:
        yield engine


def occurrences(t, task):
    return t.sql("select decision, rule, due_at, run_id::text, until_at, n from takt.occurrence where task_id = %s "
                 "order by due_at", task)


def next_due(t, task):
    return t.one("select next_due_at from takt.schedule where task_id = %s", task)


def test_a_due_time_fires_once_and_never_early(t):
    task = t.task("hello", cron="* * * * *")
    due = t.due(task, "date_trunc('second', now()) + interval '3 s'")
    row = wait_until(lambda: occurrences(t, task), 30, "the occurrence")[0]
    assert row[:2] == ("fired", "due") and row[2] == due
    run = row[3]
    assert t.wait_end(run) == "completed"
    created, trigger, due_at = t.sql("select created_at, trigger, due_at from takt.run where id = %s", run)[0]
    assert created >= due and trigger == "schedule" and due_at == due
    assert created - due < dt.timedelta(seconds=2)
    assert t.events(run)[0]["due_at"] == due.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    following = next_due(t, task)
    assert following > due and following.second == 0 and following - due <= dt.timedelta(seconds=60)
    t.sql("delete from takt.schedule where task_id = %s", task)


def test_the_zone_decides(t):
    task = t.task("hello", cron="0 2 * * *", zone="America/New_York")
    t.due(task, "timestamptz '2026-07-01 06:00:00+00'")
    wait_until(lambda: occurrences(t, task), 30, "the occurrence")
    local = next_due(t, task).astimezone(zoneinfo.ZoneInfo("America/New_York"))
    assert (local.hour, local.minute) == (2, 0)
    t.sql("delete from takt.schedule where task_id = %s", task)


def test_after_a_pause_the_latest_fires_and_the_others_are_one_row(t):
    task = t.task("hello", cron="* * * * *")
    first = t.due(task, "date_trunc('minute', now()) - interval '2 hours'")
    rows = wait_until(lambda: len(o := occurrences(t, task)) >= 2 and o, 30, "two occurrences")
    missed, fired = rows[0], rows[1]
    assert missed[:3] == ("missed", "catchup.latest", first)
    assert missed[5] in (120, 121)
    assert fired[0] == "fired" and fired[2] - missed[4] == dt.timedelta(minutes=1)
    assert (fired[2] - first) == dt.timedelta(minutes=missed[5])
    assert t.wait_end(fired[3]) == "completed"
    t.sql("delete from takt.schedule where task_id = %s", task)


def test_a_very_long_pause_is_bounded(t):
    task = t.task("hello", cron="* * * * *")
    begin = time.monotonic()
    t.due(task, "timestamptz '2025-01-01 00:00:00+00'")
    rows = wait_until(lambda: len(o := occurrences(t, task)) >= 2 and o, 30, "two occurrences")
    assert time.monotonic() - begin < 20
    assert rows[0][:2] == ("missed", "catchup.latest") and rows[0][5] == 10000
    assert rows[1][0] == "fired" and rows[1][2] > dt.datetime.now(dt.timezone.utc) - dt.timedelta(minutes=3)
    assert rows[1][2] - rows[0][4] == dt.timedelta(minutes=1)
    t.sql("delete from takt.schedule where task_id = %s", task)


def test_due_times_of_different_old_months_hold_up_nothing(t):
    """Each needs a partition of its own; also the latest due time of a yearly task is an old one."""
    old = {t.task("hello", cron="0 0 1 1 *"): "2020-01-01", t.task("hello", cron="0 0 1 6 *"): "2010-06-01",
           t.task("hello", cron="0 0 29 2 *"): "1996-02-29"}
    for task, first in old.items():
        t.due(task, f"timestamptz '{first} 00:00:00+00'")
    task = t.task("hello", cron="* * * * *")
    t.due(task, "date_trunc('second', now())")
    for each in [task, *old]:
        wait_until(lambda x=each: "fired" in [o[0] for o in occurrences(t, x)], 30, "the latest due time to fire")
    for each, first in old.items():
        assert occurrences(t, each)[0][:2] == ("missed", "catchup.latest")
        assert str(occurrences(t, each)[0][2].astimezone(dt.timezone.utc).date()) == first
    t.sql("delete from takt.schedule where task_id = any(%s::uuid[])", [task, *old])
    wait_until(lambda: t.one("select count(*) from takt.live") == 0, 60, "their runs to end")


def test_overlap_queues_one_and_skips_the_next(t):
    task = t.task("witness", {"steps": 1, "step_ms": 600000}, cron="0 0 1 1 *")
    runs = []
    for n in range(3):
        t.due(task, f"date_trunc('second', now()) - interval '{10 - n} s'")
        wait_until(lambda want=n + 1: len(occurrences(t, task)) >= want, 30, "an occurrence")
        if n == 0:
            runs.append(occurrences(t, task)[0][3])
            t.wait_state(runs[0], "running")
    decisions = [row[:2] for row in occurrences(t, task)]
    assert decisions[:3] == [("fired", "due"), ("fired", "due"), ("skipped", "overlap.queue_full")]
    queued = occurrences(t, task)[1][3]
    assert t.state_of(queued) == "queued"
    t.sql("delete from takt.schedule where task_id = %s", task)
    assert t.cancel(queued)[0] == 200
    assert t.cancel(runs[0])[0] == 202
    assert t.wait_end(runs[0]) == "cancelled"


def test_disabled_schedules_do_nothing(t):
    off = t.task("hello", cron="* * * * *", enabled=False)
    on = t.task("hello", cron="* * * * *")
    t.due(off, "now() - interval '5 s'")
    t.due(on, "date_trunc('second', now())")
    wait_until(lambda: occurrences(t, on), 30, "the other's occurrence")
    assert occurrences(t, off) == []
    t.wait_end(occurrences(t, on)[0][3])
    t.sql("delete from takt.schedule where task_id = any(%s::uuid[])", [on, off])


def test_an_expression_that_cannot_be_read_stops_and_says_so(t):
    task = t.task("hello", cron="61 * * * *")
    t.due(task, "date_trunc('second', now())")
    row = wait_until(lambda: occurrences(t, task), 30, "the occurrence")[0]
    assert row[:2] == ("skipped", "schedule.invalid") and next_due(t, task) is None


def test_a_zone_that_cannot_be_read_waits_and_holds_up_nobody(t):
    """As while tzdata is replaced: the schedule is as it was when the zone is back."""
    waiting = t.task("hello", cron="0 0 1 1 *", zone="Nowhere/Land")
    due = t.due(waiting, "date_trunc('second', now()) - interval '10 s'")
    other = t.task("hello", cron="0 0 1 1 *")
    t.due(other, "date_trunc('second', now())")
    wait_until(lambda: occurrences(t, other), 30, "the other's occurrence")
    wait_until(lambda: "schedules in zone Nowhere/Land wait" in (t.root / "engine.log").read_text(), 30, "the reason")
    assert occurrences(t, waiting) == [] and next_due(t, waiting) == due
    t.sql("update takt.schedule set zone = 'Europe/Berlin' where task_id = %s", waiting)
    fired = wait_until(lambda: occurrences(t, waiting), 30, "the occurrence")[0]
    assert fired[0] == "fired" and fired[2] == due
    t.sql("delete from takt.schedule where task_id = any(%s::uuid[])", [waiting, other])


def test_many_at_the_same_time(t):
    tasks = [t.task("hello", cron="* * * * *", overlap="parallel") for _ in range(250)]
    t.sql("update takt.schedule set (next_due_at, next_fire_at) = (date_trunc('second', now()), date_trunc('second', now())) where task_id = any(%s::uuid[])", tasks)
    t.sql("notify takt_schedule")
    wait_until(lambda: t.one("select count(*) from takt.occurrence where task_id = any(%s::uuid[]) and decision = 'fired'",
                             tasks) >= 250, 60, "250 occurrences")
    t.sql("delete from takt.schedule where task_id = any(%s::uuid[])", tasks)
    wait_until(lambda: t.one("select count(*) from takt.live where task_id = any(%s::uuid[])", tasks) == 0, 120,
               "all of them to end")
    assert t.one("select count(*) from takt.run where task_id = any(%s::uuid[]) and state <> 'completed'", tasks) == 0
