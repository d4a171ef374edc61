# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Schedules of every kind, shared schedules and calendars by the API: what is kept, what is refused, what is told."""
import datetime
import json
import pathlib
import re
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from gateway import Rig, uuid7  # noqa: E402
from pg import BUILD, SOURCE, wait_until  # noqa: E402

NORMAL = {"kind": "cron", "expr": "0 2 * * *", "timezone": "UTC", "dst_gap": "run_at_gap_end", "dst_fold": "first",
          "effective_from": None, "effective_until": None, "include": [], "exclude": [], "on_hit": "skip",
          "catch_up": "latest", "catch_up_limit": 10, "catch_up_deadline_seconds": None, "jitter_seconds": 0,
          "start_deadline_seconds": None}
UTC = datetime.timezone.utc


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        for name, days in {"holidays": ["2026-12-25", "2027-01-01"], "far": ["2090-01-01"]}.items():
            put_days(r, name, days)
        # as the engine puts them
        r.pg.sql("insert into takt.calendar (id, name, title, source) values (gen_random_uuid(), 'us-federal', 'US', 'shipped')")
        r.pg.sql("insert into takt.calendar_day (calendar_id, day, reason) select id, d, 'day ' || d from takt.calendar, "
                 "unnest(array['2026-12-25', '2060-12-31']::date[]) d where name = 'us-federal'")
        yield r


@pytest.fixture(scope="module")
def admin(rig):
    return rig.token("admin")


