# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Calendars, shared schedules and a task's next times, through `takt` and a running Takt."""
import json
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from dev import HELLO, Dev, wait_until  # noqa: E402

SHIPPED = ROOT / "conf/calendars.d"
ICAL = ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nX-WR-CALNAME:Company days\r\n"
        "BEGIN:VEVENT\r\nUID:a\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;VALUE=DATE:20250310\r\n"
        "RRULE:FREQ=YEARLY;COUNT=30\r\nEXDATE;VALUE=DATE:20270310\r\nSUMMARY:Founders' day\r\nEND:VEVENT\r\n"
        "BEGIN:VEVENT\r\nUID:b\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;VALUE=DATE:20270803\r\n"
        "DTEND;VALUE=DATE:20270806\r\nSUMMARY:Move\r\nEND:VEVENT\r\n"
        "BEGIN:VEVENT\r\nUID:c\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;VALUE=DATE:20270101\r\nSTATUS:CANCELLED\r\nEND:VEVENT\r\n"
        "END:VCALENDAR\r\n")


@pytest.fixture(scope="module")
def dev():
    with Dev(plugin_dirs=[HELLO]) as d:
        d.ready("hello")
        wait_until(lambda: {"us-federal", "uk-england-wales", "target"} <= {c["name"] for c in d.json("calendar", "list")}, 60,
                   f"the shipped calendars\n{d.logs()}")
        yield d


def task(dev, name, **more):
    body = dict({"name": name, "task_type": "hello", "parameters": {"name": "world"}}, **more)
    return dev.json("task", "create", "-", input=json.dumps(body))


def refused(dev, code, *args, **kw):
    p = dev.takt(*args, **kw)
    assert p.returncode == code, p
    assert p.stderr.startswith("takt: "), p
    return p.stderr


# --- calendars

def test_shipped_calendars_are_there(dev):
    table = dev.ok("calendar", "list")
    assert "TARGET closing days" in table and "shipped" in table
    for f in SHIPPED.glob("*.ics"):
        local = dev.json("calendar", "show", f, "--from", "2026-01-01", "--to", "2027-12-31")
        assert dev.json("calendar", "show", f.stem, "--from", "2026-01-01", "--to", "2027-12-31")["days"] == local
    assert dev.ok("calendar", "is-holiday", "us-federal", "2026-12-25") == "Christmas Day\n"
    assert dev.takt("calendar", "is-holiday", "US-Federal", "2026-12-24").returncode == 1
    text = refused(dev, 2, "calendar", "delete", "us-federal")
    assert "comes with Takt" in text


def test_a_calendar_is_imported_refreshed_and_deleted(dev, tmp_path):
    f = tmp_path / "c.ics"
    f.write_text(ICAL, newline="")
    made = dev.json("calendar", "import", "company", f)
    assert made["title"] == "Company days" and made["version"] == 1 and made["changed"] is True
    assert made["report"]["events"] == 2 and made["report"]["ignored"] == 1 and made["report"]["notes"]
    assert dev.json("calendar", "check", f)["notes"] == made["report"]["notes"]
    shown = dev.json("calendar", "show", "company", "--from", "2027-01-01", "--to", "2027-12-31")
    assert [d["date"] for d in shown["days"]] == ["2027-08-03", "2027-08-04", "2027-08-05"]
    p = dev.takt("calendar", "import", "company", f)
    assert p.returncode == 0 and "the same as before" in p.stderr
    f.write_text(ICAL.replace("20270806", "20270805"), newline="")
    again = dev.json("calendar", "import", "Company", f, "--title", "Other")
    assert again["version"] == 2 and again["title"] == "Other"
    assert dev.takt("calendar", "is-holiday", "company", "2027-08-05").returncode == 1
    assert "Move" in dev.ok("calendar", "show", "company", "--from", "2027-08-01", "--to", "2027-08-31")
    assert dev.ok("calendar", "is-holiday", "company", "2028-03-10") == "Founders' day\n"
    dev.ok("calendar", "delete", "company")
    assert "company" in refused(dev, 3, "calendar", "show", "company")
    assert "company" in refused(dev, 3, "calendar", "is-holiday", "company", "2026-01-01")


