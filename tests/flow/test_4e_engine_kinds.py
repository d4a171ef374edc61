# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Every kind of schedule fires when it should; calendars, catch-up policies, jitter, times computed anew."""
import datetime as dt
import os
import pathlib
import sys
import tempfile
import zoneinfo

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine  # noqa: E402
from pg import wait_until  # noqa: E402

ZONEINFO = pathlib.Path("/usr/share/zoneinfo")
ORDINALS = ("first", "second", "third", "fourth", "fifth")
UTC = dt.timezone.utc


def put_zone(folder, name, source):
    """As a package manager does: a new file takes the old one's place."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes((ZONEINFO / source).read_bytes())
    os.replace(fresh, path)


@pytest.fixture(scope="module")
def zones():
    """A zoneinfo of our own, with a zone that the tests change."""
    with tempfile.TemporaryDirectory(prefix="tz-", dir="/tmp") as folder:
        folder = pathlib.Path(folder)
        for entry in ZONEINFO.iterdir():
            (folder / entry.name).symlink_to(entry)
        put_zone(folder, "Test/City", "Europe/Berlin")
        yield folder


@pytest.fixture(scope="module")
def t(zones):
    with Engine(environment={"TZDIR": str(zones)}) as engine:
        yield engine


def schedule(t, kind, expr, zone="UTC", **columns):
    overlap = columns.pop("overlap", "parallel")
    return t.task("hello", zone=zone, overlap=overlap, schedule={"kind": kind, "expr": expr, **columns})


def plan(t, task, since="now()"):
    """Have the engine compute the next time, as the gateway asks it to."""
    t.sql(f"update takt.schedule set replan_from = {since}, next_due_at = null, next_fire_at = null where id = %s", task)
    t.sql("notify takt_schedule")
    return wait_until(lambda: t.sql("select next_due_at from takt.schedule where id = %s and replan_from is null", task), 30,
                      "the next time")[0][0]


def occurrences(t, task):
    return t.sql("select decision, rule, due_at, until_at, n, run_id::text, detail from takt.occurrence where task_id = %s "
                 "order by due_at", task)


def fired(t, task, count=1):
    """The due times of the first runs, which are none too early; the schedule goes then."""
    rows = wait_until(lambda: len(r := [o for o in occurrences(t, task) if o[0] == "fired"]) >= count and r, 60, f"{count} runs")
    t.sql("delete from takt.schedule where id = %s", task)
    for row in rows:
        created, trigger, due_at = t.sql("select created_at, trigger, due_at from takt.run where id = %s", row[5])[0]
        assert trigger == "schedule" and due_at == row[2] and created >= due_at
        assert t.wait_end(row[5]) == "completed"
    return [row[2] for row in rows]


def next_due(t, task):
    return t.one("select next_due_at from takt.schedule where id = %s", task)


def now(t):
    return t.one("select date_trunc('second', now())").astimezone(UTC)


@pytest.mark.parametrize("kind, expr, step", [("every", "1s", 1), ("every", "2s", 2), ("cron", "* * * * * *", 1),
                                              ("cron", "@every 2s", 2), ("cron", "*/2 * * * * *", 2)])
def test_seconds(t, kind, expr, step):
    task = schedule(t, kind, expr, anchor=dt.datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
    plan(t, task)
    due = fired(t, task, 3)
    assert all(b - a == dt.timedelta(seconds=step) for a, b in zip(due, due[1:]))
    if "every" in kind + expr and step == 2:
        assert all(d.second % 2 == 1 for d in due)


@pytest.mark.parametrize("kind", ["times", "ordinal", "rrule", "once"])
def test_at_a_time_of_day(t, kind):
    zone = "Asia/Kathmandu"
    due = now(t) + dt.timedelta(seconds=4)
    local = due.astimezone(zoneinfo.ZoneInfo(zone))
    expr = {"times": f"{local:%H:%M:%S} 1111111",
            "ordinal": f"{ORDINALS[(local.day - 1) // 7]} {local:%A} {local:%H:%M:%S}".lower(),
            "rrule": f"DTSTART:{local:%Y%m%dT%H%M%S}\nRRULE:FREQ=DAILY;COUNT=2",
            "once": f"{due:%Y-%m-%dT%H:%M:%SZ}"}[kind]
    task = schedule(t, kind, expr, zone=zone)
    assert plan(t, task) == due
    wait_until(lambda: occurrences(t, task), 30, "the occurrence")
    following = next_due(t, task)
    assert fired(t, task) == [due]
    if kind in ("times", "rrule"):
        assert following == due + dt.timedelta(days=1)
    elif kind == "once":
        assert following is None
    else:
        assert following.astimezone(local.tzinfo).weekday() == local.weekday() and following > due + dt.timedelta(days=20)


def local(zone, *at):
    return dt.datetime(*at, tzinfo=zoneinfo.ZoneInfo(zone))


# A schedule, from when on, and the next time after that, on the clock of its zone.
NEXT = [
    ("window", "09:00-17:00-60 1111100", "America/New_York", {}, (2027, 1, 8, 16, 30), (2027, 1, 8, 17, 0)),
    ("window", "09:00-17:00-60 1111100", "America/New_York", {}, (2027, 1, 8, 17, 0), (2027, 1, 11, 9, 0)),
    ("ordinal", "last friday 06:00,18:00", "Europe/Berlin", {}, (2027, 1, 29, 6, 0), (2027, 1, 29, 18, 0)),
    ("ordinal", "fifth monday 06:00", "Europe/Berlin", {}, (2027, 1, 1, 0, 0), (2027, 3, 29, 6, 0)),
    ("cron", "30 2 * * *", "Europe/Berlin", {}, (2027, 3, 27, 12, 0), (2027, 3, 28, 3, 0)),
    ("cron", "30 2 * * *", "Europe/Berlin", {"dst_gap": "skip"}, (2027, 3, 27, 12, 0), (2027, 3, 29, 2, 30)),
    ("cron", "0 12 L * *", "UTC", {}, (2027, 2, 1, 0, 0), (2027, 2, 28, 12, 0)),
    ("times", "12:00 1111111", "UTC", {"exclude": ["2027-01-04"]}, (2027, 1, 3, 12, 0), (2027, 1, 5, 12, 0)),
    ("times", "12:00 1000000", "UTC", {"exclude": ["2027-01-04"], "on_hit": "next_business_day"}, (2027, 1, 2, 0, 0),
     (2027, 1, 5, 12, 0)),
    ("times", "12:00 1000000", "UTC", {"exclude": ["2027-01-04"], "on_hit": "previous_business_day"}, (2026, 12, 31, 0, 0),
     (2027, 1, 1, 12, 0)),
    ("times", "12:00 1111111", "UTC", {"include": ["2027-01-04", "2027-02-04"]}, (2027, 1, 4, 12, 0), (2027, 2, 4, 12, 0)),
    ("times", "12:00 1111111", "UTC", {"effective_from": dt.datetime(2028, 1, 1, 12, tzinfo=UTC)}, (2027, 1, 4, 12, 0),
     (2028, 1, 1, 12, 0)),
    ("times", "12:00 1111111", "UTC", {"effective_until": dt.datetime(2027, 1, 5, 12, tzinfo=UTC)}, (2027, 1, 4, 12, 0), None),
    ("every", "36h", "UTC", {"effective_from": dt.datetime(2027, 1, 1, tzinfo=UTC)}, (2027, 1, 1, 0, 0), (2027, 1, 2, 12, 0)),
    ("rrule", "DTSTART:20270101T083000\nRRULE:FREQ=WEEKLY;BYDAY=TU\nEXDATE:20270105T083000", "Asia/Tokyo", {}, (2027, 1, 1, 0, 0),
     (2027, 1, 12, 8, 30)),
    ("cron", "no cron at all", "UTC", {}, (2027, 1, 1, 0, 0), None),
]


@pytest.mark.parametrize("case", range(len(NEXT)))
def test_next_is_computed_anew(t, case):
    kind, expr, zone, columns, since, expected = NEXT[case]
    for side in {"include", "exclude"} & set(columns):
        columns = {**columns, side: [t.calendar(f"next-{case}-{side}", {d: "closed" for d in columns[side]})]}
    task = schedule(t, kind, expr, zone=zone, **columns)
    assert plan(t, task, f"timestamptz '{local(zone, *since).isoformat()}'") == (expected and local(zone, *expected))
    t.sql("delete from takt.schedule where id = %s", task)


def test_h_is_of_the_task(t):
    tasks = [schedule(t, "cron", "H H * * *") for _ in range(8)]
    times = {plan(t, task, "timestamptz '2027-01-01 00:00+00'") for task in tasks}
    assert len(times) > 1
    assert all(dt.datetime(2027, 1, 1, tzinfo=UTC) <= x < dt.datetime(2027, 1, 2, 0, 1, tzinfo=UTC) for x in times)
    t.sql("delete from takt.schedule where id = any(%s::uuid[])", tasks)


def test_a_disabled_one_has_no_next_time(t):
    task = schedule(t, "every", "1s", enabled=False)
    assert plan(t, task) is None and occurrences(t, task) == []


def test_a_calendar_that_changes_frees_its_schedules(t):
    today = now(t).date()
    days = {today + dt.timedelta(days=n): "inventory" for n in range(3)}
    calendar = t.calendar("stock-taking", days)
    other = t.calendar("nothing", {})
    task = schedule(t, "every", "1s", exclude=[other, calendar])
    assert plan(t, task) == dt.datetime.combine(today + dt.timedelta(days=3), dt.time(), UTC)
    t.calendar_days(calendar, {})
    fired(t, task, 2)


def test_what_a_calendar_passes_over_is_told(t):
    """Rows between the last decision and this one: neighbours of one reason are one row; calendars are named."""
    noon = dt.datetime.combine(now(t).date() - dt.timedelta(days=1), dt.time(12), UTC)
    day = [(noon - dt.timedelta(days=n)).date() for n in range(9)]
    strike = t.calendar("strike", {day[5]: "strike: north", day[4]: "strike: north", day[2]: "strike"})
    fair = t.calendar("fair", {day[3]: "", day[2]: "too late"})
    task = schedule(t, "times", "12:00 1111111", exclude=[strike, fair], planned_from=noon - dt.timedelta(days=8),
                    catch_up="all", overlap="parallel")
    t.due(task, f"timestamptz '{noon - dt.timedelta(days=6)}'")
    wait_until(lambda: next_due(t, task) > noon, 60, "everything to be decided")
    rows = [(o[0], o[1], o[2], o[3], o[4], o[6]) for o in occurrences(t, task)]
    t.sql("delete from takt.schedule where id = %s", task)
    at = [dt.datetime.combine(d, dt.time(12), UTC) for d in day]
    skipped = [("skipped", "calendar.exclude", at[5], at[4], 2, {"calendar": "strike", "reason": "strike: north"}),
               ("skipped", "calendar.exclude", at[3], None, 1, {"calendar": "fair", "reason": ""}),
               ("skipped", "calendar.exclude", at[2], None, 1, {"calendar": "fair", "reason": "too late"})]
    assert [r for r in rows if r[0] == "skipped"] == skipped
    assert [r[2] for r in rows if r[0] == "fired"] == [at[6], at[1], at[0]]
    for run in [o[5] for o in occurrences(t, task) if o[5]]:
        assert t.wait_end(run) == "completed"


def test_what_the_clock_passes_over_is_told(t):
    """The hour before and after clock changes of the past, as if no engine had run since."""
    rows = {}
    for gap, change, was in (("skip", "2026-03-29", "2026-03-28 01:30+00"), ("run_at_gap_end", "2026-10-25", "2026-10-24 00:30+00")):
        task = schedule(t, "times", "02:30 1111111", zone="Europe/Berlin", dst_gap=gap, planned_from="2026-01-01T00:00Z",
                        effective_until=dt.datetime.fromisoformat(change + "T23:00+00:00") + dt.timedelta(days=1))
        t.due(task, f"timestamptz '{was}'")
        wait_until(lambda x=task: next_due(t, x) is None, 30, "the decision")
        rows[gap] = [o[:5] for o in occurrences(t, task) if o[0] == "skipped"]
        assert [o[0] for o in occurrences(t, task)] == ["missed", "skipped", "fired"]
        t.wait_end(occurrences(t, task)[-1][5])
    at = dt.datetime.fromisoformat
    assert rows["skip"] == [("skipped", "dst.gap", at("2026-03-29T01:00+00:00"), None, 1)]
    assert rows["run_at_gap_end"] == [("skipped", "dst.fold", at("2026-10-25T01:30+00:00"), None, 1)]


# Due times 190, 130, 70 and 10 minutes ago: settings, then what becomes of each.
CATCH_UP = {
    "latest": ({}, "m m m f", {"catchup.latest": None}),
    "none": ({"catch_up": "none"}, "m m m m", {"catchup.none": None}),
    "all": ({"catch_up": "all"}, "f f f f", {}),
    "all of two": ({"catch_up": "all", "catch_up_limit": 2}, "m m f f", {"catchup.limit": {"limit": 2}}),
    "deadline": ({"catch_up_deadline_s": 7200}, "d d m f",
                 {"catchup.deadline": {"deadline_seconds": 7200}, "catchup.latest": None}),
    "all, deadline": ({"catch_up": "all", "catch_up_deadline_s": 7200}, "d d f f", {"catchup.deadline": {"deadline_seconds": 7200}}),
    "short deadline": ({"catch_up_deadline_s": 300}, "d d d d", {"catchup.deadline": {"deadline_seconds": 300}}),
    "none, deadline": ({"catch_up": "none", "catch_up_deadline_s": 7200}, "d d m m",
                       {"catchup.deadline": {"deadline_seconds": 7200}, "catchup.none": None}),
}


def expanded(rows, step):
    """Each due time with what became of it; no time twice."""
    out = []
    for decision, rule, due, until, n, *_ in rows:
        times = [due + k * step for k in range(n)]
        assert times[-1] == (until or due)
        out += [(at, "f" if decision == "fired" else "d" if rule == "catchup.deadline" else "m") for at in times]
    assert len({at for at, _ in out}) == len(out)
    return [what for _, what in sorted(out)]


def test_catch_up_after_a_stop(t):
    t.kill_engine(15)
    first = now(t) - dt.timedelta(minutes=190)
    tasks = {}
    for name, (columns, _, _) in CATCH_UP.items():
        tasks[name] = schedule(t, "every", "1h", anchor=first, **columns)
        t.due(tasks[name], f"timestamptz '{first}'")
    t.start_engine()
    for name, (_, expected, details) in CATCH_UP.items():
        wait_until(lambda x=tasks[name]: next_due(t, x) == first + dt.timedelta(hours=4), 60, f"{name}: decisions")
        rows = occurrences(t, tasks[name])
        assert expanded(rows, dt.timedelta(hours=1)) == expected.split(), name
        assert {r[1]: r[6] for r in rows if r[0] == "missed"} == details, name
        for row in [r for r in rows if r[0] == "fired"]:
            assert row[6]["late_s"] >= 600
            assert t.wait_end(row[5]) == "completed"
    t.sql("delete from takt.schedule where id = any(%s::uuid[])", list(tasks.values()))


def test_one_that_is_not_late_is_not_caught_up(t):
    """Policy none: a moment's delay is no outage."""
    task = schedule(t, "every", "1h", catch_up="none", anchor=now(t) - dt.timedelta(hours=3, seconds=5))
    t.due(task, "(select anchor + interval '3 h' from takt.schedule x where x.id = schedule.id)")
    wait_until(lambda: occurrences(t, task), 30, "the occurrence")
    assert len(fired(t, task)) == 1