def put(rig, path, body, who="operator", **headers):
    return rig.request("PUT", path, rig.token(who), json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def put_days(rig, name, days, **more):
    r = put(rig, f"/calendars/{name}", {"days": [{"date": d, "reason": f"closed {d}"} for d in days], **more})
    assert r.status_code in (200, 201), r.text
    return r.json()


def shared(rig, name, schedule, **more):
    r = rig.post("/schedules", rig.token("operator"), {"name": name, "schedule": schedule, **more})
    assert r.status_code == 201, r.text
    return r.json()


def row(rig, task):
    names = ("kind expr zone dst_gap dst_fold enabled shared_id on_hit has_calendars catch_up catch_up_limit catch_up_deadline_s jitter_s "
             "jitter_off_s start_deadline_s next_due_at next_fire_at replan_from version anchor effective_from effective_until "
             "disabled_at planned_from").split()
    return dict(zip(names, rig.pg.sql(f"select {', '.join(names)} from takt.schedule where id = %s", (task,))[0]))


def calendars_of(rig, task):
    return rig.pg.sql("select c.name, u.is_exclude from takt.schedule_calendar u join takt.calendar c on c.id = u.calendar_id "
                      "where u.schedule_id = %s order by 1", (task,))


class Session:
    """An engine's connection: statements of sql/engine by name, in one transaction."""

    def __init__(self, pg, lock_timeout="5s"):
        self.c = pg.connect("takt_engine", autocommit=False)
        self.c.execute(f"set lock_timeout = '{lock_timeout}'")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.c.close()

    def run(self, name, text):
        statement = re.sub(r"^--.*\n", "", (SOURCE / f"sql/engine/{name}.sql").read_text(encoding="utf-8"), flags=re.M)
        return self.c.execute(statement.replace("%", "%%").replace("$1", "%(p)s"), {"p": text}).fetchall()

    def commit(self):
        self.c.commit()


def now(rig):
    return rig.pg.sql("select now()")[0][0]


def audit(rig, action):
    return [o for o, in rig.pg.sql("select object_id from takt.audit where action = %s order by seq", (action,))]


# Tasks --------------------------------------------------------------------------------------------

# What is submitted; what of the normal form it makes.
SAID = {
    "flat cron": ({"cron_expression": "0  2 * * 1-5", "timezone": "Europe/Berlin"},
                  {"kind": "cron", "expr": "0 2 * * 1-5", "timezone": "Europe/Berlin"}),
    "flat @every": ({"cron_expression": "@every 90s"}, {"kind": "every", "expr": "90s"}),
    "cron": ({"schedule": {"cron": "0 2 L * *", "dst_gap": "skip"}}, {"kind": "cron", "expr": "0 2 L * *", "dst_gap": "skip"}),
    "H": ({"schedule": {"cron": "H H(0-5) * * *"}}, {"kind": "cron", "expr": "H H(0-5) * * *"}),
    "every": ({"schedule": {"every": "5m"}}, {"kind": "every", "expr": "5m"}),
    "times": ({"schedule": {"times": "14:00, 09:00", "day_of_week": "1111100"}}, {"kind": "times", "expr": "09:00,14:00 1111100"}),
    "window": ({"schedule": {"window": "09:00-17:00-60"}}, {"kind": "window", "expr": "09:00-17:00-60 1111111"}),
    "ordinal": ({"schedule": {"ordinal": "last friday", "trigger_times": "06:00"}}, {"kind": "ordinal", "expr": "last friday 06:00"}),
    "rrule": ({"schedule": {"rrule": "DTSTART:20261201T020000\nRRULE:FREQ=WEEKLY;BYDAY=TU"}}, {"kind": "rrule"}),
    "once": ({"schedule": {"once": "2100-01-01T00:00:00Z"}}, {"kind": "once", "expr": "2100-01-01T00:00:00Z"}),
    "at": ({"at": "2100-01-01 02:00", "timezone": "Europe/Berlin"}, {"kind": "once", "expr": "2100-01-01T01:00:00Z"}),
    "easytask times": ({"trigger_times": "(09:00, 14:00)", "day_of_week": "1111100", "timezone": "US/Eastern", "calendar": "holidays"},
                       {"kind": "times", "expr": "09:00,14:00 1111100", "timezone": "US/Eastern", "exclude": ["holidays"]}),
    "easytask window": ({"run_frequency": "00:00-23:59-5"}, {"kind": "window", "expr": "00:00-23:59-5 1111111"}),
    "easytask ordinal": ({"ordinal_day": "first monday of every month", "trigger_times": "06:00"},
                         {"kind": "ordinal", "expr": "first monday 06:00"}),
    "normal form": ({"schedule": {**NORMAL, "jitter_seconds": 600, "exclude": ["us-federal"]}},
                    {"jitter_seconds": 600, "exclude": ["us-federal"]}),
    "policies": ({"schedule": {"cron": "0 2 * * *", "effective_from": "2027-01-01T00:00:00Z", "effective_until": "2028-01-01T00:00:00Z",
                               "include": ["holidays"], "catch_up": "all", "catch_up_limit": 3, "catch_up_deadline_seconds": 3600,
                               "start_deadline_seconds": 900}},
                 {"effective_from": "2027-01-01T00:00:00Z", "effective_until": "2028-01-01T00:00:00Z", "include": ["holidays"],
                  "catch_up": "all", "catch_up_limit": 3, "catch_up_deadline_seconds": 3600, "start_deadline_seconds": 900}),
    "hit": ({"schedule": {"cron": "0 2 * * *", "exclude": ["holidays"], "on_hit": "next_business_day"}},
            {"exclude": ["holidays"], "on_hit": "next_business_day"}),
    "on demand": ({"schedule": {"kind": "on_demand"}}, {"kind": "on_demand", "expr": ""}),
    "nothing": ({}, {"kind": "on_demand", "expr": ""}),
}


@pytest.mark.parametrize("case", SAID)
def test_every_way_to_say_it_is_one_normal_form(rig, case):
    said, expected = SAID[case]
    r = rig.post("/tasks", rig.token("operator"), {"name": f"said {case}", "task_type": "hello", **said})
    assert r.status_code == 201, r.text
    task = r.json()
    schedule = task["schedule"]
    assert set(schedule) == set(NORMAL)
    assert {k: schedule[k] for k in expected} == expected
    assert task["cron_expression"] == (schedule["expr"] if schedule["kind"] == "cron" else None)
    assert task["timezone"] == schedule["timezone"] and task["dst_fold"] == "first"
    kept = row(rig, task["id"])
    assert (kept["kind"], kept["expr"], kept["zone"]) == (schedule["kind"], schedule["expr"], schedule["timezone"])
    assert kept["has_calendars"] == bool(schedule["include"] or schedule["exclude"])
    assert calendars_of(rig, task["id"]) == sorted([(n, False) for n in schedule["include"]] + [(n, True) for n in schedule["exclude"]])
    assert (kept["next_due_at"] is None) == (schedule["kind"] == "on_demand")
    assert kept["replan_from"] is None and kept["version"] == 1 and kept["enabled"]
    if kept["next_due_at"]:
        assert kept["next_due_at"] > now(rig) and 0 <= kept["jitter_off_s"] <= kept["jitter_s"]
        assert kept["next_fire_at"] - kept["next_due_at"] == datetime.timedelta(seconds=kept["jitter_off_s"])
        assert task["next_run_at"] == kept["next_due_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    # what was answered can be submitted again, as a new revision that says the same
    again = put(rig, f"/tasks/{task['id']}", {k: task[k] for k in ("name", "task_type", "schedule", "cron_expression", "timezone",
                                                                   "dst_gap", "dst_fold", "overlap", "overlap_limit")}, If_Match="1")
    assert again.status_code == 200 and again.json()["schedule"] == schedule, again.text
    assert row(rig, task["id"])["version"] == 2 and row(rig, task["id"])["anchor"] == kept["anchor"]


def test_h_is_hashed_by_the_tasks_id(rig):
    ids = [rig.task(f"hashed {i}", schedule={"cron": "H H * * *"}) for i in range(12)]
    times = {row(rig, i)["next_due_at"].strftime("%H:%M") for i in ids}
    assert len(times) > 6
    for i in ids[:3]:  # the same by preview and after an edit
        before = row(rig, i)["next_due_at"]
        assert rig.get(f"/tasks/{i}/preview?count=1", rig.token("viewer")).json()["next"][0][11:16] == before.astimezone(UTC).strftime("%H:%M")
        assert rig.request("PATCH", f"/tasks/{i}", rig.token("operator"), json={"description": "x"}, headers={"If-Match": "*"}).status_code == 200
        assert row(rig, i)["next_due_at"] == before


def test_the_last_second_of_all(rig):
    task = rig.task("last", schedule={"once": "9999-12-31T23:59:59Z"})
    assert row(rig, task)["next_due_at"] == datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_every_counts_from_the_creation(rig):
    task = rig.task("elapsed", schedule={"every": "7m"})
    first = row(rig, task)
    assert (first["next_due_at"] - first["anchor"]).total_seconds() == 420
    rig.request("PATCH", f"/tasks/{task}", rig.token("operator"), json={"description": "x"}, headers={"If-Match": "*"})
    assert row(rig, task)["anchor"] == first["anchor"]
    rig.request("PATCH", f"/tasks/{task}", rig.token("operator"), json={"schedule": {"effective_from": "2030-01-01T00:00:00Z"}},
                headers={"If-Match": "*"})
    assert row(rig, task)["next_due_at"] == row(rig, task)["anchor"] == datetime.datetime(2030, 1, 1, tzinfo=UTC)


PATCHES = [
    ({"cron_expression": "30 3 * * *"}, {"kind": "cron", "expr": "30 3 * * *", "timezone": "Europe/Berlin", "jitter_seconds": 60}),
    ({"schedule": {"every": "10m"}}, {"kind": "every", "expr": "10m", "jitter_seconds": 60}),
    ({"schedule": {"jitter_seconds": 5}}, {"kind": "cron", "expr": "0 2 * * *", "jitter_seconds": 5}),
    ({"timezone": "UTC"}, {"kind": "cron", "expr": "0 2 * * *", "timezone": "UTC", "jitter_seconds": 60}),
    ({"cron_expression": None}, {"kind": "on_demand", "jitter_seconds": 60}),
    ({"schedule": None}, {"kind": "on_demand", "jitter_seconds": 0}),
    ({"trigger_times": "08:00", "day_of_week": "1000000"}, {"kind": "times", "expr": "08:00 1000000", "timezone": "Europe/Berlin"}),
    ({"calendar": "holidays"}, {"kind": "cron", "expr": "0 2 * * *", "exclude": ["holidays"]}),
    ({"description": "only"}, {"kind": "cron", "expr": "0 2 * * *", "timezone": "Europe/Berlin", "jitter_seconds": 60}),
]


@pytest.mark.parametrize("patch,expected", PATCHES, ids=[str(p[0]) for p in PATCHES])
def test_a_patch_replaces_how_it_was_said(rig, patch, expected):
    task = rig.task(f"patched {patch}", schedule={"cron": "0 2 * * *", "timezone": "Europe/Berlin", "jitter_seconds": 60})
    r = rig.request("PATCH", f"/tasks/{task}", rig.token("operator"), json=patch, headers={"If-Match": "*"})
    assert r.status_code == 200, r.text
    assert {k: r.json()["schedule"][k] for k in expected} == expected
    source = rig.get(f"/tasks/{task}/source", rig.token("viewer"))
    assert rig.post("/tasks:check", rig.token("viewer"), {**source.json(), "name": "again"}).json()["definition"]["schedule"] == r.json()["schedule"]


BAD = [
    ({"cron_expression": "0 25 * * *"}, "/cron_expression", "25"),
    ({"schedule": {"cron": "0 2 * * *", "every": "5m"}}, "/schedule/", "both say it"),
    ({"cron_expression": "0 2 * * *", "schedule": {"every": "5m"}}, "/", "both say it"),
    ({"schedule": {"kind": "cron", "expr": "0 2 32 * *"}}, "/schedule/expr", "32"),
    ({"schedule": {"kind": "sometimes", "expr": "x"}}, "/schedule/kind", "sometimes"),
    ({"schedule": {"every": "0s"}}, "/schedule/every", "0s"),
    ({"schedule": {"times": "25:00"}}, "/schedule/times", "25"),
    ({"trigger_times": "09:00", "day_of_week": "0000000"}, "/day_of_week", "0000000"),
    ({"schedule": {"window": "17:00-09:00-60"}}, "/schedule/window", "09:00"),
    ({"schedule": {"ordinal": "sixth monday", "trigger_times": "06:00"}}, "/schedule/ordinal", "sixth"),
    ({"schedule": {"rrule": "DTSTART:20260101T000000\nRRULE:FREQ=SOMETIMES"}}, "/schedule/rrule", "SOMETIMES"),
    ({"schedule": {"once": "tomorrow"}}, "/schedule/once", "tomorrow"),
    ({"schedule": {"cron": "0 2 * * *", "timezone": "Mars/Base"}}, "/schedule/timezone", "Mars/Base"),
    ({"timezone": "Mars/Base"}, "/timezone", "Mars/Base"),
    ({"schedule": {"cron": "0 2 * * *", "on_hit": "run"}}, "/schedule/on_hit", "run"),
    ({"schedule": {"cron": "0 2 * * *", "catch_up": "some"}}, "/schedule/catch_up", "some"),
    ({"schedule": {"cron": "0 2 * * *", "catch_up_limit": 0}}, "/schedule/catch_up_limit", "0"),
    ({"schedule": {"cron": "0 2 * * *", "jitter_seconds": 90000}}, "/schedule/jitter_seconds", "90000"),
    ({"schedule": {"cron": "0 2 * * *", "effective_from": "2027-01-01T00:00:00Z", "effective_until": "2026-01-01T00:00:00Z"}},
     "/schedule/effective_until", ""),
    ({"schedule": {"every": "5m", "exclude": ["holidays"], "on_hit": "next_business_day"}}, "/schedule/on_hit", ""),
    ({"schedule": {"cron": "0 2 * * *", "exclude": ["us-federal", "nowhere"]}}, "/schedule/exclude/1", "nowhere"),
    ({"schedule": {"cron": "0 2 * * *", "include": "nowhere"}}, "/schedule/include", "nowhere"),
    ({"trigger_times": "09:00", "calendar": "NOWHERE"}, "/calendar", "nowhere"),
    ({"schedule": {"cron": "0 2 * * *", "include": ["holidays"], "exclude": ["holidays"]}}, "/schedule/exclude", "holidays"),
    ({"schedule": "no such"}, "/schedule", "no such"),
    ({"schedule": {"name": "no such"}}, "/schedule/name", "no such"),
    ({"schedule": {"name": "x", "cron": "0 2 * * *"}}, "/schedule/cron", "both say it"),
    ({"schedule": {"cron": "0 2 * * *", "nonsense": 1}}, "/schedule/nonsense", "nonsense"),
    ({"schedule": {}}, "/schedule", "when"),
    ({"overlap": "skip", "overlap_limit": 2}, "/overlap_limit", "skip"),
    ({"overlap": "sometimes"}, "/overlap", "sometimes"),
    ({"overlap_limit": 0}, "/overlap_limit", "0"),
    ({"active": True, "enabled": False}, "/", "both say it"),
]


@pytest.mark.parametrize("said,pointer,shown", BAD, ids=[str(b[0]) for b in BAD])
def test_what_is_refused_is_shown_and_nothing_is_kept(rig, said, pointer, shown):
    before = rig.pg.sql("select count(*) from takt.task")
    for path in ("/tasks", "/tasks:check"):
        r = rig.post(path, rig.token("operator"), {"name": "bad", "task_type": "hello", **said})
        assert r.status_code == 422, r.text
        error = r.json()["errors"][0]
        assert error["pointer"].startswith(pointer) and shown in error["detail"] and error.get("hint"), error
    assert rig.pg.sql("select count(*) from takt.task") == before


def test_unknown_names_list_what_there_is(rig, admin):
    shared(rig, "listed", {"cron": "0 2 * * *"})
    hint = rig.post("/tasks", admin, {"name": "x", "task_type": "hello", "schedule": {"cron": "0 2 * * *", "exclude": ["x"]}}).json()["errors"][0]["hint"]
    assert "holidays" in hint and "us-federal" in hint
    assert "listed" in rig.post("/tasks", admin, {"name": "x", "task_type": "hello", "schedule": "x"}).json()["errors"][0]["hint"]


def test_warnings(rig, admin):
    def warned(schedule):
        return [(w["pointer"], w["detail"]) for w in rig.post("/tasks:check", admin, {"name": "w", "task_type": "hello", **schedule}).json()["warnings"]]
    assert warned({"cron_expression": "0 0 30 2 *"}) == [("/cron_expression", "nothing is ever due by this schedule")]
    assert warned({"schedule": {"once": "2020-01-01T00:00:00Z"}}) == [("/schedule", "nothing is ever due by this schedule")]
    put_days(rig, "short", ["2020-01-01"])
    assert warned({"schedule": {"cron": "0 2 * * *", "exclude": ["short"]}}) == [("/schedule/exclude/0", "calendar short ends on 2020-01-01")]
    assert warned({"schedule": {"cron": "0 2 * * *", "exclude": ["us-federal"]}}) == []
    assert warned({"schedule": {"once": "2070-01-01T00:00:00Z", "exclude": ["us-federal"]}}) == [
        ("/schedule/exclude/0", "calendar us-federal ends on 2060-12-31")]
    assert warned({}) == []


def test_calendar_moves_the_next_time(rig):
    put_days(rig, "days-on", [(now(rig) + datetime.timedelta(days=d)).date().isoformat() for d in range(5)])
    task = rig.task("moved by a calendar", schedule={"cron": "0 12 * * *", "exclude": ["days-on"]})
    assert row(rig, task)["next_due_at"].astimezone(UTC).date() == (now(rig) + datetime.timedelta(days=5)).astimezone(UTC).date()
    only = rig.task("only then", schedule={"cron": "0 12 * * *", "include": ["far"]})
    assert row(rig, only)["next_due_at"] == datetime.datetime(2090, 1, 1, 12, tzinfo=UTC)


def test_backfill_is_asked_for(rig, admin):
    task = rig.task("paused", schedule={"every": "1m"})
    assert rig.post(f"/tasks/{task}/disable", admin).json()["next_run_at"] is None
    off = row(rig, task)
    assert off["disabled_at"] and off["next_due_at"] is None and not off["enabled"]
    rig.pg.sql("update takt.schedule set disabled_at = now() - interval '10 minutes', anchor = now() - interval '1 hour' where id = %s", (task,))
    rig.post(f"/tasks/{task}/enable", admin)
    assert row(rig, task)["next_due_at"] > now(rig), "never by itself"
    rig.post(f"/tasks/{task}/disable", admin)
    rig.pg.sql("update takt.schedule set disabled_at = now() - interval '10 minutes' where id = %s", (task,))
    assert rig.post(f"/tasks/{task}/enable?backfill=true", admin).status_code == 200
    got = row(rig, task)
    age = (now(rig) - got["next_due_at"]).total_seconds()
    assert 530 < age <= 601 and got["enabled"] and got["planned_from"] < got["next_due_at"]
    # a task that was on has nothing to be filled
    rig.pg.sql("update takt.schedule set next_due_at = null, next_fire_at = null where id = %s", (task,))
    rig.post(f"/tasks/{task}/enable?backfill=true", admin)
    assert row(rig, task)["next_due_at"] > now(rig)


# Calendars ----------------------------------------------------------------------------------------

ICAL = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "X-WR-CALNAME:Company days", "BEGIN:VEVENT", "UID:1", "DTSTART;VALUE=DATE:20270501",
                    "RRULE:FREQ=YEARLY;COUNT=3", "SUMMARY:Labour Day", "END:VEVENT", "BEGIN:VEVENT", "UID:2",
                    "DTSTART;VALUE=DATE:20271224", "DTEND;VALUE=DATE:20271227", "SUMMARY:Closing", "END:VEVENT", "BEGIN:VTODO",
                    "END:VTODO", "END:VCALENDAR", ""])


