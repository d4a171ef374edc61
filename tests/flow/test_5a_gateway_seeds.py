# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Schedules as the users of NetStacks, EasyTask and NetDefense write them: they load, they are due when plain
arithmetic over zoneinfo says so, the engine fires them then, and what their manuals refuse is refused.

The schedule part of each document is as its source has it. The rest is Takt's: the commands, hosts, groups and numbers of
EasyTask and NetDefense are no part of a task here, and the task types of NetStacks that have no plugin are offered by a
plugin that is only named. What is fired is `hello`.
"""
import datetime as dt
import itertools
import json
import pathlib
import sys
from zoneinfo import ZoneInfo

import psycopg
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from dev import HELLO, Dev, wait_until  # noqa: E402

UTC = dt.timezone.utc
DAY = dt.timedelta(days=1)
WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()


# --- when things are due, by hand: days stepped through, each local time turned into an instant ---------------------

def daily(zone, times, mask="1111111", is_day=lambda day: True):
    """Instants after a given one. Of a time that a clock change skips zoneinfo makes the same as Takt only at 02:00 sharp,
    of one that it repeats the first: no document here needs more."""
    tz = ZoneInfo(zone)

    def after(at):
        day = at.astimezone(tz).date()
        while True:
            for time in times if mask[day.weekday()] == "1" and is_day(day) else ():
                local = dt.datetime.combine(day, dt.time.fromisoformat(time), tz)
                if local.astimezone(UTC) > at:
                    yield local.astimezone(UTC)
            day += DAY
    return after


def every_minutes(start, end, minutes):
    first, last = (int(t[:2]) * 60 + int(t[3:]) for t in (start, end))
    return [f"{m // 60:02}:{m % 60:02}" for m in range(first, last + 1, minutes)]


def nth(ordinal, weekday):
    def is_day(day):
        if day.weekday() != WEEKDAYS.index(weekday):
            return False
        if ordinal == "last":
            return (day + 7 * DAY).month != day.month
        return (day.day - 1) // 7 == ["first", "second", "third", "fourth", "fifth"].index(ordinal)
    return is_day


# --- the documents -----------------------------------------------------------------------------------------------------

def cron(expr, zone):
    return {"cron_expression": expr, "timezone": zone}


NETSTACKS = {
    "backup": ({"name": "Nightly Core Router Backup", "task_type": "backup", **cron("0 2 * * *", "America/New_York"),
                "enabled": True, "max_retries": 3, "retry_delay_seconds": 60, "timeout_seconds": 600,
                "parameters": {"type": "backup", "target_type": "device_group",
                               "target_id": "a1b2c3d4-5678-9abc-def0-123456789abc",
                               "destination": "config-snapshots/core-routers"}},
               daily("America/New_York", ["02:00"])),
    "health_check": ({"name": "Edge Switch Health Monitor", "task_type": "health_check", **cron("*/15 * * * *", "UTC"),
                      "enabled": True, "max_retries": 2, "retry_delay_seconds": 30, "timeout_seconds": 120,
                      "parameters": {"type": "health_check", "credential_id": "b2c3d4e5-6789-abcd-ef01-234567890bcd",
                                     "checks": ["ping", "ssh", "snmp_sysname"]}},
                     daily("UTC", every_minutes("00:00", "23:59", 15))),
    "deployment": ({"name": "Weekly Access Switch VLAN Push", "task_type": "deployment",
                    **cron("0 0 * * 0", "America/Los_Angeles"), "enabled": True, "max_retries": 1,
                    "retry_delay_seconds": 120, "timeout_seconds": 900,
                    "parameters": {"type": "deployment", "stack_instance_id": "c3d4e5f6-7890-bcde-f012-345678901cde"}},
                   daily("America/Los_Angeles", ["00:00"], "0000001")),
    "agent_task": ({"name": "Morning Network Health Summary", "task_type": "agent_task",
                    **cron("0 7 * * 1-5", "America/Chicago"), "enabled": True, "max_retries": 2,
                    "retry_delay_seconds": 60, "timeout_seconds": 300,
                    "parameters": {"type": "agent_task", "prompt": "Summarize the current health of all BGP peers."}},
                   daily("America/Chicago", ["07:00"], "1111100")),
    # Told in words only: a script that audits ACL entries nightly.
    "custom_script": ({"name": "Nightly ACL Audit", "task_type": "CustomScript", **cron("0 0 * * *", "UTC"),
                       "parameters": {"type": "custom_script", "script": "#!/bin/sh\nexit 0\n"}},
                      daily("UTC", ["00:00"])),
}

# name: what the document says of its schedule; the normal form's kind and text; when it is due
EASYTASK = {
    "the page's task": ({"timezone": "US/Eastern", "active": True, "calendar": "US_HOLIDAYS", "day_of_week": "1111111",
                         "trigger_times": "08:30"}, "times", "08:30 1111111", daily("US/Eastern", ["08:30"])),
    "parentheses": ({"timezone": "US/Eastern", "day_of_week": "1111100", "trigger_times": "(09:00, 14:00)"},
                    "times", "09:00,14:00 1111100", daily("US/Eastern", ["09:00", "14:00"], "1111100")),
    "unsorted, twice": ({"timezone": "Europe/London", "day_of_week": "1111100", "trigger_times": "14:00,09:00,14:00"},
                        "times", "09:00,14:00 1111100", daily("Europe/London", ["09:00", "14:00"], "1111100")),
    "Tuesday to Saturday": ({"timezone": "Asia/Kolkata", "day_of_week": "0111110", "trigger_times": "18:00"},
                            "times", "18:00 0111110", daily("Asia/Kolkata", ["18:00"], "0111110")),
    "not on Friday and Sunday": ({"timezone": "UTC", "day_of_week": "1111010", "trigger_times": "06:15"},
                                 "times", "06:15 1111010", daily("UTC", ["06:15"], "1111010")),
    "hourly window": ({"timezone": "US/Eastern", "day_of_week": "1111100", "run_frequency": "09:00-17:00-60"},
                      "window", "09:00-17:00-60 1111100",
                      daily("US/Eastern", every_minutes("09:00", "17:00", 60), "1111100")),
    "every five minutes": ({"timezone": "UTC", "day_of_week": "1111111", "run_frequency": "00:00-23:59-5"},
                           "window", "00:00-23:59-5 1111111", daily("UTC", every_minutes("00:00", "23:59", 5))),
    "start is end": ({"timezone": "UTC", "day_of_week": "1111111", "run_frequency": "02:00-02:00-1440"},
                     "window", "02:00-02:00-1440 1111111", daily("UTC", ["02:00"])),
    "first Monday": ({"timezone": "US/Eastern", "ordinal_day": "first monday of every month", "trigger_times": "06:00"},
                     "ordinal", "first monday 06:00", daily("US/Eastern", ["06:00"], is_day=nth("first", "monday"))),
    "last Friday": ({"timezone": "US/Eastern", "ordinal_day": "last friday of every month", "trigger_times": "(18:00, 20:30)"},
                    "ordinal", "last friday 18:00,20:30",
                    daily("US/Eastern", ["18:00", "20:30"], is_day=nth("last", "friday"))),
    "fifth Tuesday": ({"timezone": "UTC", "ordinal_day": "fifth tuesday of every month", "trigger_times": "12:00"},
                      "ordinal", "fifth tuesday 12:00", daily("UTC", ["12:00"], is_day=nth("fifth", "tuesday"))),
}


# --- a whole Takt -------------------------------------------------------------------------------------------------------

class Takt:
    def __init__(self, dev):
        self.dev = dev
        self.c = psycopg.connect(dev.conninfo(), autocommit=True)
        self.numbers = itertools.count()

    def sql(self, query, *args):
        cursor = self.c.execute(query, args)
        return cursor.fetchall() if cursor.description else []

    def now(self):
        return self.sql("select now()")[0][0]

    def post(self, path, body, status=201):
        got, answer = self.dev.api("POST", path, body)
        assert got == status, (got, answer)
        return answer

    def create(self, said, status=201):
        doc = {"name": f"t{next(self.numbers)}", "task_type": "hello", "max_retries": 0, **said}
        return self.post("/tasks", doc, status)

    def task(self, id):
        return self.dev.api("GET", f"/tasks/{id}")[1]

    def preview(self, id, count=5):
        status, answer = self.dev.api("GET", f"/tasks/{id}/preview?count={count}")
        assert status == 200, answer
        return [instant(at) for at in answer["next"]]

    def due(self, id):
        return self.sql("select next_due_at from takt.schedule where id = %s", id)[0][0]

    def occurrences(self, id):
        return self.sql("select decision, rule, due_at, run_id from takt.occurrence where task_id = %s order by due_at", id)

    def fired(self, id):
        """Due time and run of the first that fired."""
        rows = wait_until(lambda: [o for o in self.occurrences(id) if o[0] == "fired"], 60, f"a run\n{self.dev.logs()}")
        return rows[0][2:]

    def last_fired(self, id):
        return self.sql("select max(due_at) from takt.occurrence where task_id = %s and decision = 'fired'", id)[0][0]

    def finished(self, run):
        return wait_until(lambda: self.sql("select state, created_at from takt.run where id = %s and finished_at is not null", run),
                          60, f"the run's end\n{self.dev.logs()}")[0]

    def quiet(self, id):
        self.dev.api("POST", f"/tasks/{id}/disable")


def instant(text):
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


def stamp(at):
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def first(n, after, at):
    return list(itertools.islice(after(at), n))


@pytest.fixture(scope="module")
def t():
    with Dev(plugin_dirs=[HELLO]) as dev:
        takt = Takt(dev.ready("hello"))
        schema = {"type": "object"}
        types = [{"id": name, "version": "1.0", "title": "", "summary": "", "targets": "none", "caps": [],
                  "params_schema": schema, "recovery": "rerun"} for name in NETSTACKS]
        takt.sql("insert into takt.plugin (node_id, file, status, name, version, abi, digest, types) "
                 "select id, 'seeds.so', 'loaded', 'seeds', '1.0', '1.0', 'd', %s from takt.node", json.dumps(types))
        takt.sql("select pg_notify('takt_plugins', '')")
        dev.ready(*NETSTACKS)
        status, answer = dev.api("PUT", "/calendars/us_holidays", {"title": "US", "days": []})
        assert status in (200, 201), answer
        yield takt
        takt.c.close()


# --- they load, and are due when they should ---------------------------------------------------------------------------

def compare(t, task, after):
    """Its five next times are those of the arithmetic, and so is what the engine waits for."""
    got = t.preview(task["id"])
    begun = got[0] - dt.timedelta(microseconds=1)
    assert got == first(5, after, begun)
    assert list(itertools.takewhile(lambda at: at < got[0], after(t.now()))) == []
    wait_until(lambda: instant(t.task(task["id"])["next_run_at"]) == t.due(task["id"]), 10, "the same next time")


@pytest.mark.parametrize("name", NETSTACKS)
def test_netstacks_documents(t, name):
    doc, after = NETSTACKS[name]
    text = json.dumps(doc, indent=2)
    task = t.post("/tasks", json.loads(text))
    assert task["task_type"] == name and task["schedule"]["kind"] == "cron"
    assert task["schedule"]["expr"] == task["cron_expression"] == doc["cron_expression"]
    assert task["schedule"]["timezone"] == task["timezone"] == doc["timezone"]
    for key in {"enabled", "max_retries", "retry_delay_seconds", "timeout_seconds"} & doc.keys():
        assert task[key] == doc[key]
    compare(t, task, after)
    t.quiet(task["id"])


@pytest.mark.parametrize("name", EASYTASK)
def test_easytask_schedules(t, name):
    said, kind, expr, after = EASYTASK[name]
    task = t.create(said)
    schedule = task["schedule"]
    assert (schedule["kind"], schedule["expr"], schedule["timezone"]) == (kind, expr, said["timezone"])
    assert schedule["exclude"] == ([said["calendar"].lower()] if "calendar" in said else [])
    assert task["enabled"] is True and task["cron_expression"] is None
    compare(t, task, after)
    t.quiet(task["id"])


def test_easytask_inactive_is_disabled(t):
    task = t.create({"timezone": "US/Eastern", "active": False, "day_of_week": "1111111", "trigger_times": "08:30"})
    assert task["enabled"] is False and t.task(task["id"])["next_run_at"] is None
    for is_active in (True, False):
        status, task = t.dev.api("PATCH", f"/tasks/{task['id']}", {"active": is_active}, headers={"If-Match": "*"})
        assert status == 200 and task["enabled"] is is_active and bool(task["next_run_at"]) is is_active


@pytest.mark.parametrize("said, kind, after", [
    ({"day_of_week": "1111100", "trigger_times": "22:00"}, "times", daily("US/Eastern", ["22:00"], "1111100")),
    ({"ordinal_day": "last friday of every month", "trigger_times": "20:00"}, "ordinal",
     daily("US/Eastern", ["20:00"], is_day=nth("last", "friday"))),
], ids=["weekdays", "ordinal"])
def test_easytask_group_is_a_shared_schedule(t, said, kind, after):
    """Tasks of a group take zone, days and times from it; an inactive group stops all, and none that was stopped by itself
    goes on when the group does."""
    t.post("/schedules", {"name": f"group of {kind}", "timezone": "US/Eastern", **said})
    tasks = [t.create({"schedule": f"group of {kind}", **more}) for more in ({}, {"active": False})]
    for task in tasks:
        assert t.preview(task["id"]) == first(5, after, t.now())
    assert [bool(t.task(task["id"])["next_run_at"]) for task in tasks] == [True, False]
    t.post(f"/schedules/group of {kind}/disable", None, 200)
    assert [t.due(task["id"]) for task in tasks] == [None, None]
    t.post(f"/schedules/group of {kind}/enable", None, 200)
    wait_until(lambda: t.due(tasks[0]["id"]) == first(1, after, t.now())[0], 30, "the next time")
    assert t.due(tasks[1]["id"]) is None
    t.quiet(tasks[0]["id"])


def test_easytask_calendar_skips_its_days(t):
    """The page's task again, with tomorrow a holiday."""
    said, _, _, after = EASYTASK["the page's task"]
    with_calendar = {**said, "calendar": "TEST_HOLIDAYS"}
    refused = t.create(with_calendar, 422)
    assert refused["errors"][0]["pointer"] == "/calendar" and "test_holidays" in json.dumps(refused)
    times = first(4, after, t.now() + dt.timedelta(minutes=1))
    holiday = times[1].astimezone(ZoneInfo("US/Eastern")).date()
    status, answer = t.dev.api("PUT", "/calendars/test_holidays",
                               {"title": "Test", "days": [{"date": str(holiday), "reason": "Tomorrow"}]})
    assert status in (200, 201), answer
    task = t.create(with_calendar)
    got = [at for at in t.preview(task["id"]) if at >= times[0]]
    assert got[:3] == [times[0], times[2], times[3]]
    t.quiet(task["id"])