def test_a_calendar_that_is_cut_off_changes_nothing(dev, tmp_path):
    f = tmp_path / "c.ics"
    f.write_text(ICAL, newline="")
    before = dev.json("calendar", "import", "kept", f)
    f.write_text(ICAL[:-60], newline="")
    assert str(f) in refused(dev, 2, "calendar", "import", "kept", f)
    after = dev.json("calendar", "show", "kept")
    assert (after["version"], after["day_count"]) == (before["version"], before["day_count"])


def test_a_calendar_from_json(dev, tmp_path):
    f = tmp_path / "c.json"
    f.write_text(json.dumps({"title": "Freeze", "days": [{"from": "2027-12-20", "to": "2027-12-31", "reason": "change freeze"},
                                                         {"date": "2027-06-01", "reason": "audit"}]}))
    assert dev.json("calendar", "put", "freeze", f)["day_count"] == 13
    assert dev.ok("calendar", "is-holiday", "freeze", "2027-12-24") == "change freeze\n"
    f.write_text(json.dumps({"days": [{"date": "2027-02-30"}]}))
    assert "2027-02-30" in refused(dev, 2, "calendar", "put", "freeze", f)
    assert dev.takt("calendar", "is-holiday", "freeze", "2027-06-01").returncode == 0


def test_calendars_of_the_server_are_used_locally(dev, tmp_path):
    f = tmp_path / "c.ics"
    f.write_text(ICAL, newline="")
    dev.ok("calendar", "import", "local-use", f)
    found = dev.json("cron", "next", "0 9 * * *", "--skip-calendar", "local-use", "--from", "2027-08-02 12:00", "--count", "1")
    assert found["next"][0]["utc"] == "2027-08-06T09:00:00Z"
    assert [s["reason"] for s in found["skipped"]] == ["Move (local-use)"] * 3


def test_a_calendar_that_is_used_is_not_deleted(dev, tmp_path):
    f = tmp_path / "c.ics"
    f.write_text(ICAL, newline="")
    dev.ok("calendar", "import", "in-use", f)
    t = task(dev, "uses it", schedule={"cron": "0 9 * * *", "exclude": ["in-use"]})
    dev.ok("schedule", "create", "uses it, too", "0 9 * * *", "--only-calendar", "in-use")
    text = refused(dev, 2, "calendar", "delete", "in-use")
    assert "uses it" in text and "uses it, too" in text
    assert "uses it" in dev.ok("calendar", "show", "in-use")
    dev.ok("task", "delete", t["id"])
    dev.ok("schedule", "delete", "uses it, too")
    dev.ok("calendar", "delete", "in-use")


# --- shared schedules

