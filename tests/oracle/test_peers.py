# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
croner and cron-parser (pinned in peers/package-lock.json) asked the same as we: equal where the rules are the same, and the table DIFFERS
where they are not, which lib/when/README.md tells in words. npm installs them into the build tree once; without a network these are skipped.
"""

import json
import os
import random
import re
import subprocess
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

import when_cases as cases
import when_oracle as w

TOTAL = int(os.environ.get("TAKT_ORACLE_CASES", "4000")) // 4
COUNT = 12
# What they do not take where we do, and where that shows only in their answer.
REFUSED = {"croner": "can not be in a list|has to be a value of its own", "cron-parser": "duplicate values|Invalid explicit day of month"}


@pytest.fixture(scope="module")
def ask_peers(node_folder):
    """A function: questions to [{"croner": [...], "cron-parser": [...]}]."""

    def ask(questions):
        lines = [json.dumps({k: q[k] for k in ("expr", "zone", "after", "count", "instants")}) for q in questions]
        out = subprocess.run(["node", "ask.js"], cwd=node_folder, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True,
                             timeout=300).stdout
        return [json.loads(line) for line in out.splitlines()]

    return ask


def ours(questions):
    return [a if isinstance(a, str) else [t for t, _ in a] for a in cases.answers(questions)]


def steps_back(expr):
    """A range that runs backwards, which only we know."""
    for i, field in enumerate((["0"] + expr.split())[-6:]):
        for part in field.split(","):
            a, dash, b = part.partition("/")[0].partition("-")
            if dash and a not in ("L",) and w.number(a, i) > w.number(b, i):
                return True
    return False


def same_days(expr):
    """The fields for days mean the same in all: no step after a `*` when both are given, nothing of ours alone."""
    dom, _, dow = expr.split()[-3:]
    both = dom not in "*?" and dow not in "*?"
    return not steps_back(expr) and not (both and "*" in dom + dow) and not re.search(r"L-|H", " ".join((dom, expr.split()[0])))


def croner_means_the_same(expr):
    """A fixed time for croner has no `*` and no step; for us it has no `*` in front of minute or hour."""
    *second, minute, hour = expr.split()[:-3]
    if minute[0] == "*" or hour[0] == "*":
        return True
    return not re.search(r"[*/]", "".join((*second, minute, hour)))


def cron_parser_knows(expr):
    dom, _, dow = expr.split()[-3:]
    return not re.search(r"W|\?,|,\?", dom) and not ("#" in dow and "," in dow) and not re.search(r"-sun", dow, re.I)


def questions(rng):
    zones = [w.zone_of(z) for z in cases.ZONES]
    while True:
        zone = rng.choice(zones)
        after = rng.randrange(cases.at("2000-01-01"), cases.at("2040-01-01"), w.MINUTE)
        if zone.changes and rng.random() < 0.7:
            after = rng.choice([c for c in zone.changes if c > cases.at("2000-01-01")]) - rng.randint(0, 40 * 60) * w.MINUTE
        writer = cases.Writer(rng).near(zone.local(after) + rng.randint(0, 45 * 60) * w.MINUTE)
        _, expr = writer.cron()
        if "H" not in expr.upper().replace("THU", "").replace("MARCH", "") and same_days(expr):
            yield {"kind": "cron", "expr": expr, "zone": zone.tz.key, "gap": "run_at_gap_end", "fold": "first", "after": after,
                   "count": COUNT}


def jumps(q, until):
    """The largest change of the clock on the way, and for the days around it."""
    zone = w.zone_of(q["zone"])
    sizes = [abs(w.offset(zone.tz, c) - w.offset(zone.tz, c - 1)) for c in zone.changes if q["after"] - w.DAY < c <= until + w.DAY]
    return max(sizes, default=0)


def has_our_zones(q, theirs):
    """Node brings zone data of its own, which may be older than the system's."""
    tz = w.zone_of(q["zone"]).tz
    return [w.offset(tz, t) for t in q["instants"]] == theirs["offsets"]


def test_peers_agree_where_the_rules_do(capsys, ask_peers):
    rng = random.Random(cases.SEED + 5)
    made = [q for _, q in zip(range(TOTAL), questions(rng))]
    answers = ours(made)
    for q, mine in zip(made, answers):
        q["instants"] = [t + d for t in (q["after"], *mine) for d in (-w.DAY, 0, w.DAY)]
    compared, wrong, across, other_zone = {"croner": 0, "cron-parser": 0}, [], 0, 0
    for q, mine, theirs in zip(made, answers, ask_peers(made)):
        if not has_our_zones(q, theirs):
            other_zone += 1
            continue
        jump = jumps(q, mine[-1] if mine else q["after"])
        agreed = {"croner": jump == 0 or (jump < w.NEW_CLOCK and croner_means_the_same(q["expr"])),
                  "cron-parser": jump == 0 and cron_parser_knows(q["expr"])}
        for name in (n for n in agreed if agreed[n] and not re.search(REFUSED[n], str(theirs[n]))):
            compared[name] += 1
            across += jump > 0
            if theirs[name] != mine:
                wrong.append(f"{cases.line_of(q)}  # {name} {str(theirs[name])[:200]}, ours {str(mine)[:200]}")
    with capsys.disabled():
        print(f"\npeers: {compared} cases compared, {across} of them across a clock change; {other_zone} left out because Node's zone data "
              f"differ; {len(wrong)} differ")
        print("\n".join(wrong[:12]))
    assert not wrong
    assert compared["croner"] > TOTAL * 0.5 and compared["cron-parser"] > TOTAL * 0.2


