# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
The cron engine against second opinions: a simulation that steps through all minutes (for six fields: the seconds) of a few days on
Python's zoneinfo and applies the rules of lib/when/README.md as they are written there, and croniter (in UTC only: it is wrong at
clock changes and for `*/2` with a weekday). test_when_oracle.py knows the other kinds and looks further ahead.

The C side is the filter cron-batch; TAKT_BUILD names the build directory. TAKT_SEED varies the cases.
"""

import os
import random
import subprocess
import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo, available_timezones

BUILD = os.environ.get("TAKT_BUILD", "/work/main/build")
SEED = int(os.environ.get("TAKT_SEED", "20261122"))
MINUTE, HOUR, DAY = 60, 3600, 86400
NEW_CLOCK = 3 * HOUR
MARGIN = 30 * HOUR

# Zones whose clocks have done something unusual, with a day of it where a scan should not miss it.
SPECIAL = {
    "Australia/Lord_Howe": [], "Antarctica/Troll": [], "Europe/Dublin": ["1972-10-29"],
    "Pacific/Apia": ["2011-12-30"], "Pacific/Fakaofo": ["2011-12-30"], "Pacific/Kwajalein": ["1993-08-21"],
    "Pacific/Kiritimati": ["1994-12-31"], "Pacific/Kanton": ["1994-12-31"],
    "Antarctica/Casey": ["2009-10-17", "2010-03-04", "2018-03-10", "2020-10-03", "2023-03-08"],
    "Antarctica/Vostok": ["2023-12-17"], "Antarctica/Davis": ["2009-10-17", "2010-03-10"],
    "Africa/Casablanca": ["2019-05-05", "2026-02-15"], "Africa/El_Aaiun": [], "America/Scoresbysund": ["2024-03-31"],
    "America/Nuuk": ["2023-03-25", "2024-03-30"], "Asia/Pyongyang": ["2015-08-14", "2018-05-04"],
    "America/Caracas": ["2007-12-09", "2016-05-01"], "Asia/Kathmandu": ["1985-12-31"],
    "Asia/Singapore": ["1981-12-31"], "America/Sao_Paulo": [], "America/Havana": [], "America/Santiago": [],
    "America/Asuncion": [], "Asia/Beirut": [], "Africa/Cairo": [], "Asia/Amman": [], "Asia/Damascus": [],
    "Asia/Tehran": [], "Asia/Gaza": [], "Atlantic/Azores": [], "Europe/Volgograd": [], "Pacific/Chatham": [],
    "Pacific/Norfolk": [], "Pacific/Bougainville": ["2014-12-27"], "America/Metlakatla": ["2018-11-04"],
    "America/St_Johns": ["1988-04-03", "1988-10-30"], "America/New_York": [], "Europe/Berlin": [],
    "US/Eastern": [], "Asia/Kolkata": [], "Australia/Eucla": [], "Pacific/Easter": [], "Asia/Colombo": ["1996-10-26"],
    "Africa/Juba": ["2021-01-31"], "Europe/Samara": [], "Asia/Chita": [], "Asia/Choibalsan": [], "UTC": [],
}

# By field: second, minute, hour, day of month, month, day of week. Five fields lack the second.
NAMES = {
    4: {n: i + 1 for i, n in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split())},
    5: {n: i for i, n in enumerate("SUN MON TUE WED THU FRI SAT".split())},
}
BOUNDS = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


# --- the simulation -------------------------------------------------------------------------------


def values(field, i):
    """The set of numbers that a field's text allows."""
    out = set()
    lo, hi = BOUNDS[i]
    number = lambda s: NAMES[i][s.upper()] if s.upper() in NAMES.get(i, {}) else int(s)
    for part in field.split(","):
        rng, _, step = part.partition("/")
        if rng == "*":
            first, last = lo, hi
        elif "-" in rng:
            first, last = (number(x) for x in rng.split("-"))
        else:
            first = last = number(rng)
        out.update(range(first, last + 1, int(step or 1)))
    if i == 5:
        out = {v % 7 for v in out}
    return out