def test_calendar_of_days(rig, admin):
    r = put(rig, "/calendars/Company", {"title": "Ours", "days": [{"from": "2027-03-01", "to": "2027-03-03", "reason": "move"},
                                                                  {"date": "2027-03-02", "reason": "later"}, {"date": "2027-01-01"}]})
    assert r.status_code == 201 and r.headers["ETag"].strip('"') == "1"
    made = r.json()
    assert made["name"] == "company" and made["day_count"] == 4 and made["changed"] and made["version"] == 1
    assert (made["first_day"], made["last_day"], made["title"], made["source"]) == ("2027-01-01", "2027-03-03", "Ours", "days")
    got = rig.get("/calendars/company", rig.token("viewer")).json()
    assert got["days"][2] == {"date": "2027-03-02", "reason": "move"} and got["used_by"] == []
    assert [d["date"] for d in rig.get("/calendars/company?from=2027-03-02&to=2027-03-02", admin).json()["days"]] == ["2027-03-02"]
    same = put(rig, "/calendars/company", {"days": [{"date": "2027-01-01"}, {"from": "2027-03-01", "to": "2027-03-03", "reason": "move"}]})
    assert same.status_code == 200 and not same.json()["changed"] and same.json()["version"] == 1 and same.json()["title"] == "Ours"
    other = put(rig, "/calendars/company", {"days": []}, If_Match='"1"')
    assert other.status_code == 200 and other.json()["version"] == 2 and other.json()["day_count"] == 0
    assert put(rig, "/calendars/company", {"days": []}, If_Match='"1"').status_code == 412
    assert audit(rig, "calendar.create").count("company") == 1 and audit(rig, "calendar.update").count("company") == 2