def test_a_schedule_is_made_changed_and_followed(dev):
    made = dev.json("schedule", "create", "nightly", "30 2 * * *", "--zone", "Europe/Berlin", "--skip-calendar", "us-federal",
                    "--on-hit", "next_business_day", "--catch-up", "all", "--catch-up-limit", "3", "--jitter", "60",
                    "--start-deadline", "600", "--effective-until", "2040-01-01 00:00")
    s = made["schedule"]
    assert (s["kind"], s["expr"], s["timezone"], s["exclude"], s["on_hit"]) == (
        "cron", "30 2 * * *", "Europe/Berlin", ["us-federal"], "next_business_day")
    assert (s["catch_up"], s["catch_up_limit"], s["jitter_seconds"], s["start_deadline_seconds"]) == ("all", 3, 60, 600)
    assert s["effective_until"] == "2039-12-31T23:00:00Z"
    one, two = (task(dev, f"follows {i}", schedule="nightly") for i in (1, 2))
    wait_until(lambda: dev.json("task", "show", one["id"])["next_run_at"], 30, "its next time")
    shown = dev.json("schedule", "show", "nightly")
    assert {t["name"] for t in shown["tasks"]} == {"follows 1", "follows 2"} and shown["task_count"] == 2
    table = dev.ok("schedule", "show", "nightly")
    assert "follows 2" in table and "us-federal" in table and "Europe/Berlin" in table
    assert "nightly" in dev.ok("schedule", "list") and "30 2 * * *" in dev.ok("schedule", "list")

    changed = dev.json("schedule", "change", "nightly", "45 3 * * *", "--skip-calendar", "none", "--start-deadline", "none")
    assert changed["revision"] == made["revision"] + 1
    s = changed["schedule"]
    assert (s["expr"], s["exclude"], s["start_deadline_seconds"], s["timezone"], s["jitter_seconds"]) == (
        "45 3 * * *", [], None, "Europe/Berlin", 60)
    wait_until(lambda: re.search(r"T0[12]:45:00", dev.json("task", "show", two["id"])["next_run_at"] or ""), 30, "the new time")

    assert dev.json("schedule", "disable", "nightly")["enabled"] is False
    assert dev.json("task", "show", one["id"])["next_run_at"] is None
    assert dev.json("schedule", "enable", "nightly", "--backfill")["enabled"] is True
    wait_until(lambda: dev.json("task", "show", one["id"])["next_run_at"], 30, "its next time")
    text = refused(dev, 2, "schedule", "delete", "nightly")
    assert "follows 1" in text and "follows 2" in text
    for t in (one, two):
        dev.ok("task", "delete", t["id"])
    dev.ok("schedule", "delete", "nightly")
    assert "nightly" in refused(dev, 3, "schedule", "show", "nightly")


@pytest.mark.parametrize("kind,expr,canonical", [
    ("every", "300s", "5m"), ("times", "(14:00, 09:00)", "09:00,14:00 1111111"), ("window", "09:00-17:00-60", "09:00-17:00-60 1111111"),
    ("ordinal", "last friday of every month (06:00)", "last friday 06:00"), ("once", "2039-12-01 02:00", "2039-12-01T02:00:00Z"),
    ("rrule", "DTSTART:20260101T060000\nRRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1", "DTSTART:20260101T060000\nRRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1"),
])
def test_every_kind_is_kept_in_its_canonical_text(dev, kind, expr, canonical):
    made = dev.json("schedule", "create", f"kind {kind}", expr, "--kind", kind)
    assert (made["schedule"]["kind"], made["schedule"]["expr"]) == (kind, canonical)
    dev.ok("schedule", "delete", f"kind {kind}")


def test_a_schedule_from_a_file(dev, tmp_path):
    f = tmp_path / "s.json"
    f.write_text(json.dumps({"schedule": {"times": ["09:00"], "day_of_week": "1111100", "timezone": "Europe/Paris"}}))
    assert dev.json("schedule", "create", "from file", "--file", f)["schedule"]["expr"] == "09:00 1111100"
    f.write_text(json.dumps({"schedule": {"cron": "0 5 * * *"}}))
    assert dev.json("schedule", "change", "from file", "--file", f)["schedule"]["expr"] == "0 5 * * *"


def test_check_tells_clock_changes_and_keeps_nothing(dev):
    args = ["30 2 * * *", "--zone", "Europe/Berlin", "--count", "3"]
    found = dev.json("schedule", "check", *args)
    assert len(found["next"]) == 3
    assert [c["what"] for c in found["clock_changes"]].count("moved") == 2
    local = dev.json("cron", "check", *args[:3])
    assert [(c["due"], c["what"], c["runs_at"]) for c in found["clock_changes"]] == [
        (c["due"], c["what"], c["runs_at"]) for c in local["clock_changes"]]
    table = dev.ok("schedule", "check", *args, "--viewer-zone", "Asia/Tokyo")
    assert "Clock changes" in table and "JST" in table
    assert [s for s in dev.json("schedule", "list") if s["name"] == "check"] == []