class Expression:
    def __init__(self, text):
        fields = (["0"] + text.split())[-6:]
        self.sets = [values(f, i) for i, f in enumerate(fields)]
        self.days_both = fields[3].startswith("*") or fields[5].startswith("*")
        self.wall = fields[1].startswith("*") or fields[2].startswith("*")

    def matches(self, local):
        s, mi, h, dom, mon, dow = local
        if s not in self.sets[0] or mi not in self.sets[1] or h not in self.sets[2] or mon not in self.sets[4]:
            return False
        a, b = dom in self.sets[3], dow in self.sets[5]
        return (a and b) if self.days_both else (a or b)


def fields_of(naive):
    return (naive.second, naive.minute, naive.hour, naive.day, naive.month, naive.isoweekday() % 7)


class Clock:
    """What a wall clock in a zone shows, minute after minute (or second), and where it was changed."""

    def __init__(self, zone, start, end, step=MINUTE, margin=MARGIN):
        tz = ZoneInfo(zone)
        self.start, self.end = start, end
        self.shown = []  # (utc, local fields)
        self.missed = {}  # utc of a change forward -> local fields that never were shown
        self.again = set()  # instants whose local time was shown before
        self.to_come = set()  # instants whose local time will be shown again
        before = None
        for utc in range(start - margin, end + margin, step):
            d = datetime.fromtimestamp(utc, tz)
            off = d.utcoffset()
            off = off.days * DAY + off.seconds
            assert off % MINUTE == 0, (zone, utc)
            if start <= utc <= end:
                self.shown.append((utc, fields_of(d)))
            if before is not None and off != before and abs(off - before) < NEW_CLOCK:
                if off > before:
                    skipped = range(utc + before, utc + off, step)
                    self.missed[utc] = [fields_of(datetime.fromtimestamp(s, timezone.utc)) for s in skipped]
                else:
                    self.again.update(range(utc, utc + before - off, step))
                    self.to_come.update(range(utc - (before - off), utc, step))
            before = off


def simulate(expr, clock, gap, fold, after):
    e = Expression(expr)
    silent = set()
    if not e.wall:
        silent = {"first": clock.again, "second": clock.to_come, "both": set()}[fold]
    fired = []
    seconds, minutes = e.sets[:2]
    for utc, local in clock.shown:
        due = local[1] in minutes and local[0] in seconds and utc not in silent and e.matches(local)
        if not due and utc in clock.missed and not e.wall and gap == "run_at_gap_end":
            due = any(e.matches(m) for m in clock.missed[utc])
        if due and utc > after:
            fired.append(utc)
    return fired


# --- cases ----------------------------------------------------------------------------------------


def offset(tz, utc):
    return datetime.fromtimestamp(utc, tz).utcoffset()


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())


def changes_of(zone, start, end):
    """Minutes at which the offset changes, found by a day's steps and halving."""
    tz = ZoneInfo(zone)
    found = []
    before = offset(tz, start)
    for t in range(start + DAY, end, DAY):
        now = offset(tz, t)
        if now != before:
            lo, hi = t - DAY, t
            while hi - lo > MINUTE:
                mid = (lo + hi) // 2 // MINUTE * MINUTE
                lo, hi = (mid, hi) if offset(tz, mid) == before else (lo, mid)
            found.append(hi)
            before = now
    return found


def some_list(rng, pool, n):
    return ",".join(str(v) for v in sorted(rng.sample(pool, min(n, len(pool)))))


def random_field(rng, i, near=None):
    """One field's text; near: a value that makes it interesting."""
    lo, hi = BOUNDS[i]
    pool = list(range(lo, hi + 1))
    kind = rng.randrange(8)
    if kind == 0:
        return f"*/{rng.randint(1, min(hi, 30))}"
    if kind == 1:
        return "*"
    if kind == 2 and near is not None:
        a = max(lo, near - rng.randint(0, 2))
        return f"{a}-{min(hi, near + rng.randint(0, 2))}"
    if kind == 3:
        a = rng.randint(lo, hi)
        return f"{a}-{rng.randint(a, hi)}/{rng.randint(1, 5)}"
    if kind == 4:
        return some_list(rng, pool, rng.randint(2, 5))
    if kind == 5:
        return f"{lo}-{hi if i != 5 else 6}"
    if kind == 6 and i in NAMES:
        names = list(NAMES[i])
        a = rng.randrange(len(names))
        return rng.choice([names[a], f"{names[a]}-{names[rng.randrange(a, len(names))]}".title()])
    return str(near if near is not None and rng.random() < 0.8 else rng.choice(pool))