def test_effective_until_ends_it(t):
    until = now(t) + dt.timedelta(seconds=4)
    task = schedule(t, "every", "1s", effective_until=until)
    plan(t, task)
    wait_until(lambda: next_due(t, task) is None, 30, "its end")
    assert max(fired(t, task)) == until - dt.timedelta(seconds=1)


def test_jitter_delays_and_keeps_the_due_time(t):
    task = schedule(t, "every", "1h", jitter_s=10, jitter_off_s=3)
    due = t.due(task, "date_trunc('second', now())")
    row = wait_until(lambda: occurrences(t, task), 30, "the occurrence")[0]
    created, due_at = t.sql("select created_at, due_at from takt.run where id = %s", row[5])[0]
    assert row[:3] == ("fired", "due", due) and due_at == due and created >= due + dt.timedelta(seconds=3)
    next_at, fire_at = t.sql("select next_due_at, next_fire_at from takt.schedule where id = %s", task)[0]
    assert fire_at - next_at == dt.timedelta(seconds=3)
    t.sql("delete from takt.schedule where id = %s", task)
    t.wait_end(row[5])


def test_the_last_day_of_all_holds_up_nobody(t):
    """A next time that the database refused would have failed the replanning of every schedule there is."""
    last = schedule(t, "once", "9999-12-31T23:59:59Z")
    assert plan(t, last) == dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    other = schedule(t, "times", "12:00 1111111")
    assert plan(t, other).hour == 12
    t.sql("delete from takt.schedule where id = any(%s)", [last, other])