def test_is_a_day_in_it(rig, admin):
    yes = rig.get("/calendars/holidays/days/2026-12-25", rig.token("viewer")).json()
    assert yes == {"calendar": "holidays", "date": "2026-12-25", "is_in": True, "reason": "closed 2026-12-25"}
    assert rig.get("/calendars/HOLIDAYS/days/2026-12-26", admin).json()["is_in"] is False
    assert rig.get("/calendars/nowhere/days/2026-12-26", admin).status_code == 404
    for bad in ("/calendars/holidays/days/2026-02-31", "/calendars/holidays?from=2026-13-01"):
        r = rig.get(bad, admin)
        assert r.status_code in (400, 422) and "no day" in r.json()["detail"], r.text


def test_ical_import_and_refresh(rig, admin):
    r = put(rig, "/calendars/imported", {"ical": ICAL})
    assert r.status_code == 201, r.text
    made = r.json()
    assert made["title"] == "Company days" and made["source"] == "ical" and made["day_count"] == 6
    assert made["report"]["events"] == 2 and made["report"]["days"] == 6 and made["report"]["ignored"] == 1
    assert rig.get("/calendars/imported/days/2029-05-01", admin).json()["reason"] == "Labour Day"
    assert rig.get("/calendars/imported/days/2027-12-26", admin).json()["reason"] == "Closing"
    assert rig.get("/calendars/imported", admin).json()["report"] == made["report"]
    assert put(rig, "/calendars/imported", {"ical": ICAL}).json()["changed"] is False
    refreshed = put(rig, "/calendars/imported", {"ical": ICAL.replace("COUNT=3", "COUNT=2")}).json()
    assert refreshed["version"] == 2 and refreshed["day_count"] == 5


BAD_ICAL = {
    "truncated": (ICAL[:-30], "line "),
    "no calendar": ("hello\nworld\n", "line 1"),
    "empty": ("", ""),
    "bad rule": (ICAL.replace("FREQ=YEARLY", "FREQ=SOMETIMES"), "line 7"),
    "endless": (ICAL.replace("FREQ=YEARLY;COUNT=3", "FREQ=SECONDLY"), "line 7"),
    "bad zone": (ICAL.replace("DTSTART;VALUE=DATE:20271224", "DTSTART;TZID=Mars/Base:20271224T000000").replace(
        "DTEND;VALUE=DATE:20271227\r\n", ""), "line 1"),
}


@pytest.mark.parametrize("case", BAD_ICAL)
def test_a_bad_file_changes_nothing(rig, admin, case):
    text, line = BAD_ICAL[case]
    put_days(rig, "kept", ["2027-01-01"])
    before = rig.pg.sql("select c.*, (select count(*) from takt.calendar_day d where d.calendar_id = c.id) from takt.calendar c order by id")
    r = put(rig, "/calendars/kept", {"ical": text})
    assert r.status_code == 422 and r.json()["errors"][0]["pointer"] == "/ical" and line in r.json()["detail"], r.text
    assert before == rig.pg.sql("select c.*, (select count(*) from takt.calendar_day d where d.calendar_id = c.id) from takt.calendar c order by id")


@pytest.mark.parametrize("body,pointer", [
    ({}, "/days"), ({"days": [], "ical": "x"}, "/ical"), ({"days": [{"date": "2026-02-31"}]}, "/days/0/date"),
    ({"days": [{"date": "1969-12-31"}]}, "/days/0/date"), ({"days": [{"date": "2101-01-01"}]}, "/days/0/date"),
    ({"days": [{"from": "2026-02-01"}]}, "/days/0"), ({"days": [{"from": "2026-02-02", "to": "2026-02-01"}]}, "/days/0"),
    ({"days": [{"date": "2026-01-01"}, {"date": "2026-01-02", "to": "2026-01-03"}]}, "/days/1"),
    ({"days": [{"from": "1970-01-01", "to": "2100-12-31"}]}, "/days/0"), ({"days": [{"date": "2026-01-01", "reason": 1}]}, "/days/0/reason"),
    ({"days": [{"date": "2026-01-01", "reason": "x" * 201}]}, "/days/0/reason")])
def test_bad_days(rig, body, pointer):
    r = put(rig, "/calendars/never", body)
    assert r.status_code == 422 and r.json()["errors"][0]["pointer"] == pointer, r.text
    assert rig.get("/calendars/never", rig.token("viewer")).status_code == 404


def test_bad_calendar_names(rig):
    for name in ("-x", "a b", "ä", "x" * 64):
        assert put(rig, f"/calendars/{name}", {"days": []}).status_code == 400


def test_shipped_calendars(rig, admin):
    assert {"us-federal", "holidays"} <= {c["name"] for c in rig.get("/calendars?limit=500", admin).json()["items"]}
    r = put(rig, "/calendars/us-federal", {"days": []})
    assert r.status_code == 409 and r.json()["code"] == "shipped"
    assert rig.request("DELETE", "/calendars/us-federal", admin).json()["code"] == "shipped"
    assert rig.get("/calendars/us-federal", rig.token("viewer")).json()["source"] == "shipped"


def test_calendar_in_use(rig, admin):
    put_days(rig, "used", ["2027-01-01"])
    tasks = [rig.task(f"user {i}", schedule={"cron": "0 2 * * *", "exclude": ["used"]}) for i in range(6)]
    shared(rig, "user by share", {"cron": "0 2 * * *", "include": ["used"]})
    follower = rig.task("follows the user", schedule="user by share")
    r = rig.request("DELETE", "/calendars/used", admin)
    assert r.status_code == 409 and r.json()["code"] == "in_use" and r.json()["detail"].count("task ") == 5, r.text
    assert len(rig.get("/calendars/used", admin).json()["used_by"]) == 7
    before = {t: row(rig, t) for t in tasks + [follower]}
    changed = put_days(rig, "used", ["2027-01-02"])
    assert changed["changed"]
    for t in tasks + [follower]:
        after = row(rig, t)
        assert after["replan_from"] and after["next_due_at"] is None and after["version"] > before[t]["version"]
        assert after["planned_from"] == before[t]["planned_from"]
    # what is due already is decided first
    rig.pg.sql("update takt.schedule set replan_from = null, next_due_at = now() - interval '1 s', next_fire_at = now() where id = %s", (tasks[0],))
    put_days(rig, "used", ["2027-01-03"])
    assert row(rig, tasks[0])["next_due_at"] is not None and row(rig, tasks[0])["replan_from"]
    for t in tasks:
        rig.request("PATCH", f"/tasks/{t}", admin, json={"schedule": {"exclude": None}}, headers={"If-Match": "*"})
        assert row(rig, t)["replan_from"] is None and (row(rig, t)["next_due_at"] > now(rig)) == (t != tasks[0])
    r = rig.request("DELETE", "/calendars/used", admin)
    assert r.status_code == 409 and 'schedule "user by share"' in r.json()["detail"]
    rig.request("DELETE", f"/tasks/{follower}", admin)
    assert rig.request("DELETE", "/schedules/user by share", admin).status_code == 204
    assert rig.request("DELETE", "/calendars/used", admin).status_code == 204
    assert rig.request("DELETE", "/calendars/used", admin).status_code == 404
    assert "used" in audit(rig, "calendar.delete")