def random_expression(rng, near):
    """near: local fields of a minute that the expression should be about."""
    minute = random_field(rng, 1, near[1])
    hour = random_field(rng, 2, near[2])
    dom = "*" if rng.random() < 0.6 else random_field(rng, 3, near[3])
    month = "*" if rng.random() < 0.8 else random_field(rng, 4, near[4])
    dow = "*" if rng.random() < 0.6 else random_field(rng, 5, near[5])
    return f"{minute} {hour} {dom} {month} {dow}"


def windows_of(rng, zone, days):
    """(change or None, start, end): mostly around clock changes, some long, some anywhere."""
    first, last = at("1973-01-01"), at("2060-01-01")
    changes = changes_of(zone, first, last)
    picked = []
    for day in days:
        picked += [c for c in changes_of(zone, at(day) - 2 * DAY, at(day) + 2 * DAY)]
    picked += rng.sample(changes, min(4, len(changes)))
    for c in picked:
        start = c - rng.randint(0, 40) * HOUR
        yield c, start, start + rng.choice([2, 2, 3, 3, 4, 8]) * DAY
    start = rng.randrange(first, last, MINUTE)
    yield None, start, start + 3 * DAY


def make_cases(rng, zones):
    for zone, days in zones:
        tz = ZoneInfo(zone)
        for change, start, end in windows_of(rng, zone, days):
            clock = Clock(zone, start, end)
            for _ in range(9 if change is not None else 2):
                # A minute just before, inside or after the change, as the clock before it would have shown it.
                if change is None:
                    near = rng.choice(clock.shown)[1]
                else:
                    shown = change + int(offset(tz, change - MINUTE).total_seconds())
                    near = fields_of(datetime.fromtimestamp(shown + rng.randint(-90, 90) * MINUTE, timezone.utc))
                after = start
                if change is not None and rng.random() < 0.3:
                    after = change + rng.choice([-1, 0, 1, -MINUTE, 30 * MINUTE, -30 * MINUTE])
                    after = max(after, start)
                yield (random_expression(rng, near), zone, rng.choice(["run_at_gap_end"] * 2 + ["skip"]),
                       rng.choice(["first", "first", "second", "both"]), after, clock)


def choose_zones(rng, count):
    """Every zone that ends on whole minutes in the years looked at, the special ones first."""
    others = sorted(z for z in available_timezones()
                    if z not in SPECIAL and "/" in z and not z.startswith(("posix/", "right/", "SystemV/")))
    rng.shuffle(others)
    return list(SPECIAL.items()) + [(z, []) for z in others[: count - len(SPECIAL)]]


def ask(lines):
    out = subprocess.run([os.path.join(BUILD, "tests/oracle/cron-batch")], input="\n".join(lines) + "\n",
                         capture_output=True, text=True, check=True, timeout=120).stdout.split("\n")
    assert len(out) == len(lines) + 1
    return out[:-1]


def say(capsys, text):
    with capsys.disabled():
        print("\n" + text)


# --- the tests ------------------------------------------------------------------------------------


def seconds_cases(rng, zones):
    """Six fields. Seconds are stepped through, so the windows are hours, around a clock change."""
    first, last = at("1973-01-01"), at("2060-01-01")
    for zone, days in zones:
        changes = [c for d in days for c in changes_of(zone, at(d) - 2 * DAY, at(d) + 2 * DAY)]
        changes = changes or changes_of(zone, first, last)
        change = rng.choice(changes) if changes else rng.randrange(first, last, MINUTE)
        start = change - rng.randint(1, 2 * HOUR)
        clock = Clock(zone, start, change + rng.randint(HOUR, 2 * HOUR), step=1, margin=NEW_CLOCK + 1)
        shown = change + int(offset(ZoneInfo(zone), change - MINUTE).total_seconds())
        for _ in range(7):
            near = fields_of(datetime.fromtimestamp(shown + rng.randint(-90 * MINUTE, 90 * MINUTE), timezone.utc))
            after = max(start, change + rng.choice([-HOUR, -61, -1, 0, 1, 61, HOUR]) if rng.random() < 0.4 else start)
            yield (random_field(rng, 0, near[0]) + " " + random_expression(rng, near), zone,
                   rng.choice(["run_at_gap_end"] * 2 + ["skip"]), rng.choice(["first", "first", "second", "both"]),
                   after, clock)


