# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What `takt` knows about time without a daemon: calendars from files, the shipped ones, every kind of schedule."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from dev import BUILD  # noqa: E402

SHIPPED = ROOT / "conf/calendars.d"


def takt(*args, input=None, code=0):
    env = {k: v for k, v in os.environ.items() if not k.startswith("TAKT_")}
    p = subprocess.run([BUILD / "takt", "--state", "/nonexistent", *map(str, args)], input=input, capture_output=True,
                       text=not isinstance(input, bytes), env=env, timeout=60)
    assert p.returncode == code, p
    return p


def answer(*args, **more):
    return json.loads(takt("-o", "json", *args, **more).stdout)


def calendar(*lines):
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", *lines, "END:VCALENDAR", ""])


def event(uid, start, *more):
    return ["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", f"DTSTART{start}", *more, "END:VEVENT"]


@pytest.fixture
def company(tmp_path):
    """A yearly day without one of its years, three days in a row, one event in the evening, one that was cancelled."""
    f = tmp_path / "company.ics"
    f.write_text(calendar(
        "X-WR-CALNAME:Company days",
        *event("a", ";VALUE=DATE:20250310", "RRULE:FREQ=YEARLY;COUNT=4", "EXDATE;VALUE=DATE:20270310", "SUMMARY:Founders' day"),
        *event("b", ";VALUE=DATE:20260803", "DTEND;VALUE=DATE:20260806", "SUMMARY:Move"),
        *event("c", ":20260901T220000Z", "DTEND:20260901T230000Z", "SUMMARY:Late"),
        *event("d", ";VALUE=DATE:20261001", "STATUS:CANCELLED", "SUMMARY:Not this one")), newline="")
    return f


# --- calendar check

def test_check_reports_what_a_file_holds(company):
    r = answer("calendar", "check", company)
    assert r["name"] == "Company days" and r["first_day"] == "2025-03-10" and r["last_day"] == "2028-03-10"
    assert r["days"] == 3 + 3 + 1 and r["ignored"] == 1 and r["events"] == 3
    assert all(n["line"] > 0 and n["text"] for n in r["notes"])
    text = takt("calendar", "check", company).stdout
    assert "Company days" in text and "2028-03-10" in text
    for n in r["notes"]:
        assert f"line {n['line']}: {n['text']}" in text
    assert answer("calendar", "check", "-", input=company.read_bytes())["days"] == r["days"]


def test_the_zone_decides_on_which_day_a_timed_event_lies(company):
    days = lambda *zone: {d["date"] for d in answer("calendar", "show", company, "--from", "2026-09-01", "--to", "2026-09-02", *zone)}  # noqa: E731
    assert days("--zone", "America/New_York") == {"2026-09-01"}
    assert days("--zone", "Asia/Tokyo") == {"2026-09-02"}
    takt("calendar", "check", company, "--zone", "Mars/Base", code=2)


def test_days_of_a_file(company):
    shown = answer("calendar", "show", company, "--from", "2026-01-01", "--to", "2026-08-31")
    assert [d["date"] for d in shown] == ["2026-03-10", "2026-08-03", "2026-08-04", "2026-08-05"]
    assert "Move" in takt("calendar", "show", company, "--from", "2026-08-01", "--to", "2026-08-31").stdout
    p = takt("calendar", "show", company, "--from", "2026-08-01", "--to", "2026-07-01", code=2)
    assert "--to" in p.stderr and "2026-07-01" in p.stderr