def test_a_calendar_cannot_vanish_under_a_save(rig, admin):
    """Whoever comes first wins; the other is refused or leaves the next time to the engine, and nothing dangles."""
    for i in range(8):
        name = f"race-{i}"
        put_days(rig, name, ["2027-01-01"])
        out = []

        def save():
            out.append(rig.post("/tasks", admin, {"name": f"race {i}", "task_type": "hello",
                                                  "schedule": {"cron": "0 2 * * *", "exclude": [name]}}).status_code)

        def drop():
            out.append(rig.request("DELETE", f"/calendars/{name}", admin).status_code)

        def change():
            out.append(put(rig, f"/calendars/{name}", {"days": [{"date": "2027-01-02"}]}).status_code)
        threads = [threading.Thread(target=t) for t in (save, drop if i % 2 else change)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(out) in ([200, 201], [201, 201], [201, 409], [204, 422]), out
    assert rig.pg.sql("select count(*) from takt.schedule s where has_calendars and shared_id is null and not exists "
                      "(select from takt.schedule_calendar u where u.schedule_id = s.id)") == [(0,)]


def test_a_save_that_read_old_days_is_planned_anew(rig, admin):
    """The days change between the hook's reading and the statement: the version tells."""
    task = rig.task("old days", schedule={"cron": "0 2 * * *", "exclude": ["holidays"]})
    assert row(rig, task)["replan_from"] is None
    token = rig.token("operator")
    prepared = {"definition": rig.pg.sql("select definition from takt.task where id = %s", (task,))[0][0], "anchor": 0,
                "next_due_at": "2030-01-01T00:00:00Z", "calendar_info": {"holidays": {"version": 0}}}
    with rig.pg.connect("takt_gateway", autocommit=False) as c:
        c.execute("select takt.session(%s, 2)", (token,))
        assert c.execute("select status from takt.task_change(%s, %s, '*', 'task.update')", (task, json.dumps(prepared))).fetchone() == (200,)
        c.commit()
    assert row(rig, task)["replan_from"] and row(rig, task)["next_due_at"] is None


def test_a_due_time_that_waits_outlives_an_edit(rig, admin):
    """Its jitter was not over, or no engine ran: a new description took it away, undecided."""
    task = rig.task("edited while due", schedule={"cron": "0 2 * * *", "jitter_seconds": 3600})

    def make_due():
        rig.pg.sql("update takt.schedule set next_due_at = d, next_fire_at = d + jitter_off_s * interval '1 s' "
                   "from date_trunc('minute', now()) as d where id = %s", (task,))
        return row(rig, task)["next_due_at"]

    def patch(body):
        r = rig.request("PATCH", f"/tasks/{task}", admin, json=body, headers={"If-Match": "*"})
        assert r.status_code == 200, r.text
        after = row(rig, task)
        assert (after["next_due_at"] is None) == (after["next_fire_at"] is None)
        return after
    due = make_due()
    version = row(rig, task)["version"]
    after = patch({"description": "only said otherwise"})
    assert after["next_due_at"] == due and after["version"] == version + 1
    after = patch({"schedule": {"cron": "0 3 * * *", "jitter_seconds": 7000}})
    assert after["next_due_at"] == due and after["next_fire_at"] == due + datetime.timedelta(seconds=after["jitter_off_s"])
    assert rig.post(f"/tasks/{task}/enable", admin).status_code == 200 and row(rig, task)["next_due_at"] == due
    assert patch({"schedule": {"kind": "on_demand"}})["next_due_at"] is None
    assert patch({"schedule": {"cron": "0 3 * * *"}})["next_due_at"] > now(rig)
    make_due()
    assert patch({"enabled": False})["next_due_at"] is None
    assert patch({"enabled": True})["next_due_at"] > now(rig)


def test_who_waits_to_be_planned_waits_from_the_first_change(rig, admin):
    """No engine ran between two changes of a calendar: what was due between them was lost."""
    put_days(rig, "twice", ["2027-01-01"])
    shared(rig, "twice by share", {"cron": "* * * * *", "exclude": ["twice"]})
    tasks = [rig.task("twice", schedule={"cron": "* * * * *", "exclude": ["twice"]}), rig.task("twice too", schedule="twice by share")]
    put_days(rig, "twice", ["2027-01-02"])
    first = [row(rig, t)["replan_from"] for t in tasks]
    put_days(rig, "twice", ["2027-01-03"])
    put(rig, "/schedules/twice by share", {"schedule": {"cron": "*/2 * * * *", "exclude": ["twice"]}}, If_Match="*")
    assert None not in first and [row(rig, t)["replan_from"] for t in tasks] == first
    assert [row(rig, t)["next_due_at"] for t in tasks] == [None, None]
    # saved meanwhile, with the same times
    for t in tasks:
        assert rig.request("PATCH", f"/tasks/{t}", admin, json={"description": "x"}, headers={"If-Match": "*"}).status_code == 200
    assert [(row(rig, t)["replan_from"], row(rig, t)["next_due_at"]) for t in tasks] == [(f, None) for f in first]
    # and with others
    rig.request("PATCH", f"/tasks/{tasks[0]}", admin, json={"schedule": {"cron": "*/5 * * * *"}}, headers={"If-Match": "*"})
    assert row(rig, tasks[0])["replan_from"] is None and row(rig, tasks[0])["next_due_at"] > now(rig)
    rig.pg.sql("update takt.schedule set replan_from = null, next_due_at = d, next_fire_at = d from (select now() + interval '1 hour' as d) x "
               "where id = any (%s::uuid[])", (tasks,))
    put_days(rig, "twice", ["2027-01-04"])
    assert all(row(rig, t)["replan_from"] > f for t, f in zip(tasks, first))


def users_of_shipped(rig):
    return rig.pg.sql("select count(*) from takt.schedule s where s.enabled and exists (select from takt.schedule_calendar u "
                      "join takt.calendar c on c.id = u.calendar_id where c.org_id is null and (u.schedule_id = s.id or u.shared_id = s.shared_id))")[0][0]


def test_a_save_waits_for_a_shipped_calendar_that_is_changed_and_holds_nothing(rig):
    """It held its row of schedule and waited for the calendar, the engine the other way round: a deadlock."""
    task = rig.task("holds a shipped one", schedule={"cron": "0 2 * * *", "exclude": ["us-federal"]})
    new = json.dumps([{"name": "us-federal", "title": "US", "digest": "01", "report": {}, "days": [["2026-11-26", "Thanksgiving"]]}])
    answers = []
    with Session(rig.pg) as engine:
        assert len(engine.run("calendars_lock", new)) == 1
        save = threading.Thread(target=lambda: answers.append(rig.request(
            "PATCH", f"/tasks/{task}", rig.token("operator"), json={"description": "x"}, headers={"If-Match": "*"}).status_code))
        save.start()
        wait_until(lambda: rig.pg.sql("select 1 from pg_stat_activity where usename = 'takt_gateway' and wait_event_type = 'Lock'"),
                   what="the save to wait")
        assert engine.run("calendars_put", new)[0][:3] == (0, 1, users_of_shipped(rig))
        engine.commit()
        save.join()
    assert answers == [200]
    # it computed with the days from before
    assert row(rig, task)["replan_from"] and row(rig, task)["next_due_at"] is None


def test_a_shipped_calendar_is_changed_behind_who_begins_to_use_it(rig):
    """The statement that plans anew saw what was there before it waited."""
    new = json.dumps([{"name": "us-federal", "title": "US", "digest": "02", "report": {}, "days": [["2026-11-27", "Friday"]]}])
    (task,), counts, users = rig.pg.sql("select gen_random_uuid()::text")[0], [], users_of_shipped(rig)
    definition = rig.pg.sql("select definition || '{\"name\": \"begins\"}' from takt.task where name = 'holds a shipped one'")[0][0]
    version = rig.pg.sql("select version from takt.calendar where name = 'us-federal'")[0][0]
    with rig.pg.connect("takt_gateway", autocommit=False) as saver, Session(rig.pg, lock_timeout="30s") as engine:
        saver.execute("select takt.session(%s, 2)", (rig.token("operator"),))
        assert saver.execute("select status from takt.task_create(%s)", (json.dumps({
            "id": task, "definition": definition, "source": "", "anchor": 0, "next_due_at": "2030-01-01T00:00:00Z",
            "calendar_info": {"us-federal": {"version": version}}}),)).fetchone() == (201,)

        def change():
            engine.run("calendars_lock", new)
            counts.append(engine.run("calendars_put", new)[0][:3])
            engine.commit()
        changing = threading.Thread(target=change)
        changing.start()
        wait_until(lambda: rig.pg.sql("select 1 from pg_stat_activity where usename = 'takt_engine' and wait_event_type = 'Lock'"),
                   what="the engine to wait")
        saver.commit()
        changing.join()
    assert counts == [(0, 1, users + 1)] and row(rig, task)["replan_from"]


# Shared schedules ---------------------------------------------------------------------------------

def test_shared_schedule_life(rig, admin):
    made = shared(rig, "life", {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "jitter_seconds": 600, "exclude": ["holidays"]})
    assert made["revision"] == 1 and made["task_count"] == 0 and made["next_run_at"] is None and made["enabled"]
    assert set(made["schedule"]) == set(NORMAL)
    assert rig.post("/schedules", admin, {"name": "life", "schedule": {"every": "5m"}}).status_code == 409
    tasks = [rig.task("life a", schedule="life"), rig.task("life b", schedule={"name": "life"}), rig.task("life c", schedule="life", enabled=False)]
    for t in tasks:
        got, kept = rig.get(f"/tasks/{t}", admin).json(), row(rig, t)
        assert got["schedule"] == {"name": "life"} and got["cron_expression"] == "0 2 * * *" and got["timezone"] == "Europe/Berlin"
        assert kept["shared_id"] and kept["jitter_s"] == 600 and kept["has_calendars"] and calendars_of(rig, t) == []
    assert len({row(rig, t)["jitter_off_s"] for t in tasks}) > 1
    got = rig.get("/schedules/life", rig.token("viewer")).json()
    assert got["task_count"] == 3 and [t["name"] for t in got["tasks"]] == ["life a", "life b", "life c"]
    assert got["next_run_at"] == rig.get(f"/tasks/{tasks[0]}", admin).json()["next_run_at"]
    assert "life" in {s["name"] for s in rig.get("/schedules?limit=500", admin).json()["items"]}

    # an edit moves all copies
    body = {"schedule": {"every": "90s", "start_deadline_seconds": 30}}
    assert put(rig, "/schedules/life", body).status_code == 428
    assert put(rig, "/schedules/life", body, If_Match='"7"').status_code == 412
    assert put(rig, "/schedules/life", {**body, "name": "other"}, If_Match='"1"').status_code == 422
    r = put(rig, "/schedules/life", body, If_Match='"1"')
    assert r.status_code == 200 and r.json()["revision"] == 2 and r.headers["ETag"].strip('"') == "2"
    for t in tasks:
        kept = row(rig, t)
        assert (kept["kind"], kept["expr"], kept["start_deadline_s"], kept["jitter_s"], kept["has_calendars"]) == ("every", "90s", 30, 0, False)
        assert kept["version"] == 2 and kept["next_due_at"] is None and (kept["replan_from"] is not None) == (t != tasks[2])
    assert rig.get(f"/tasks/{tasks[0]}", admin).json()["cron_expression"] is None
    assert rig.pg.sql("select count(distinct anchor) from takt.schedule where shared_id is not null and expr = '90s'") == [(1,)]

    # deleting is refused while it is used
    r = rig.request("DELETE", "/schedules/life", admin)
    assert r.status_code == 409 and r.json()["code"] == "in_use" and '"life a", "life b", "life c"' in r.json()["detail"]
    for t in tasks:
        assert rig.request("PATCH", f"/tasks/{t}", admin, json={"schedule": {"cron": "0 3 * * *"}}, headers={"If-Match": "*"}).status_code == 200
        assert row(rig, t)["shared_id"] is None and row(rig, t)["expr"] == "0 3 * * *"
    assert rig.request("DELETE", "/schedules/life", admin, headers={"If-Match": '"1"'}).status_code == 412
    assert rig.request("DELETE", "/schedules/life", admin).status_code == 204
    assert rig.get("/schedules/life", admin).status_code == 404
    for action in ("schedule.create", "schedule.update", "schedule.delete"):
        assert "life" in audit(rig, action)


def test_disabling_one_pauses_all_and_enabling_never_backfills(rig, admin):
    shared(rig, "pausing", {"every": "1m"})
    tasks = [rig.task(f"pausing {i}", schedule="pausing") for i in range(3)]
    own = rig.task("pausing off", schedule="pausing", enabled=False)
    r = rig.post("/schedules/pausing/disable", rig.token("operator"))
    assert r.status_code == 200 and r.json()["enabled"] is False and r.json()["next_run_at"] is None
    for t in tasks + [own]:
        kept = row(rig, t)
        assert not kept["enabled"] and kept["next_due_at"] is None and kept["next_fire_at"] is None and kept["disabled_at"]
        assert rig.get(f"/tasks/{t}", admin).json()["next_run_at"] is None
    assert rig.get(f"/tasks/{tasks[0]}", admin).json()["enabled"] is True, "the task itself is not disabled"
    assert rig.post("/schedules/pausing/disable", admin).json()["revision"] == r.json()["revision"], "nothing to do, nothing done"
    # saved while it is paused: stays paused
    rig.request("PATCH", f"/tasks/{tasks[0]}", admin, json={"description": "x"}, headers={"If-Match": "*"})
    assert not row(rig, tasks[0])["enabled"] and row(rig, tasks[0])["next_due_at"] is None
    new = rig.task("pausing late", schedule="pausing")
    assert not row(rig, new)["enabled"]
    rig.pg.sql("update takt.schedule set disabled_at = now() - interval '1 hour' where id = any(%s)", (tasks,))
    started = now(rig)
    assert rig.post("/schedules/pausing/enable", rig.token("operator")).json()["enabled"] is True
    for t in tasks + [new]:
        assert row(rig, t)["enabled"] and row(rig, t)["replan_from"] >= started
    assert not row(rig, own)["enabled"] and row(rig, own)["replan_from"] is None
    rig.post("/schedules/pausing/disable", admin)
    rig.pg.sql("update takt.schedule set disabled_at = now() - interval '1 hour' where id = any(%s)", (tasks,))
    rig.post("/schedules/pausing/enable?backfill=true", admin)
    for t in tasks:
        kept = row(rig, t)
        assert (now(rig) - kept["replan_from"]).total_seconds() > 3500 and kept["planned_from"] == kept["replan_from"]
    assert audit(rig, "schedule.disable").count("pausing") == 2 == audit(rig, "schedule.enable").count("pausing")
    assert rig.post("/schedules/nothing/enable", admin).status_code == 404


@pytest.mark.parametrize("body,pointer", [
    ({"name": "bad"}, "/schedule"), ({"name": "bad", "schedule": "other"}, "/schedule"), ({"name": "bad", "schedule": {"name": "other"}}, "/schedule"),
    ({"name": "bad", "schedule": {"cron": "x"}}, "/schedule/cron"), ({"name": "a/b", "schedule": {"every": "5m"}}, "/name"),
    ({"name": "bad", "schedule": {"cron": "0 2 * * *", "exclude": ["nowhere"]}}, "/schedule/exclude/0"),
    ({"schedule": {"every": "5m"}}, "/name"), ({"name": "bad", "cron_expression": "99 * * * *"}, "/cron_expression")])
def test_bad_shared_schedules(rig, admin, body, pointer):
    r = rig.post("/schedules", admin, body)
    assert r.status_code == 422 and r.json()["errors"][0]["pointer"] == pointer, r.text
    assert rig.get("/schedules/bad", admin).status_code == 404


def test_a_task_and_its_schedule_change_at_the_same_time(rig, admin):
    """Copies are what the shared one says, whoever came first."""
    shared(rig, "raced", {"cron": "0 2 * * *"})
    tasks = [rig.task(f"raced {i}", schedule="raced") for i in range(4)]
    codes = []

    def edit(n):
        codes.append(put(rig, "/schedules/raced", {"schedule": {"cron": f"{n} 2 * * *"}}, If_Match="*").status_code)

    def patch(t, n):
        codes.append(rig.request("PATCH", f"/tasks/{t}", admin, json={"description": str(n)}, headers={"If-Match": "*"}).status_code)
    threads = [threading.Thread(target=edit, args=(n,)) for n in range(6)] + \
        [threading.Thread(target=patch, args=(t, n)) for t in tasks for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(codes) <= {200, 409}, codes
    says = rig.get("/schedules/raced", admin).json()["schedule"]["expr"]
    assert {row(rig, t)["expr"] for t in tasks} == {says}


# Asking -------------------------------------------------------------------------------------------

def test_preview_with_marks_and_a_viewers_zone(rig):
    put_days(rig, "good-friday", ["2027-03-26"])
    task = rig.task("previewed", schedule={"cron": "30 2 * * *", "timezone": "Europe/Berlin", "effective_from": "2027-03-25T00:00:00Z",
                                           "effective_until": "2027-03-30T00:00:00Z", "exclude": ["good-friday"]}, enabled=False)
    r = rig.get(f"/tasks/{task}/preview?count=5&zone=America/New_York", rig.token("viewer"))
    assert r.status_code == 200, r.text
    got = r.json()
    assert got["next"] == [t["utc"] for t in got["times"]] and got["local"] == [t["local"] for t in got["times"]]
    assert got["times"][2] == {"utc": "2027-03-28T01:00:00Z", "local": "2027-03-28T03:00:00+02:00 CEST",
                               "viewer": "2027-03-27T21:00:00-04:00 EDT", "marks": ["moved"]}
    assert [t["marks"] for t in got["times"]] == [[], [], ["moved"], []]
    assert got["skipped"] == [{"utc": "2027-03-26T01:30:00Z", "local": "2027-03-26T02:30:00", "what": "calendar",
                               "calendar": "good-friday", "reason": "closed 2027-03-26"}] and got["skipped_more"] is False
    assert rig.get(f"/tasks/{task}/preview?zone=Mars/Base", rig.token("viewer")).status_code == 422


def test_preview_of_a_follower(rig, admin):
    shared(rig, "shown", {"cron": "15 4 * * *"})
    task = rig.task("shows", schedule="shown")
    got = rig.get(f"/tasks/{task}/preview?count=1", admin).json()
    assert got["next"][0].endswith("T04:15:00Z") and got["schedule"]["expr"] == "15 4 * * *" and got["cron_expression"] == "15 4 * * *"


def check(rig, schedule, query=""):
    r = rig.post(f"/schedules/check{query}", rig.token("viewer"), {"schedule": schedule})
    assert r.status_code == 200, r.text
    return r.json()


def test_check_tells_every_clock_change_of_two_years(rig):
    got = check(rig, {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}, "?count=2&zone=UTC")
    assert len(got["next"]) == 2 and got["next"][0]["viewer"].endswith("UTC") and got["schedule"]["kind"] == "cron"
    changes = got["clock_changes"]
    assert [c["what"] for c in changes] in (["moved", "first_of_two"] * 2, ["first_of_two", "moved"] * 2) and got["clock_changes_more"] == 0
    for c in changes:
        assert c["due"].endswith("T02:30:00") and len(c["runs_at"]) == 1 and "Europe/Berlin" in c["text"] and c["due"] in c["text"]
    skip = check(rig, {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "dst_gap": "skip", "dst_fold": "both"})
    assert {(c["what"], len(c["runs_at"])) for c in skip["clock_changes"]} == {("skipped_gap", 0), ("both", 2)}
    assert check(rig, {"cron": "30 4 * * *", "timezone": "Europe/Berlin"})["clock_changes"] == []
    assert check(rig, {"cron": "30 2 * * *"})["clock_changes"] == []
    assert check(rig, {"every": "1m", "timezone": "Europe/Berlin"})["clock_changes"] == []
    dense = check(rig, {"cron": "* * * * *", "timezone": "Europe/Berlin"})
    assert len(dense["clock_changes"]) == 200 and dense["clock_changes_more"] == 40


def test_check_is_bounded(rig):
    put_days(rig, "one-day", ["2090-01-01"])
    got = check(rig, {"cron": "* * * * * *", "timezone": "Europe/Berlin", "include": ["one-day"]}, "?count=100")
    assert len(got["next"]) == 100 and len(got["skipped"]) == 200 and got["skipped_more"] is True
    assert check(rig, {"cron": "0 0 30 2 *"})["next"] == []


def test_shifted_to_a_clock_change(rig):
    """A holiday's run moves to the day on which the clock skips its time: Sunday is a business day nowhere, so by a calendar of days."""
    put_days(rig, "monday-off", ["2027-03-29"])
    got = check(rig, {"cron": "30 2 29 3 *", "timezone": "Europe/Berlin", "exclude": ["monday-off"], "on_hit": "next_business_day"}, "?count=1")
    assert got["next"][0]["marks"] == ["shifted"] and got["next"][0]["utc"] == "2027-03-30T00:30:00Z"


def test_checks_and_lists_keep_nothing(rig, admin):
    tables = ("task", "schedule", "shared_schedule", "calendar", "calendar_day", "schedule_calendar", "audit")
    before = [rig.pg.sql(f"select count(*) from takt.{t}") for t in tables]
    check(rig, {"cron": "0 2 * * *", "exclude": ["holidays"]})
    rig.post("/tasks:check", admin, {"name": "x", "task_type": "hello", "schedule": {"every": "5m"}})
    for path in ("/calendars", "/calendars/holidays", "/schedules", "/calendars/holidays/days/2027-01-01"):
        assert rig.get(path, rig.token("viewer")).status_code == 200
    assert before == [rig.pg.sql(f"select count(*) from takt.{t}") for t in tables]


# Who may ------------------------------------------------------------------------------------------

def test_other_organisations_names_are_nobodys(rig, admin):
    rig.org("elsewhere")
    theirs = rig.token("operator", "elsewhere")
    shared(rig, "private", {"every": "5m"})
    assert rig.request("PUT", "/calendars/holidays", theirs, json={"days": [{"date": "2027-07-04"}]}).status_code == 201, "names are per organisation"
    assert rig.get("/calendars/holidays", theirs).json()["day_count"] == 1 and rig.get("/calendars/holidays", admin).json()["day_count"] == 2
    for said, hidden in (({"schedule": "private"}, "private"), ({"schedule": {"cron": "0 2 * * *", "exclude": ["far"]}}, "days-on")):
        r = rig.post("/tasks", theirs, {"name": "x", "task_type": "hello", **said})
        assert r.status_code == 422 and hidden not in r.json()["errors"][0].get("hint", "")
    r = rig.post("/tasks", theirs, {"name": "theirs", "task_type": "hello", "schedule": {"cron": "0 2 * * *", "exclude": ["holidays", "us-federal"]}})
    assert r.status_code == 201 and rig.pg.sql("select count(*) from takt.schedule_calendar u join takt.calendar c on c.id = u.calendar_id where "
                                               "u.schedule_id = %s and c.org_id is distinct from u.org_id and c.org_id is not null",
                                               (r.json()["id"],)) == [(0,)]
    assert rig.request("DELETE", "/calendars/far", theirs).status_code == 404
    assert rig.get("/calendars/us-federal", rig.token("viewer")).json()["used_by"] is not None
    assert "theirs" not in rig.get("/calendars/us-federal", admin).text


def test_viewers_read(rig):
    viewer = rig.token("viewer")
    assert put(rig, "/calendars/mine", {"days": []}, "viewer").status_code == 403
    assert rig.post("/schedules", viewer, {"name": "v", "schedule": {"every": "5m"}}).status_code == 403
    assert rig.post("/schedules/check", viewer, {"schedule": {"every": "5m"}}).status_code == 200
    for path in ("/calendars", "/schedules"):
        assert rig.get(path, viewer).status_code == 200
    assert rig.request("DELETE", "/calendars/holidays", viewer).status_code == 403
    assert rig.get(f"/tasks/{uuid7()}/preview", viewer).status_code == 404


# With a real engine -------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def both():
    """The gateway and an engine on one database; no executor, so runs wait."""
    with Rig() as r:
        root = pathlib.Path(r.root, "engine")
        (root / "state").mkdir(parents=True, mode=0o700)
        (root / "taktd.conf").write_text(f'state_dir = "{root}/state"\nnode_name = "real"\ndb = "{r.pg.conninfo}"\nlisten = "127.0.0.1:1"\n'
                                         'roles = {engine}\nauto_migrate = false\nplatform_dirs = {}\n', encoding="utf-8")
        with open(root / "log", "ab") as log:
            engine = subprocess.Popen([str(BUILD / "taktd"), "-x", "engine", "-c", str(root / "taktd.conf")], stdout=log, stderr=log,
                                      stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_until(lambda: r.pg.sql("select 1 from takt.node where name = 'real'"), what="the engine")
            yield r
            assert engine.poll() is None, (root / "log").read_text(encoding="utf-8")[-3000:]
        finally:
            engine.terminate()
            try:
                engine.wait(30)
            except subprocess.TimeoutExpired:
                engine.kill()
                engine.wait()


def planned(rig, task):
    """The next due time once the engine has computed it."""
    wait_until(lambda: row(rig, task)["replan_from"] is None, what="the engine to plan")
    return row(rig, task)["next_due_at"]


def test_the_engine_plans_what_the_preview_says(both):
    admin = both.token("admin")
    put_days(both, "closed", ["2090-01-01"])
    shared(both, "planned", {"cron": "15 4 * * *", "timezone": "Europe/Berlin", "exclude": ["closed"]})
    tasks = [both.task(f"planned {i}", schedule="planned") for i in range(3)]
    own = both.task("planned alone", schedule={"times": "04:15", "timezone": "Europe/Berlin", "exclude": ["closed"]})

    def agree():
        for t in tasks + [own]:
            due = planned(both, t)
            says = both.get(f"/tasks/{t}/preview?count=1", admin).json()
            assert due.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") == says["next"][0], (t, due)
            assert both.get(f"/tasks/{t}", admin).json()["next_run_at"].startswith(says["next"][0][:19])
        return {row(both, t)["next_due_at"] for t in tasks}
    before = agree()
    days = [(now(both) + datetime.timedelta(days=d)).date().isoformat() for d in range(4)]
    put_days(both, "closed", days)
    moved = agree()
    assert len(moved) == 1 and moved != before and (moved.pop() - before.pop()).days >= 3
    assert put(both, "/schedules/planned", {"schedule": {"every": "1h"}}, If_Match="*").status_code == 200
    agree_after = {planned(both, t) for t in tasks}
    assert len(agree_after) == 1 and (agree_after.pop() - now(both)).total_seconds() <= 3600


def test_nothing_of_the_pause_runs_unless_asked(both):
    admin = both.token("admin")
    shared(both, "every second", {"every": "1s", "catch_up": "all", "catch_up_limit": 1000})
    tasks = [both.task(f"second {i}", schedule="every second", overlap="parallel") for i in range(2)]

    def dues(task):
        return [d for d, in both.pg.sql("select due_at from takt.occurrence where task_id = %s order by due_at", (task,))]
    wait_until(lambda: all(len(dues(t)) > 1 for t in tasks), what="some runs")
    both.post("/schedules/every second/disable", admin)
    off = now(both)
    wait_until(lambda: (now(both) - off).total_seconds() > 3, what="three seconds")
    assert all(d < off for t in tasks for d in dues(t))
    both.post("/schedules/every second/enable", admin)
    on = now(both)
    wait_until(lambda: all(dues(t)[-1] > on for t in tasks), what="runs again")
    assert not [d for t in tasks for d in dues(t) if off < d < on]
    both.post("/schedules/every second/disable", admin)
    off = now(both)
    wait_until(lambda: (now(both) - off).total_seconds() > 3, what="three seconds")
    both.post("/schedules/every second/enable?backfill=true", admin)
    wait_until(lambda: all(len([d for d in dues(t) if off < d < off + datetime.timedelta(seconds=3)]) >= 2 for t in tasks), what="the back-fill")
    both.post("/schedules/every second/disable", admin)


def test_backfill_of_one_task_follows_its_catch_up(both):
    admin = both.token("admin")
    task = both.task("one filled", schedule={"every": "1m", "catch_up": "latest"}, overlap="parallel")
    both.post(f"/tasks/{task}/disable", admin)
    both.pg.sql("update takt.schedule set disabled_at = now() - interval '10 minutes', anchor = anchor - interval '1 hour' where id = %s", (task,))
    both.post(f"/tasks/{task}/enable?backfill=true", admin)
    wait_until(lambda: row(both, task)["next_due_at"] > now(both), what="the engine to catch up")
    rows = both.pg.sql("select decision, n from takt.occurrence where task_id = %s order by due_at", (task,))
    assert rows[-1] == ("fired", 1) and [r[0] for r in rows].count("fired") == 1 and sum(n for d, n in rows if d == "missed") in (8, 9), rows


def test_edits_lose_no_due_time(both):
    """Tasks, their shared schedule and their calendar are saved all the time, while each second is due."""
    admin = both.token("admin")
    put_days(both, "restless", ["2090-01-01"])
    times = {"catch_up": "all", "catch_up_limit": 1000, "exclude": ["restless"]}
    shared(both, "restless", {"every": "1s", **times})
    tasks = [both.task(f"restless {i}", overlap="parallel", schedule="restless" if i else {"cron": "* * * * * *", "jitter_seconds": 3, **times})
             for i in range(3)]
    bad = []

    def save(worker):
        for i in range(60):
            if worker == 0 and i % 3 == 0:
                r = put(both, "/schedules/restless", {"schedule": {"every": "1s", "jitter_seconds": i % 4, **times}}, If_Match="*")
            elif worker == 0 and i % 3 == 1:
                r = put(both, "/calendars/restless", {"days": [{"date": f"2090-01-{1 + i % 28:02}"}]})
            else:
                r = both.request("PATCH", f"/tasks/{tasks[i % 3]}", admin, json={"description": f"{worker} {i}"}, headers={"If-Match": "*"})
            if r.status_code not in (200, 409):  # 409: somebody else saved it first
                bad.append(r.text)
    threads = [threading.Thread(target=save, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    end = now(both)
    wait_until(lambda: all((row(both, t)["next_due_at"] or end) > end for t in tasks), what="what was due to be decided")
    for t in tasks:
        seconds = [s for s, in both.pg.sql("select extract(epoch from due_at)::bigint from takt.occurrence where task_id = %s order by 1", (t,))]
        assert len(seconds) > 2 and seconds == list(range(seconds[0], seconds[-1] + 1)), seconds
        assert both.post(f"/tasks/{t}/disable", admin).status_code == 200
    assert bad == []