# NetDefense's --at: what it says, and how far from now
AT_RELATIVE = {"90s": 90, "+90s": 90, "90m": 5400, "+90m": 5400, "2h": 7200, "7d": 604800, "2w": 1209600}


@pytest.mark.parametrize("at", AT_RELATIVE)
def test_netdefense_at_relative(t, at):
    before = t.now()
    task = t.create({"at": at})
    due = t.due(task["id"])
    away = dt.timedelta(seconds=AT_RELATIVE[at])
    assert before - dt.timedelta(seconds=1) <= due - away <= t.now()
    assert task["schedule"]["kind"] == "once" and instant(task["schedule"]["expr"]) == due
    assert t.preview(task["id"]) == [due]
    t.quiet(task["id"])


@pytest.mark.parametrize("at, zone, due", [
    ("2031-12-01 02:00", "Europe/Berlin", "2031-12-01T01:00:00Z"),
    ("2031-12-01T02:00:30", "Europe/Berlin", "2031-12-01T01:00:30Z"),
    ("2031-07-01 02:00", "Europe/Berlin", "2031-07-01T00:00:00Z"),
    ("2031-03-30 02:30", "Europe/Berlin", "2031-03-30T01:00:00Z"),  # never on the clock: the gap's end
    ("2031-10-26 02:30", "Europe/Berlin", "2031-10-26T00:30:00Z"),  # twice on the clock: the first
    ("2031-12-01T02:00:00Z", "Europe/Berlin", "2031-12-01T02:00:00Z"),
    ("2031-12-01T02:00:00+05:30", "Europe/Berlin", "2031-11-30T20:30:00Z"),
    ("2031-12-01 02:00:00Z", "UTC", "2031-12-01T02:00:00Z"),
])
def test_netdefense_at_absolute(t, at, zone, due):
    local = dt.datetime.fromisoformat(at.replace("Z", "+00:00"))
    by_zoneinfo = (local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    assert instant(due) == by_zoneinfo or at == "2031-03-30 02:30"
    task = t.create({"at": at, "timezone": zone})
    assert t.due(task["id"]) == instant(due) == t.preview(task["id"])[0]
    t.quiet(task["id"])


def test_netdefense_shared_schedule(t):
    """One named schedule, several tasks: changed, paused and kept as one."""
    shared = t.post("/schedules", {"name": "maintenance", "cron_expression": "0 3 * * 6", "timezone": "Europe/Zurich"})
    after = daily("Europe/Zurich", ["03:00"], "0000010")
    tasks = [t.create({"schedule": "maintenance"}) for _ in range(2)]
    for task in tasks:
        assert t.preview(task["id"]) == first(5, after, t.now())
        assert t.task(task["id"])["schedule"] == {"name": "maintenance"}
    unknown = t.create({"schedule": "Maintenence"}, 422)
    assert unknown["errors"][0]["pointer"] == "/schedule" and "maintenance" in json.dumps(unknown)
    twice = t.create({"schedule": "maintenance", "at": "2h"}, 422)
    assert twice["errors"][0]["pointer"] == "/at" and "/schedule" in twice["errors"][0]["detail"]
    status, answer = t.dev.api("DELETE", "/schedules/maintenance")
    assert status == 409 and tasks[0]["name"] in json.dumps(answer)
    t.post("/schedules/maintenance/disable", None, 200)
    assert [t.task(task["id"])["next_run_at"] for task in tasks] == [None, None]
    t.post("/schedules/maintenance/enable", None, 200)
    for task in tasks:
        wait_until(lambda: t.due(task["id"]) == first(1, after, t.now())[0], 30, "the next time")
        t.quiet(task["id"])
    assert shared["name"] == "maintenance"


# --- a part of what was said is said anew -----------------------------------------------------------------------------

CHANGES = [  # in turn, to one task
    ({"trigger_times": "(10:00, 11:30)"}, "times", "10:00,11:30 1111100", "US/Eastern"),
    ({"day_of_week": "0000011"}, "times", "10:00,11:30 0000011", "US/Eastern"),
    ({"timezone": "Europe/Paris"}, "times", "10:00,11:30 0000011", "Europe/Paris"),
    ({"run_frequency": "09:00-10:00-30"}, "window", "09:00-10:00-30 0000011", "Europe/Paris"),
    ({"ordinal_day": "last sunday of every month", "trigger_times": "07:00"}, "ordinal", "last sunday 07:00", "Europe/Paris"),
    ({"cron_expression": "0 2 * * *"}, "cron", "0 2 * * *", "Europe/Paris"),
    ({"schedule": {"every": "90m"}}, "every", "90m", "Europe/Paris"),
    ({"schedule": None}, "on_demand", "", "UTC"),
]


def test_a_patch_replaces_what_it_names(t):
    task = t.create({"trigger_times": "09:00", "day_of_week": "1111100", "timezone": "US/Eastern"})
    for patch, kind, expr, zone in CHANGES:
        status, answer = t.dev.api("PATCH", f"/tasks/{task['id']}", patch, headers={"If-Match": "*"})
        assert status == 200, (patch, answer)
        schedule = answer["schedule"]
        assert (schedule["kind"], schedule["expr"], schedule["timezone"]) == (kind, expr, zone), patch
        row = t.sql("select kind, expr, zone, next_due_at from takt.schedule where id = %s", task["id"])[0]
        assert row[:3] == (kind, expr, zone)
        assert row[3] == (instant(answer["next_run_at"]) if answer["next_run_at"] else None)
    status, answer = t.dev.api("PATCH", f"/tasks/{task['id']}", {"day_of_week": "1111100"}, headers={"If-Match": "*"})
    assert status == 422 and answer["errors"][0]["pointer"] == "/day_of_week"


# --- the engine fires them then ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("said, after", [
    *((cron(doc["cron_expression"], doc["timezone"]), after) for doc, after in NETSTACKS.values()),
    *((said, after) for said, _, _, after in EASYTASK.values()),
], ids=[*NETSTACKS, *EASYTASK])
def test_fires_when_it_is_due(t, said, after):
    """As if no engine had run since the last due time but one: the last one fires, and the next is waited for."""
    task = t.create(said)
    now = t.now()
    since = now - 400 * DAY if "fifth" in said.get("ordinal_day", "") else now - 70 * DAY
    past = list(itertools.takewhile(lambda at: at <= now, after(since)))
    t.sql("update takt.schedule set next_due_at = %s, next_fire_at = %s where id = %s", past[-2], past[-2], task["id"])
    t.sql("select pg_notify('takt_schedule', '')")
    due, run = t.fired(task["id"])
    # One may have come due while we looked.
    assert due in (past[-1], first(1, after, past[-1])[0]) and due <= t.now()
    assert wait_until(lambda: t.due(task["id"]) == first(1, after, t.last_fired(task["id"]))[0], 30, "the next due time")
    assert t.finished(run)[0] == "completed"
    assert t.task(task["id"])["last_run_at"] is not None
    t.quiet(task["id"])