# Where they differ: expression, zone, asked at (local), our next two, those of croner (with fixedTimeRule "no-wildcard") and cron-parser.
# "=": as ours.
DIFFERS = [
    # A time in a gap: at its end, once.
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "03-29 03:00, 03-30 02:30", "=", "03-29 03:30, 03-30 02:30"),
    ("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "03-29 03:00, 03-30 02:00", "=", "03-29 03:00, 03-29 03:30"),
    ("30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", "03-29 03:00, 03-29 03:30", "=", "03-29 03:30, 03-30 02:30"),
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", "10-04 02:30, 10-05 02:15", "=", "10-05 02:15, 10-06 02:15"),
    # A step without `*` does not follow the wall clock; a `*` in front of minute or hour does.
    ("0-59/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "03-29 03:00, 03-30 02:00", "03-30 02:00, 03-30 02:30",
     "03-29 03:00, 03-29 03:30"),
    ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "03-30 02:00, 03-30 02:30", "=", "03-29 03:00, 03-29 03:30"),
    ("0 */2 * * *", "Europe/Berlin", "2026-03-29T01:00", "03-29 04:00, 03-29 06:00", "=", "03-29 03:00, 03-29 04:00"),
    ("30 */2 * * *", "Europe/Berlin", "2026-10-25T01:00", "10-25 02:30, 10-25 02:30", "=", "10-25 02:30, 10-25 04:30"),
    # A new clock of three hours or more: nothing made up, what is shown again runs again.
    ("30 3 * * *", "Antarctica/Casey", "2009-10-17T12:00", "10-19 03:30, 10-20 03:30", "10-18 05:00, 10-19 03:30",
     "10-18 05:30, 10-19 03:30"),
    ("30 23 * * *", "Antarctica/Casey", "2010-03-04T12:00", "03-04 23:30, 03-04 23:30", "03-04 23:30, 03-05 23:30", "="),
    # Both day fields, one of them with a `*` in front: both must match.
    ("0 0 */2 * MON", "UTC", "2026-01-01T12:00", "01-05 00:00, 01-19 00:00", "01-03 00:00, 01-05 00:00", "01-03 00:00, 01-05 00:00"),
    ("0 0 13 * */2", "UTC", "2026-01-01T12:00", "01-13 00:00, 06-13 00:00", "01-03 00:00, 01-04 00:00", "01-03 00:00, 01-04 00:00"),
    # Ranges.
    ("0 22-4/2 * * *", "UTC", "2026-01-01T12:00", "01-01 22:00, 01-02 00:00", "refused", "refused"),
    ("0 0 * * FRI-SUN", "UTC", "2026-01-03T12:00", "01-04 00:00, 01-09 00:00", "=", "refused"),
    ("0 0 * * SAT-MON", "UTC", "2026-01-01T12:00", "01-03 00:00, 01-04 00:00", "refused", "refused"),
    ("0 0 1 NOV-FEB *", "UTC", "2026-01-01T12:00", "02-01 00:00, 11-01 00:00", "refused", "refused"),
    ("16,0-59 * * * *", "UTC", "2026-01-01T12:00", "01-01 12:01, 01-01 12:02", "=", "refused"),
    ("5/15 * * * *", "UTC", "2026-01-01T12:00", "refused", "=", "01-01 12:05, 01-01 12:20"),
    # Special days.
    ("0 0 L-3 * *", "UTC", "2026-01-01T12:00", "01-28 00:00, 02-25 00:00", "refused", "refused"),
    ("0 0 15W * *", "UTC", "2026-02-01T12:00", "02-16 00:00, 03-16 00:00", "=", "refused"),
    ("0 0 LW * *", "UTC", "2026-01-01T12:00", "01-30 00:00, 02-27 00:00", "=", "refused"),
    ("0 0 1,LW * *", "UTC", "2026-01-01T12:00", "01-30 00:00, 02-01 00:00", "refused", "refused"),
    ("0 0 L-3,15 * *", "UTC", "2026-01-01T12:00", "01-15 00:00, 01-28 00:00", "refused", "refused"),
    ("0 0 * * 1#1,5L", "UTC", "2026-01-01T12:00", "01-05 00:00, 01-30 00:00", "=", "refused"),
    ("0 0 31 2 *", "UTC", "2026-01-01T12:00", "never", "=", "refused"),
    ("@midnight", "UTC", "2026-01-01T12:00", "01-02 00:00, 01-03 00:00", "=", "refused"),
]


def told(answer, zone):
    if isinstance(answer, str):
        return "refused"
    return ", ".join(f"{datetime.fromtimestamp(t, ZoneInfo(zone)):%m-%d %H:%M}" for t in answer) or "never"


def test_differences_from_peers_are_as_the_manual_says(ask_peers):
    asked = [{"kind": "cron", "expr": expr, "zone": zone, "gap": "run_at_gap_end", "fold": "first", "hash_key": "x", "count": 2,
              "after": int(datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone)).timestamp()), "instants": []}
             for expr, zone, after, *_ in DIFFERS]
    mine = [told(a, q["zone"]) for a, q in zip(ours(asked), asked)]
    theirs = ask_peers(asked)
    wrong = []
    for (expr, zone, after, *expected), own, answer in zip(DIFFERS, mine, theirs):
        got = [own, *(told(answer[name], zone) for name in ("croner", "cron-parser"))]
        if got != [expected[0] if e == "=" else e for e in expected]:
            wrong.append((expr, zone, after, *got))
    assert not wrong, "\n".join(map(str, wrong))