def test_every_cut_of_a_file_is_refused_whole(tmp_path):
    text = (SHIPPED / "target.ics").read_bytes().rstrip()
    f = tmp_path / "cut.ics"
    for n in [0, 1, 10, 100, len(text) // 2, len(text) - 60, len(text) - 5, len(text) - 1]:
        f.write_bytes(text[:n])
        p = takt("calendar", "check", f, code=2)
        assert p.stdout == "" and str(f) in p.stderr, n
    f.write_bytes(text)
    takt("calendar", "check", f)


@pytest.mark.parametrize("content,says", [
    (b"hello\n", "line 1"), (b"\0\0\0", "NUL"), (b"\x7fELF" + bytes(range(1, 200)), "line 1"), (b"{}", "line 1"),
    (calendar("BEGIN:VEVENT", "UID:x", "END:VEVENT").encode(), "DTSTART"),
    (calendar(*event("x", ";VALUE=DATE:20260231")).encode(), "20260231"),
    (calendar(*event("x", ";VALUE=DATE:20260201", "RRULE:FREQ=SOMETIMES")).encode(), "SOMETIMES"),
    (calendar(*event("x", ";TZID=Nowhere/At All:20260201T000000")).encode(), "Nowhere"),
    (calendar(*["BEGIN:VEVENT"] * 20).encode(), "nested"),
])
def test_what_is_no_calendar_is_refused_with_the_reason(tmp_path, content, says):
    f = tmp_path / "bad.ics"
    f.write_bytes(content)
    for args in (["calendar", "check", f], ["calendar", "is-holiday", f, "2026-02-01"],
                 ["cron", "next", "0 0 * * *", "--skip-calendar", f]):
        p = takt(*args, code=2)
        assert p.stdout == "" and says in p.stderr and "(" in p.stderr, args


def test_an_endless_file_is_refused():
    for f in ("/dev/zero", "/dev/urandom"):
        p = takt("calendar", "check", f, code=2)
        assert f in p.stderr and "1 MiB" in p.stderr
    big = calendar(*event("x", ";VALUE=DATE:20260201", "SUMMARY:" + "x" * 1100000)).encode()
    assert b"1 MiB" in takt("calendar", "check", "-", input=big, code=2).stderr
    many = calendar(*event("x", ":20260201T000000Z", "RRULE:FREQ=SECONDLY")).encode()
    assert takt("calendar", "check", "-", input=many, code=2).stderr


def test_files_that_are_none(tmp_path):
    for f in (tmp_path, tmp_path / "missing.ics"):
        assert str(f) in takt("calendar", "check", f, code=2).stderr


# --- is-holiday

# 5 U.S.C. 6103 with observed days (a Saturday's is Friday), gov.uk/bank-holidays, the ECB's TARGET closing days.
KNOWN = {
    "us-federal": (["2024-01-15", "2026-01-01", "2026-06-19", "2026-07-03", "2026-11-26", "2026-12-25", "2021-12-31", "2022-12-26"],
                   ["2026-07-04", "2026-11-27", "2026-12-24", "2026-04-03"]),
    "uk-england-wales": (["2026-04-03", "2026-04-06", "2026-05-04", "2026-05-25", "2026-08-31", "2026-12-28", "2022-09-19", "2023-05-08"],
                         ["2026-12-26", "2026-03-17", "2026-08-03", "2026-11-26"]),
    "target": (["2026-01-01", "2026-04-03", "2026-04-06", "2026-05-01", "2026-12-25", "2026-12-26"],
               ["2026-12-31", "2026-05-25", "2026-11-26"]),
}


def test_every_shipped_calendar_is_asked_about():
    assert {f.stem for f in SHIPPED.glob("*.ics")} == set(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_is_holiday_of_the_shipped_calendars(name):
    days, others = KNOWN[name]
    for source in (name, name.upper(), SHIPPED / f"{name}.ics"):
        for day in days:
            p = takt("calendar", "is-holiday", source, day)
            assert len(p.stdout.strip()) > 3, (source, day)
        for day in others:
            assert takt("calendar", "is-holiday", source, day, code=1).stdout == "", (source, day)
    assert answer("calendar", "is-holiday", name, days[0])["is_in"] is True
    assert answer("calendar", "is-holiday", name, others[0], code=1) == {"date": others[0], "is_in": False, "reason": None}


def test_is_holiday_says_why(company):
    assert takt("calendar", "is-holiday", company, "2026-03-10").stdout == "Founders' day\n"
    takt("calendar", "is-holiday", company, "2027-03-10", code=1)
    takt("calendar", "is-holiday", company, "2026-10-01", code=1)


@pytest.mark.parametrize("day", ["2026-02-29", "2026-13-01", "tomorrow", "2026-1-1", "20260101", "", "2026-01-01T00:00:00Z"])
def test_is_holiday_refuses_what_is_no_day(day):
    p = takt("calendar", "is-holiday", "us-federal", day, code=2)
    assert "DATE" in p.stderr and "2026-12-24" in p.stderr


def test_an_unknown_calendar_is_named_with_those_there_are(tmp_path, monkeypatch):
    p = takt("calendar", "is-holiday", "us-federl", "2026-12-25", code=3)
    assert "us-federl" in p.stderr and "target, uk-england-wales, us-federal" in p.stderr
    p = takt("cron", "next", "0 0 * * *", "--skip-calendar", "us-federl", code=3)
    assert "--skip-calendar" in p.stderr
    (tmp_path / "mine").write_text(calendar(*event("x", ";VALUE=DATE:20260201")), newline="")
    monkeypatch.chdir(tmp_path)
    assert "./mine" in takt("calendar", "is-holiday", "mine", "2026-02-01", code=3).stderr
    takt("calendar", "is-holiday", "./mine", "2026-02-01")


def test_a_name_that_is_not_utf8_is_no_missing_calendar(tmp_path):
    p = subprocess.run([BUILD / "takt", "cron", "next", "0 9 * * *", "--skip-calendar", b"./a\xffb.ics"], capture_output=True, timeout=60)
    assert p.returncode == 2 and p.stdout == b"" and b"--skip-calendar" in p.stderr


def test_a_server_that_is_named_is_asked():
    assert "127.0.0.1:9" in takt("--url", "http://127.0.0.1:9", "calendar", "is-holiday", "us-federal", "2026-12-25", code=5).stderr
    takt("--url", "http://127.0.0.1:9", "calendar", "is-holiday", SHIPPED / "us-federal.ics", "2026-12-25")


# --- cron next

def rows(*args):
    """(UTC stamp or None, local, mark) of each line of the table."""
    lines = takt("cron", "next", *args).stdout.splitlines()
    at_local, at_mark = lines[0].index("NEXT (ZONE)"), lines[0].index("MARK")
    return [(x[:at_local].strip() or None, x[at_local:at_mark].strip(), x[at_mark:].strip()) for x in lines[1:]]


def test_a_time_that_the_clock_skips():
    args = ["30 2 * * *", "--zone", "Europe/Berlin", "--from", "2026-03-28 12:00", "--count", "2"]
    assert rows(*args) == [
        ("2026-03-29 01:00:00Z", "2026-03-29 03:00:00+02:00 CEST", "moved: the clock goes from 02:00 to 03:00 at once"),
        ("2026-03-30 00:30:00Z", "2026-03-30 02:30:00+02:00 CEST", "")]
    first, *_ = rows(*args, "--dst-gap", "skip")
    assert first[:2] == (None, "2026-03-29 02:30:00") and first[2].startswith("skipped: ")
    a = answer("cron", "next", *args)
    assert a["timezone"] == "Europe/Berlin" and a["next"][0]["marks"] == ["moved"] and a["skipped"] == []
    assert answer("cron", "next", *args, "--dst-gap", "skip")["skipped"][0]["what"] == "gap"


def test_a_time_that_the_clock_shows_twice():
    args = ["30 2 * * *", "--zone", "Europe/Berlin", "--from", "2026-10-24 12:00", "--count", "2"]
    both = rows(*args, "--dst-fold", "both")
    assert [r[0] for r in both] == ["2026-10-25 00:30:00Z", "2026-10-25 01:30:00Z"]
    assert both[0][2] == "" and both[1][2].startswith("repeated: ")
    first = rows(*args)
    assert first[0][0] == "2026-10-25 00:30:00Z" and first[1][0] is None and first[1][2].startswith("skipped: ")
    assert answer("cron", "next", *args)["skipped"][0]["what"] == "fold"
    assert [r[0] for r in rows(*args, "--dst-fold", "second")][1] == "2026-10-25 01:30:00Z"


def test_the_old_output_is_stamps_only():
    p = takt("cron", "next", "30 2 * * *", "--tz", "Europe/Berlin", "--from", "2026-03-28T12:00:00Z", "--count", "2", "--dst-gap", "skip")
    assert p.stdout == "2026-03-30T00:30:00Z\n2026-03-31T00:30:00Z\n"
    p = takt("cron", "next", "30 2 * * *", "--tz", "UTC", "--zone", "UTC", code=2)
    assert "--zone" in p.stderr and "--tz" in p.stderr


def test_days_of_a_calendar_are_skipped_with_the_reason(company):
    args = ["0 9 * * *", "--zone", "America/New_York", "--from", "2026-12-24 12:00", "--count", "1"]
    assert rows(*args, "--skip-calendar", "us-federal") == [
        (None, "2026-12-25 09:00:00", "skipped: Christmas Day (us-federal)"),
        ("2026-12-26 14:00:00Z", "2026-12-26 09:00:00-05:00 EST", "")]
    two = rows(*args, "--skip-calendar", "us-federal", "--skip-calendar", SHIPPED / "target.ics")
    assert [r[2] for r in two] == ["skipped: Christmas Day (us-federal)", "skipped: Christmas holiday (target.ics)", ""]
    found = answer("cron", "next", *args, "--skip-calendar", "us-federal")
    assert found["skipped"] == [{"utc": "2026-12-25T14:00:00Z", "local": "2026-12-25T09:00:00", "what": "calendar",
                                 "reason": "Christmas Day (us-federal)"}]
    only = answer("cron", "next", "0 9 * * *", "--only-calendar", company, "--from", "2026-08-04 09:00", "--count", "2")
    assert [t["utc"] for t in only["next"]] == ["2026-08-05T09:00:00Z", "2026-09-01T09:00:00Z"]
    assert only["skipped"][0]["reason"] == "not a day of the include calendar"


def test_an_occurrence_goes_to_a_business_day():
    args = ["0 9 25 12 *", "--skip-calendar", "us-federal", "--from", "2026-12-01 00:00", "--count", "1"]
    later = answer("cron", "next", *args, "--on-hit", "next_business_day")
    assert later["next"][0]["utc"] == "2026-12-28T09:00:00Z" and later["next"][0]["marks"] == ["shifted"]
    assert later["next"][0]["meant_for"] == "2026-12-25" and "Christmas Day" in later["next"][0]["reason"]
    assert later["skipped"][0]["shifted_to"] == "2026-12-28T09:00:00+00:00 UTC"
    before = answer("cron", "next", *args, "--on-hit", "previous_business_day")
    assert before["next"][0]["utc"] == "2026-12-24T09:00:00Z"


def test_a_schedule_that_calendars_never_let_run_ends():
    found = answer("cron", "next", "0 9 25 12 *", "--skip-calendar", "target", "--from", "2026-01-01 00:00",
                   "--effective-until", "2030-01-01 00:00")
    assert found["next"] == [] and [s["local"][:10] for s in found["skipped"]][:3] == ["2026-12-25", "2027-12-25", "2028-12-25"]
    found = answer("cron", "next", "* * * * *", "--only-calendar", "-", "--from", "2026-01-01 00:00",
                   input=calendar(*event("x", ";VALUE=DATE:20000101")))
    assert found["next"] == [] and len(found["skipped"]) == 200 and found["skipped_more"] is True


@pytest.mark.parametrize("kind,expr,canonical,first", [
    ("cron", "0  2 * * 1-5", "0 2 * * 1-5", "2026-11-23T02:00:00Z"),
    ("cron", "0 6 L * *", "0 6 L * *", "2026-11-30T06:00:00Z"),
    ("cron", "0 0 6 * * 5L", "0 0 6 * * 5L", "2026-11-27T06:00:00Z"),
    ("cron", "@every 90s", "@every 90s", "2026-11-22T12:01:30Z"),
    ("every", "300s", "5m", "2026-11-22T12:05:00Z"),
    ("times", "(14:00, 09:00)", "09:00,14:00 1111111", "2026-11-22T14:00:00Z"),
    ("window", "09:00-17:00-60 1111100", "09:00-17:00-60 1111100", "2026-11-23T09:00:00Z"),
    ("ordinal", "last friday of every month (06:00, 14:00)", "last friday 06:00,14:00", "2026-11-27T06:00:00Z"),
    ("rrule", "DTSTART:20260101T060000\nRRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1", None, "2026-11-30T06:00:00Z"),
    ("once", "2026-12-01 02:00", "2026-12-01T02:00:00Z", "2026-12-01T02:00:00Z"),
    ("on_demand", "", "", None),
])
def test_every_kind(kind, expr, canonical, first):
    found = answer("cron", "next", expr, "--kind", kind, "--from", "2026-11-22T12:00:00Z", "--count", "1")
    assert found["kind"] == kind and (canonical is None or found["expr"] == canonical)
    assert [t["utc"] for t in found["next"]] == ([first] if first else [])
    text = takt("cron", "check", expr, "--kind", kind, "--from", "2026-11-22T12:00:00Z").stdout
    assert text and ("never" in text) == (first is None)


def test_h_needs_a_task():
    p = takt("cron", "next", "H 3 * * *", code=2)
    assert "minute" in p.stderr and "--task" in p.stderr
    ids = ["0192f0c1-aaaa-7bbb-8ccc-0123456789ab", "0192f0c1-aaaa-7bbb-8ccc-0123456789ac", "0192f0c1-aaaa-7bbb-8ccc-0123456789ad"]
    at = [takt("cron", "next", "H 3 * * *", "--task", i, "--count", "1").stdout for i in ids]
    assert len(set(at)) > 1 and all("T03:" in t for t in at)
    assert takt("cron", "next", "H 3 * * *", "--task", ids[0].upper(), "--count", "1").stdout == at[0]
    assert "--task" in takt("cron", "next", "H 3 * * *", "--task", "first", code=2).stderr


def test_effective_from_and_until():
    found = answer("cron", "next", "5h", "--kind", "every", "--from", "2026-01-01 00:00", "--effective-from", "2026-02-01 00:00",
                   "--effective-until", "2026-02-01 08:00")
    assert [t["utc"] for t in found["next"]] == ["2026-02-01T00:00:00Z", "2026-02-01T05:00:00Z"]


def test_times_may_be_relative():
    a, b = (takt("cron", "next", "0 0 1 1 *", "--from", t, "--count", "1").stdout for t in ("+1s", "+366d"))
    assert a < b


def test_check_tells_what_clock_changes_do():
    args = ["--zone", "Europe/Berlin", "--from", "2026-01-01 00:00"]
    changes = answer("cron", "check", "30 2 * * *", *args)["clock_changes"]
    assert [(c["due"], c["what"], c["runs_at"]) for c in changes] == [
        ("2026-03-29T02:30:00", "moved", ["2026-03-29T01:00:00Z"]),
        ("2026-10-25T02:30:00", "first_of_two", ["2026-10-25T00:30:00Z"]),
        ("2027-03-28T02:30:00", "moved", ["2027-03-28T01:00:00Z"]),
        ("2027-10-31T02:30:00", "first_of_two", ["2027-10-31T00:30:00Z"])]
    whats = lambda *more: [c["what"] for c in answer("cron", "check", *more, *args)["clock_changes"]][:2]  # noqa: E731
    assert whats("30 2 * * *", "--dst-gap", "skip", "--dst-fold", "both") == ["skipped_gap", "both"]
    assert whats("30 2 * * *", "--dst-fold", "second") == ["moved", "second_of_two"]
    assert whats("0 4 * * *") == []
    assert whats("30m", "--kind", "every") == []
    many = answer("cron", "check", "* * * * * *", *args)
    assert len(many["clock_changes"]) == 200 and many["clock_changes_more"] > 0
    text = takt("cron", "check", "30 2 * * *", *args).stdout
    assert "2026-03-29 02:30:00" in text and "03:00 CEST" in text and "2026-10-25 02:30:00" in text


@pytest.mark.parametrize("args,says", [
    (["0 9 * * *", "--kind", "sometimes"], ["--kind", "sometimes", "rrule"]),
    (["0 9 * * *", "--zone", "Mars/Base"], ["--zone", "Mars/Base"]),
    (["0 9 * * *", "--from", "yesterday"], ["--from", "yesterday", "+90m"]),
    (["0 9 * * *", "--count", "0"], ["--count", "'0'", "10000"]),
    (["0 9 * * *", "--count", "10001"], ["--count", "10001"]),
    (["0 9 * * *", "--on-hit", "never"], ["--on-hit", "never", "next_business_day"]),
    (["0 9 * * *", "--dst-gap", "x"], ["--dst-gap"]),
    (["0 9 * * *", "--dst-fold", "x"], ["--dst-fold"]),
    (["0 25 * * *"], ["hour", "'25'", "0 to 23"]),
    (["09:00 0000000", "--kind", "times"], ["weekdays"]),
    (["x" * 300], ["256"]),
    (["1s", "--kind", "every", "--skip-calendar", "us-federal", "--on-hit", "next_business_day"], ["hit"]),
])
def test_bad_input_names_field_value_and_remedy(args, says):
    for verb in ("next", "check"):
        p = takt("cron", verb, *args, code=2)
        assert p.stdout == "" and all(s in p.stderr for s in says) and "(" in p.stderr, p