def test_at_fires_by_itself(t):
    soon = (t.now() + dt.timedelta(seconds=10)).replace(microsecond=0)
    bare = soon.astimezone(ZoneInfo("Asia/Tokyo")).strftime("%Y-%m-%d %H:%M:%S")
    tasks = [t.create(said) for said in (
        {"at": "+2s"}, {"at": bare, "timezone": "Asia/Tokyo"},
        {"at": soon.astimezone(ZoneInfo("America/New_York")).isoformat(), "timezone": "Asia/Tokyo"})]
    assert [instant(task["schedule"]["expr"]) for task in tasks[1:]] == [soon, soon]
    for task in tasks:
        due, run = t.fired(task["id"])
        assert due == instant(task["schedule"]["expr"])
        state, created = t.finished(run)
        assert state == "completed" and created >= due
        assert t.due(task["id"]) is None and t.task(task["id"])["next_run_at"] is None


# --- what is refused ---------------------------------------------------------------------------------------------------

SIX = {"trigger_times": "06:00"}
REFUSED = {
    # EasyTask's list
    "both": ({**SIX, "run_frequency": "09:00-17:00-60"}, "/trigger_times", ["/run_frequency", "/trigger_times"]),
    "neither": ({"day_of_week": "1111100"}, "/day_of_week", ["trigger_times", "run_frequency"]),
    "ordinal and mask": ({**SIX, "ordinal_day": "first monday of every month", "day_of_week": "1111100"}, "/day_of_week",
                         ["ordinal_day"]),
    "ordinal without a time": ({"ordinal_day": "first monday of every month"}, "/trigger_times", ["ordinal_day"]),
    "ordinal and window": ({"ordinal_day": "first monday of every month", "run_frequency": "09:00-17:00-60"},
                           "/ordinal_day", ["/run_frequency"]),
    "no such ordinal": ({**SIX, "ordinal_day": "sixth monday of every month"}, "/ordinal_day", ["'sixth' at position 1"]),
    "no weekday": ({**SIX, "ordinal_day": "first day of every month"}, "/ordinal_day", ["'day' at position 7"]),
    "malformed time": ({"trigger_times": "(09:00, 24:30)"}, "/trigger_times", ["'24:30' at position 9", "HH:MM"]),
    "malformed time, no zero": ({"trigger_times": "8:30"}, "/trigger_times", ["'8:30' at position 1", "HH:MM"]),
    "no time at all": ({"trigger_times": ""}, "/trigger_times", ["missing"]),
    "short mask": ({**SIX, "day_of_week": "111110"}, "/day_of_week", ["'111110' at position 1", "Monday first"]),
    "mask of letters": ({**SIX, "day_of_week": "MTWTFSS"}, "/day_of_week", ["'MTWTFSS' at position 1"]),
    "mask of zeros": ({**SIX, "day_of_week": "0000000"}, "/day_of_week", ["'0000000'", "disable"]),
    "window ends first": ({"run_frequency": "17:00-09:00-60"}, "/run_frequency", ["'17:00-09:00'"]),
    "window of no minutes": ({"run_frequency": "09:00-17:00-0"}, "/run_frequency", ["'0' at position 13", "1440"]),
    "window of too many minutes": ({"run_frequency": "09:00-17:00-1441"}, "/run_frequency", ["'1441'", "1440"]),
    "window without minutes": ({"run_frequency": "09:00-17:00"}, "/run_frequency", ["a dash"]),
    "no such zone": ({**SIX, "timezone": "US/Easten"}, "/timezone", ["US/Easten"]),
    "no such calendar": ({**SIX, "calendar": "US_HOLIDAY"}, "/calendar", ["us_holiday", "us_holidays"]),
    "active and enabled": ({**SIX, "active": True, "enabled": False}, "/active", ["/enabled"]),
    # Members of EasyTask's tasks and groups that a task of Takt has not: times of grouped tasks, dependencies, numbers,
    # placeholders' profile.
    "a number of its own": ({**SIX, "tid": 1000}, "/tid", []),
    "times on a grouped task": ({**SIX, "task_group": "nightly"}, "/task_group", []),
    "zone on a grouped task": ({"timezone": "UTC", "task_group": "nightly"}, "/task_group", []),
    "window on a group": ({"gid": 1, "run_frequency": "09:00-17:00-60"}, "/gid", []),
    "dependency on a single task": ({**SIX, "dependency": "(S:other)"}, "/dependency", []),
    "profile": ({**SIX, "profile": "/etc/profile"}, "/profile", []),
    # NetStacks
    "hour 25": (cron("0 25 * * *", "UTC"), "/cron_expression", ["'25' at position 3 (hour)", "0 to 23"]),
    "three fields": (cron("0 2 *", "UTC"), "/cron_expression", ["3 fields"]),
    "cron and times": ({**SIX, **cron("0 2 * * *", "UTC")}, "/trigger_times", ["/cron_expression"]),
    # NetDefense
    "at in the past from now": ({"at": "-5m"}, "/at", ["'-5m'"]),
    "at without a unit": ({"at": "90"}, "/at", ["'90'", "s, m, h, d, w"]),
    "at no date": ({"at": "2026-13-01 02:00"}, "/at", ["'2026-13-01 02:00'"]),
    "at in words": ({"at": "tomorrow"}, "/at", ["'tomorrow'"]),
    "at and cron": ({"at": "2h", **cron("0 2 * * *", "UTC")}, "/at", ["/cron_expression"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(t, name):
    said, pointer, words = REFUSED[name]
    tasks = t.sql("select count(*) from takt.task")
    answer = t.create(said, 422)
    error = answer["errors"][0]
    assert error["pointer"] == pointer, error
    for word in words:
        assert word in error["detail"] + error.get("hint", ""), error
    # Refused before it is saved, too; and nothing was.
    check = t.dev.api("POST", "/tasks:check", {"name": "x", "task_type": "hello", **said})
    assert check[1]["errors"][0]["pointer"] == pointer
    assert t.sql("select count(*) from takt.task") == tasks


def test_the_command_line_takes_and_refuses_the_same(t):
    doc = {"name": "by hand", "task_type": "hello", **EASYTASK["hourly window"][0]}
    task = json.loads(t.dev.ok("task", "create", "-", "-o", "json", input=json.dumps(doc)))
    assert (task["schedule"]["kind"], task["schedule"]["expr"]) == ("window", "09:00-17:00-60 1111100")
    t.quiet(task["id"])
    p = t.dev.takt("task", "check", "-", input=json.dumps({**doc, "day_of_week": "111110"}))
    assert p.returncode and "day_of_week" in p.stderr and "'111110' at position 1" in p.stderr and "Monday first" in p.stderr


def test_never_is_legal(t):
    """NetStacks' clients write "never" as the 31st of February, disabled, and run it by hand."""
    task = t.create({"cron_expression": "0 0 31 2 *", "enabled": False})
    assert t.task(task["id"])["next_run_at"] is None and t.preview(task["id"]) == []
    run = t.post(f"/tasks/{task['id']}/run", None)["id"]
    assert t.finished(run)[0] == "completed"