@pytest.mark.parametrize("args,says", [
    (["create", "bad", "61 * * * *"], ["61"]),
    (["create", "bad", "0 2 * * *", "--zone", "Mars/Base"], ["Mars/Base"]),
    (["create", "bad", "0 2 * * *", "--skip-calendar", "no-such"], ["no-such", "us-federal"]),
    (["create", "bad", "0 2 * * *", "--jitter", "much"], ["--jitter", "much"]),
    (["create", "bad", "0 2 * * *", "--jitter", "100000"], ["jitter"]),
    (["create", "bad", "0 2 * * *", "--effective-from", "soon"], ["--effective-from", "soon"]),
    (["create", "bad", "0 2 * * *", "--catch-up", "some"], ["catch_up"]),
    (["create", "bad", "x", "--kind", "sometimes"], ["sometimes"]),
    (["check", "0 25 * * *"], ["25"]),
])
def test_bad_input_names_field_value_and_remedy(dev, args, says):
    text = refused(dev, 2, "schedule", *args)
    assert all(s in text for s in says) and "(" in text, text
    assert "bad" not in {s["name"] for s in dev.json("schedule", "list")}


def test_wrong_usage(dev):
    dev.ok("schedule", "create", "used", "0 2 * * *")
    assert "nothing is to be changed" in refused(dev, 2, "schedule", "change", "used")
    for verb in ("show", "enable", "disable", "delete"):
        assert "no such" in refused(dev, 3, "schedule", verb, "no such")
    assert "used" in refused(dev, 2, "schedule", "create", "used", "0 2 * * *")


# --- a task's times

def test_preview_has_both_clocks_and_what_is_skipped(dev):
    t = task(dev, "previewed", schedule={"cron": "0 9 24-25 12 *", "timezone": "America/New_York", "exclude": ["target"]})
    found = dev.json("task", "preview", t["id"], "--count", "2", "--zone", "Asia/Tokyo")
    assert len(found["times"]) == 2 and all("-24T23:00:00+09:00 JST" in x["viewer"] for x in found["times"])
    assert {s["what"] for s in found["skipped"]} == {"calendar"}
    table = dev.ok("task", "preview", "previewed", "--count", "2", "--zone", "Asia/Tokyo")
    assert "JST" in table and "EST" in table and "skipped: Christmas Day (target)" in table
    assert len(dev.ok("task", "next", "previewed", "--count", "2").splitlines()) == 2
    assert "zone" in refused(dev, 2, "task", "preview", "previewed", "--zone", "Mars/Base")
    dev.ok("task", "disable", "previewed")
    assert "disabled" in dev.takt("task", "preview", "previewed").stderr
    assert dev.json("task", "enable", "previewed", "--backfill")["enabled"] is True


def test_a_task_shows_its_schedule_of_any_kind(dev):
    task(dev, "windowed", schedule={"window": "09:00-17:00-60", "day_of_week": "1111100", "timezone": "Europe/Rome"})
    table = dev.ok("task", "show", "windowed")
    assert "window" in table and "09:00-17:00-60 1111100" in table and "Europe/Rome" in table
    assert "window 09:00-17:00-60 1111100" in dev.ok("task", "list")
    dev.ok("schedule", "create", "shown", "0 4 * * *")
    task(dev, "follower", schedule="shown")
    assert re.search(r"follows +shown", dev.ok("task", "show", "follower")) and "as shown" in dev.ok("task", "list")
    assert dev.takt("task", "next", task(dev, "by hand")["id"]).stderr == "on demand only\n"
    once = task(dev, "over", schedule={"once": "2020-01-01T00:00:00Z"})
    assert dev.takt("task", "next", once["id"]).stderr == "never\n"
