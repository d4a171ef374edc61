# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Schedules for the clock campaign: every catch-up policy with every overlap policy, with and without jitter, over kinds, zones
and policies for clock changes in turn; and the sparse kinds and calendars. Names say what they are.

The server's clock begins in the night in which Berlin's clocks go forward, on a Sunday; Sydney's go back six days later.
"""
import itertools
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

GAP = datetime(2027, 3, 28, 1, tzinfo=timezone.utc)         # Berlin: 2:00 is 3:00
FOLD = datetime(2027, 4, 3, 16, tzinfo=timezone.utc)        # Sydney: 3:00 is 2:00
CATCH_UP = {
    "latest": {"catch_up": "latest"},
    "none": {"catch_up": "none"},
    "all3": {"catch_up": "all", "catch_up_limit": 3},
    "all3d": {"catch_up": "all", "catch_up_limit": 3, "catch_up_deadline_seconds": 25},
}
OVERLAP = {"queue": {"overlap": "queue"}, "skip": {"overlap": "skip"}, "replace": {"overlap": "replace"},
           "parallel2": {"overlap": "parallel", "overlap_limit": 2}}
ZONES = ("Europe/Berlin", "Australia/Sydney", "UTC", "America/New_York", "Australia/Lord_Howe")
CHANGES = tuple(itertools.product(("run_at_gap_end", "skip"), ("first", "second", "both")))
KINDS = ("cron", "every", "fixed", "rrule")
CALENDARS = {"shut": (1, 3), "open": (0, 1, 2, 4)}  # days after the first one
SHORT = (1, 2, 8, 13, 18, 21, 23, 25, 30)  # of the short form: each policy, some runs that expire
START_DEADLINE_S = 3


def _dense(kind, period, start, zone):
    """Every few seconds, in that kind."""
    if kind == "every":
        return {"kind": "every", "expr": f"{period}s"}
    if kind == "rrule":
        begin = start.astimezone(ZoneInfo(zone)).strftime("%Y%m%dT%H%M%S")
        return {"kind": "rrule", "expr": f"DTSTART:{begin}\nRRULE:FREQ=SECONDLY;INTERVAL={period}"}
    if kind == "fixed":  # neither minute nor hour begins with *: policies for clock changes hold
        return {"kind": "cron", "expr": f"*/{period} 0-59 0-23 * * *"}
    return {"kind": "cron", "expr": f"*/{period} * * * * *"}


def _work(period, n, overlap):
    """(task type, parameters): some are over before the next due time, or the one after it, some are not."""
    if n % 5 == 4:
        return "hello", {}
    length = period * (0.7, 1.6, 1.3, 2.2)[n % 5] * (2 if overlap == "parallel2" else 1)
    return "witness", {"steps": round(length * 2), "step_ms": 500}


def combinations(start):
    """name -> (task type, parameters, what the task says besides)."""
    found = {}
    for n, (catch_up, overlap, jitter) in enumerate(itertools.product(CATCH_UP, OVERLAP, (0, 5))):
        kind, zone, period = KINDS[(n + n // 4) % len(KINDS)], ZONES[n % len(ZONES)], 3 + n % 5
        gap, fold = CHANGES[n % len(CHANGES)]
        schedule = {**_dense(kind, period, start, zone), "timezone": zone, "dst_gap": gap, "dst_fold": fold, "jitter_seconds": jitter,
                    **CATCH_UP[catch_up], **({"start_deadline_seconds": START_DEADLINE_S} if n % 8 == 0 else {}),
                    **({"exclude": ["shut"]} if n % 8 == 6 else {})}
        found[f"{catch_up} {overlap} jitter {jitter} {kind}"] = (*_work(period, n, overlap), {"schedule": schedule, **OVERLAP[overlap]})
    return found


def _clock(start, zone, step_s, n):
    """So many times of day from a quarter of an hour before the start on."""
    first = start.astimezone(ZoneInfo(zone)) - timedelta(minutes=15)
    return ",".join(sorted({(first + timedelta(seconds=step_s * i)).strftime("%H:%M:%S" if step_s % 60 else "%H:%M") for i in range(n)}))


def sparse(start):
    """The other kinds, calendars and effective times."""
    each = {
        "times, to the next business day": {
            "kind": "times", "expr": f"{_clock(start, 'UTC', 100, 26)} 1000001", "exclude": ["shut"], "on_hit": "next_business_day"},
        "times, to the business day before": {
            "kind": "times", "expr": f"{_clock(start, 'Europe/Berlin', 100, 26)} 1111111", "timezone": "Europe/Berlin", "exclude": ["shut"],
            "on_hit": "previous_business_day", "catch_up": "all", "catch_up_limit": 3},
        "window on open days": {
            "kind": "window", "expr": "00:00-23:59-1 1111111", "timezone": "Europe/Berlin", "include": ["open"], "catch_up": "none"},
        "ordinal": {
            "kind": "ordinal", "expr": f"last sunday {_clock(start, 'America/New_York', 60, 40)}", "timezone": "America/New_York",
            "catch_up": "none", "dst_gap": "skip"},
        "once": {"kind": "once", "expr": (start + timedelta(seconds=75)).strftime("%Y-%m-%dT%H:%M:%SZ")},
        "cron on open days": {"kind": "cron", "expr": "*/10 * * * * *", "include": ["open"], "exclude": ["shut"], "jitter_seconds": 5},
        "for a while": {
            "kind": "every", "expr": "5s", "effective_from": (start + timedelta(seconds=20)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "effective_until": (start + timedelta(seconds=80)).strftime("%Y-%m-%dT%H:%M:%SZ")},
    }
    return {name: ("hello", {}, {"schedule": {"timezone": "UTC", **s}, "overlap": "parallel"}) for name, s in each.items()}


def calendars(start):
    return {name: {"days": [{"date": str((start + timedelta(days=n)).date()), "reason": f"day {n}"} for n in days]}
            for name, days in CALENDARS.items()}


def schedules(start, is_short=False):
    dense = combinations(start)
    if is_short:
        dense = {name: each for n, (name, each) in enumerate(dense.items()) if n in SHORT}
    return {**dense, **sparse(start)}
