# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""`takt why`, `takt task occurrences` and `takt forecast`, against a running Takt."""
import json
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from dev import HELLO, Dev, wait_until  # noqa: E402


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


# --- why, occurrences, forecast

def test_why_of_a_run_that_was_due(dev):
    t = task(dev, "every second", schedule={"every": "1s"})
    fired = wait_until(lambda: dev.json("task", "occurrences", t["id"], "--decision", "fired"), 60, "a run")[-1]
    dev.ok("task", "disable", t["id"])
    assert fired["rule"] == "due" and fired["run"]["code"]
    answer = dev.json("why", t["id"], fired["due_at"])
    assert (answer["answer"], answer["rule"], answer["run"]["id"]) == ("fired", "due", fired["run"]["id"])
    text = dev.ok("why", "every second", fired["due_at"])
    assert answer["sentence"] in text and fired["run"]["code"] in text and re.search(r"^rule +due$", text, re.M)
    table = dev.ok("task", "occurrences", "every second", "--limit", "3")
    assert "RULE" in table and "due" in table
    assert dev.json("task", "occurrences", t["id"], "--to", "2026-01-01 00:00", "--zone", "Asia/Tokyo") == []


def test_why_of_times_to_come(dev):
    t = task(dev, "asked", schedule={"cron": "0 9 * * *", "timezone": "America/New_York", "exclude": ["us-federal"]})
    will = dev.json("why", t["id"], "2039-12-23 09:00")
    assert (will["answer"], will["rule"], will["due_at"]) == ("will_fire", "will_fire", "2039-12-23T14:00:00Z")
    skip = dev.json("why", t["id"], "2039-11-24 09:00")  # Thanksgiving
    assert (skip["answer"], skip["rule"]) == ("will_skip", "calendar.exclude")
    assert "us-federal" in dev.ok("why", "asked", "2039-11-24 09:00")
    assert dev.json("why", t["id"], "2039-12-23 10:00")["answer"] == "not_due"
    assert dev.json("why", t["id"], "2039-12-23 15:00", "--zone", "Europe/Berlin")["due_at"] == "2039-12-23T14:00:00Z"
    assert dev.json("why", t["id"], "+30d")["answer"] in ("will_fire", "will_skip", "not_due")
    assert dev.json("why", t["id"])["rule"]
    assert "when" in refused(dev, 2, "why", t["id"], "when")
    assert "Mars/Base" in refused(dev, 2, "why", t["id"], "2039-12-23 15:00", "--zone", "Mars/Base")
    assert "nobody" in refused(dev, 3, "why", "nobody")


def test_forecast(dev):
    t = task(dev, "foreseen", schedule={"cron": "0 9 * * *", "timezone": "America/New_York", "exclude": ["target"]})
    found = dev.json("forecast", "--from", "2039-12-24 00:00", "--to", "2039-12-28 00:00", "--zone", "America/New_York")
    mine = [i for i in found["items"] if i["task_id"] == t["id"]]
    assert [(i["due_at"], i["skipped"]) for i in mine] == [
        ("2039-12-24T14:00:00Z", None), ("2039-12-25T14:00:00Z", "calendar"), ("2039-12-26T14:00:00Z", "calendar"),
        ("2039-12-27T14:00:00Z", None)]
    assert [i["due_at"] for i in found["items"]] == sorted(i["due_at"] for i in found["items"])
    table = dev.ok("forecast", "--from", "2039-12-24 00:00", "--to", "2039-12-28 00:00")
    assert "foreseen" in table and "skipped: Christmas Day" in table and f"{found['total']} due" in table
    few = dev.takt("forecast", "--from", "2039-12-24 00:00", "--to", "2039-12-28 00:00", "--limit", "2")
    assert few.returncode == 0 and "--limit" in few.stderr
    assert "--from" in refused(dev, 2, "forecast", "--from", "someday")
    assert "--limit" in refused(dev, 2, "forecast", "--limit", "0")