def test_cron_agrees_with_minute_stepping(capsys):
    rng = random.Random(SEED)
    compare(capsys, make_cases(rng, choose_zones(rng, 130)), cases_min=2000, zones_min=100, each_min=50)


def test_six_fields_agree_with_second_stepping(capsys):
    rng = random.Random(SEED + 3)
    compare(capsys, seconds_cases(rng, choose_zones(rng, 110)), cases_min=700, zones_min=100, each_min=15)


def compare(capsys, made, cases_min, zones_min, each_min):
    began = time.monotonic()
    cases, expected, lines = [], [], []
    for expr, zone, gap, fold, after, clock in made:
        want = simulate(expr, clock, gap, fold, after)
        expected.append(want)
        cases.append((expr, zone, gap, fold, after, clock.end, clock))
        lines.append(f"{expr}\t{zone}\t{gap}\t{fold}\t{after}\t{len(want) + 1}")
    wrong, fired, moved, repeated, silent = [], 0, 0, 0, 0
    for case, want, line in zip(cases, expected, ask(lines)):
        marks = line.split()
        got = [int(t.rstrip("*+")) for t in marks] if not line.startswith("error") else line
        inside = [t for t in got if t <= case[5]] if isinstance(got, list) else got
        if inside != want:
            wrong.append((case[:5], want[:6], got[:6]))
            continue
        fired += len(want)
        moved += any(m.endswith("*") for m in marks[: len(want)])
        repeated += any(m.endswith("+") for m in marks[: len(want)])
        silent += bool(case[6].again) and not any(m.endswith("+") for m in marks[: len(want)])
    say(capsys, f"cron: {len(cases)} cases over {len({c[1] for c in cases})} zones, {fired} occurrences compared; "
                f"{moved} cases with a run moved to a gap's end, {repeated} with repeated local times run again, "
                f"{silent} with a fold and none; {time.monotonic() - began:.0f} s")
    assert not wrong, f"{len(wrong)} differ, first: {wrong[:3]}"
    assert len(cases) >= cases_min and len({c[1] for c in cases}) >= zones_min
    assert moved >= each_min and repeated >= each_min and silent >= each_min


def test_cron_agrees_with_croniter_in_utc(capsys):
    from croniter import croniter

    rng = random.Random(SEED + 2)
    lines, want = [], []
    while len(lines) < 600:
        start = rng.randrange(at("1980-01-01"), at("2080-01-01"), MINUTE)
        expr = random_expression(rng, fields_of(datetime.fromtimestamp(start, timezone.utc)))
        f = expr.split()
        if f[2] != "*" and f[4] != "*" and (f[2] + f[4]).count("*"):
            continue  # where it is known to differ: `*/n` in one day field with both set
        if len(values(f[2], 3)) == 31 or len(values(f[4], 5)) == 7:
            f[2:5:2] = ["*" if len(values(f[i], i + 1)) == n else f[i] for i, n in ((2, 31), (4, 7))]
            if " ".join(f) != expr:
                continue  # and where it takes a range of all days, such as 1-31, for a `*`
        try:
            it = croniter(expr, start, ret_type=float, max_years_between_matches=12)
            nexts = [int(it.get_next()) for _ in range(5)]
        except Exception:
            continue  # never, or further away than it looks
        lines.append(f"{expr}\tUTC\trun_at_gap_end\tfirst\t{start}\t5")
        want.append(nexts)
    wrong = [(l, w, g) for l, w, g in zip(lines, want, ask(lines)) if [int(x) for x in g.split()] != w]
    say(capsys, f"croniter: {len(lines)} cases in UTC")
    assert not wrong, wrong[:5]