def test_other_tzdata_moves_next_times(t, zones):
    since = "timestamptz '2027-07-01 00:00+00'"
    city, utc = schedule(t, "times", "12:00 1111111", zone="Test/City"), schedule(t, "times", "12:00 1111111")
    instant = schedule(t, "once", "2027-07-02T12:00:00Z", zone="Test/City")
    at = {task: plan(t, task, since) for task in (city, utc, instant)}
    assert at[city] == local("Europe/Berlin", 2027, 7, 1, 12)
    wait_until(lambda: t.one("select fingerprint from takt.zone where name = 'Test/City'"), 90, "the zone to be looked at")
    # Next times are the first after the replanning, which is now, not in 2027.
    put_zone(zones, "Test/City", "Asia/Tokyo")
    tokyo = zoneinfo.ZoneInfo("Asia/Tokyo")
    moved = wait_until(lambda: (d := next_due(t, city)) != at[city] and d, 90, "the new next time")
    assert moved.astimezone(tokyo).hour == 12 and next_due(t, utc) == at[utc] and next_due(t, instant) == at[instant]
    log = (t.root / "engine.log").read_text()
    assert "zone Test/City has other rules (tzdata " in log
    assert f"schedule {city}: 2027-07-01T10:00:00Z becomes {moved.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" in log
    # The same while no engine runs.
    t.kill_engine(15)
    put_zone(zones, "Test/City", "America/New_York")
    t.start_engine()
    york = wait_until(lambda: (d := next_due(t, city)) != moved and d, 90, "the next time of the third zone")
    assert york.astimezone(zoneinfo.ZoneInfo("America/New_York")).hour == 12
    t.sql("delete from takt.schedule where id = any(%s::uuid[])", [city, utc, instant])
