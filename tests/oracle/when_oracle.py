# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
What a schedule means, written a second time from lib/when/README.md, for test_when_oracle.py. The offsets are zoneinfo's.

Local days without a clock change are stepped through a day at a time: each of their local times is shown once. Around every change whole
local days are walked minute after minute, as somebody would who looks at the clock. `python3 when_oracle.py JSON` answers one case:
the same JSON object that the C filter when-batch reads.
"""

import calendar
import itertools
import json
import sys
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

MINUTE, HOUR, DAY = 60, 3600, 86400
NEW_CLOCK = 3 * HOUR
FIRST, LAST = 915148800, 2303596800  # 1999 to 2043: the clock changes are known within
EPOCH = date(1970, 1, 1).toordinal()
FAR = 366  # days that a shift to a business day may take at most

MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
DAYS = "SUN MON TUE WED THU FRI SAT".split()
WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
ORDINALS = "first second third fourth fifth".split()
MACROS = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
          "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}
# By field: second, minute, hour, day of month, month, day of week.
BOUNDS = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def civil(day):
    return date.fromordinal(day + EPOCH)


# --- days and times of the kinds ------------------------------------------------------------------


def number(text, i):
    if i == 4 and text.upper() in MONTHS:
        return MONTHS.index(text.upper()) + 1
    if i == 5 and text.upper() in DAYS:
        return DAYS.index(text.upper())
    return int(text)


def cycle(a, b, lo, n):
    """a, the one after it, … up to b, beginning again at lo after n values."""
    while True:
        yield a
        if a == b:
            return
        a = lo + (a - lo + 1) % n


def hashed(key, i):
    """The number that H takes its values from: FNV-1a and murmur3's last step, over the key and the field's index."""
    x = 0xCBF29CE484222325
    for b in key.encode() + bytes([i]):
        x = (x ^ b) * 0x100000001B3 % 2**64
    for k in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = (x ^ x >> 33) * k % 2**64
    return x ^ x >> 33


def spread(rng, step, i, key):
    """H, H(a-b), each with a step or without."""
    lo, hi = [*BOUNDS[:3], (1, 28), (1, 12), (0, 6)][i]
    if len(rng) > 1:
        lo, hi = (number(x, i) for x in rng[2:-1].split("-"))
    x = hashed(key, i)
    return set(range(lo + x % int(step), hi + 1, int(step))) if step else {lo + x % (hi - lo + 1)}


def values(part, i, key=None):
    """The numbers of one part of a list: `*`, `?`, `H`, a value or a range, with or without a step."""
    lo, hi = BOUNDS[i]
    rng, _, step = part.partition("/")
    if rng[0] == "H":
        return spread(rng, step, i, key)
    if step and rng not in "*?" and "-" not in rng:
        raise ValueError("a step needs a * or a range")
    step = int(step or 1)
    if rng in ("*", "?"):
        return set(range(lo, min(hi, 6 if i == 5 else hi) + 1, step))
    if "-" not in rng:
        return {number(rng, i)}
    first, last = (number(x, i) for x in rng.split("-"))
    if i == 5 and rng.upper().endswith("SUN") and first > 0:
        last = 7
    if first <= last:
        return set(range(first, last + 1, step))
    # Backwards: on through the end of the cycle. Of weekdays, 7 is not one of its own.
    n = 7 if i == 5 else hi - lo + 1
    first = first % 7 if i == 5 else first
    return set(itertools.islice(cycle(first, last, lo, n), 0, None, step))


def day_of_month_part(part, y, m, key):
    last = calendar.monthrange(y, m)[1]
    p = part.upper()
    if p == "L":
        return {last}
    if p.startswith("L-"):
        return {last - int(p[2:])} - set(range(-40, 1))
    if p.endswith("W"):
        n = last if p == "LW" else int(p[:-1])
        if n > last:
            return set()
        near = [d for d in range(1, last + 1) if date(y, m, d).weekday() < 5]
        return {min(near, key=lambda d: (abs(d - n), d))}
    return {d for d in values(part, 3, key) if d <= last}


def day_of_week_part(part, y, m, key):
    last = calendar.monthrange(y, m)[1]
    p = part.upper()
    if "#" in p:
        d, n = p.split("#")
        days = [x for x in range(1, last + 1) if date(y, m, x).isoweekday() % 7 == number(d, 5) % 7]
        return set(days[int(n) - 1:int(n)])
    if p.endswith("L"):
        return {max(x for x in range(1, last + 1) if date(y, m, x).isoweekday() % 7 == number(p[:-1], 5) % 7)}
    wanted = {v % 7 for v in values(part, 5, key)}
    return {x for x in range(1, last + 1) if date(y, m, x).isoweekday() % 7 in wanted}


@lru_cache(maxsize=200000)
def cron_month(dom, mon, dow, key, y, m):
    """The days of one month that a cron expression means."""
    if not any(m in values(p, 4, key) for p in mon.split(",")):
        return frozenset()
    a = set().union(*(day_of_month_part(p, y, m, key) for p in dom.split(",")))
    b = set().union(*(day_of_week_part(p, y, m, key) for p in dow.split(",")))
    return frozenset(a & b if dom[0] in "*?" or dow[0] in "*?" else a | b)


def clock_seconds(text):
    h, m, *s = (int(x) for x in text.split(":"))
    return h * HOUR + m * MINUTE + (s[0] if s else 0)


class Times:
    """Times of one day, in seconds of the local day; which of them a calendar moved here."""

    def __init__(self, times, shifted=frozenset()):
        self.times = sorted(times)
        self.shifted = shifted
        self.by_minute = {}
        for t in self.times:
            self.by_minute.setdefault(t // MINUTE, []).append(t % MINUTE)


NO_TIMES = Times([])


class Cron:
    def __init__(self, expr, key=None):
        fields = (["0"] + MACROS.get(expr, expr).split())[-6:]
        s, mi, h = (sorted(set().union(*(values(p, i, key) for p in fields[i].split(",")))) for i in range(3))
        self.times = [a * HOUR + b * MINUTE + c for a in h for b in mi for c in s]
        self.days = (*fields[3:], key)
        self.follows_clock = fields[1].startswith("*") or fields[2].startswith("*")

    def on(self, day):
        d = civil(day)
        return self.times if d.day in cron_month(*self.days, d.year, d.month) else ()


class Masked:
    """times and window: their times on the days of a mask, Monday first."""

    follows_clock = False

    def __init__(self, kind, expr):
        text, self.mask = expr.split()
        if kind == "times":
            self.times = sorted({clock_seconds(t) for t in text.split(",")})
        else:
            start, end, step = text.split("-")
            start, end = clock_seconds(start), clock_seconds(end)
            self.times = [start] if start == end else list(range(start, end + 1, int(step) * MINUTE))

    def on(self, day):
        return self.times if self.mask[civil(day).weekday()] == "1" else ()


class Ordinal:
    follows_clock = False

    def __init__(self, expr):
        self.which, self.weekday, text = expr.split()
        self.times = sorted({clock_seconds(t) for t in text.split(",")})

    def on(self, day):
        d = civil(day)
        if self.which == "last":
            due = (d + timedelta(7)).month != d.month
        else:
            due = (d.day - 1) // 7 == ORDINALS.index(self.which)
        return self.times if due and d.weekday() == WEEKDAYS.index(self.weekday) else ()


class OneTime:
    """What is left of an instant when it is told as a local time: for `once` on a holiday."""

    follows_clock = False

    def __init__(self, day, second):
        self.day, self.times = day, [second]

    def on(self, day):
        return self.times if day == self.day else ()


class Rule:
    """rrule: the local times are dateutil's."""

    follows_clock = False

    def __init__(self, expr, after):
        day = after // DAY
        self.days = {}
        first, last = (datetime.combine(civil(d), datetime.min.time()) for d in (day - FAR - 2, day + 400 + FAR))
        for d in rrulestr(expr, forceset=True).between(first, last, inc=True):
            self.days.setdefault(d.toordinal() - EPOCH, []).append(d.hour * HOUR + d.minute * MINUTE + d.second)

    def on(self, day):
        return self.days.get(day, ())


def what_of(case):
    kind, expr = case["kind"], case["expr"]
    if kind == "rrule":
        return Rule(expr, case["after"])
    if kind == "cron":
        return Cron(expr, case.get("hash_key"))
    if kind in ("times", "window"):
        return Masked(kind, expr)
    return Ordinal(expr)


class Days:
    """The days of an expression after the calendars: which times are meant for a day."""

    def __init__(self, what, include=None, exclude=None, hit="skip"):
        self.what, self.hit = what, hit
        self.include = None if include is None else set(include)
        self.exclude = set(exclude or ())
        self.free = include is None and not exclude
        self.known, self.made = {}, {}

    def is_hit(self, day):
        return day in self.exclude or (self.include is not None and day not in self.include)

    def is_business(self, day):
        return civil(day).weekday() < 5 and not self.is_hit(day)

    def on(self, day):
        got = self.known.get(day)
        if got is None:
            got = self.known[day] = self.find(day)
        return got

    def find(self, day):
        own = () if self.is_hit(day) else self.what.on(day)
        moved = set()
        if not self.free and self.hit != "skip" and self.is_business(day):
            # What was meant for the days back to the last business day (or on to the next).
            step = -1 if self.hit == "next_business_day" else 1
            for d in range(day + step, day + step * (FAR + 1), step):
                if self.is_business(d):
                    break
                if self.is_hit(d):
                    moved.update(self.what.on(d))
        key = (tuple(own), frozenset(moved) - set(own)) if moved else id(own)
        if key not in self.made:
            self.made[key] = Times({*own, *moved}, key[1] if moved else frozenset()) if own or moved else NO_TIMES
        return self.made[key]


# --- zones ----------------------------------------------------------------------------------------


def offset(tz, utc):
    d = datetime.fromtimestamp(utc, tz).utcoffset()
    return d.days * DAY + d.seconds


def changes_between(tz, start, end, step=6 * HOUR):
    """Instants at which the offset changes, found by small steps and halving."""
    found, before = [], offset(tz, start)
    for t in range(start + step, end + step, step):
        now = offset(tz, t)
        if now != before:
            lo, hi = t - step, t
            while hi - lo > 1:
                mid = (lo + hi) // 2
                lo, hi = (mid, hi) if offset(tz, mid) == before else (lo, mid)
            found.append(hi)
            before = now
    return found


class Span:
    """Whole local days around a change, minute by minute as the clock shows them."""

    def __init__(self, tz, first, last, changes):
        self.first, self.last = first, last
        start = first * DAY - offset(tz, changes[0] - 1)
        end = (last + 1) * DAY - offset(tz, changes[-1])
        self.shown = []  # (utc, day, minute of the day)
        self.missed = {}  # instant of a change forward -> local minutes that never were shown
        self.passed = {}  # the same, and those of a new clock
        self.again, self.to_come = set(), set()  # instants whose local time was shown before, will be again
        before = None
        for utc in range(start, end, MINUTE):
            off = offset(tz, utc)
            local = utc + off
            self.shown.append((utc, local // DAY, local % DAY // MINUTE))
            if before is not None and off != before:
                if off > before:
                    self.passed[utc] = [(t // DAY, t % DAY // MINUTE) for t in range(utc + before, utc + off, MINUTE)]
                if abs(off - before) < NEW_CLOCK:
                    if off > before:
                        self.missed[utc] = self.passed[utc]
                    else:
                        self.again.update(range(utc, utc + before - off, MINUTE))
                        self.to_come.update(range(utc - (before - off), utc, MINUTE))
            before = off


class Zone:
    def __init__(self, name):
        self.tz = ZoneInfo(name)
        self.changes = changes_between(self.tz, FIRST, LAST)
        self.spans = []  # (first local day, last, changes)
        for c in self.changes:
            assert c % MINUTE == 0, (name, c)
            shown = sorted(((c + offset(self.tz, c - 1)) // DAY, (c + offset(self.tz, c)) // DAY))
            shown[0] -= (c + offset(self.tz, c - 1)) % DAY == 0  # the minute before belongs to it, too
            if self.spans and shown[0] <= self.spans[-1][1] + 1:
                self.spans[-1][1] = max(shown[1], self.spans[-1][1])
                self.spans[-1][2].append(c)
            else:
                self.spans.append([*shown, [c]])
        self.begins = {s[0]: s for s in self.spans}
        self.inside = {d: s[0] for s in self.spans for d in range(s[0], s[1] + 1)}
        self.made = {}

    def span(self, first):
        if first not in self.made:
            if len(self.made) > 3:
                self.made.clear()
            self.made[first] = Span(self.tz, *self.begins[first])
        return self.made[first]

    def local(self, utc):
        return utc + offset(self.tz, utc)


@lru_cache(maxsize=None)
def zone_of(name):
    return Zone(name)


# --- occurrences ----------------------------------------------------------------------------------


def of_span(span, days, gap, fold):
    follows = days.what.follows_clock
    silent = set() if follows else {"first": span.again, "second": span.to_come, "both": set()}[fold]
    for utc, day, minute in span.shown:
        due = []
        times = days.on(day)
        if minute in times.by_minute and utc not in silent:
            for s in times.by_minute[minute]:
                marks = ["repeat"] * (utc in span.again) + ["shifted"] * (minute * MINUTE + s in times.shifted)
                due.append((utc + s, "+".join(marks)))
        if utc in span.missed and not follows and gap == "run_at_gap_end":
            meant = [(d, m) for d, m in span.missed[utc] if m in days.on(d).by_minute]
            if meant and due and due[0][0] == utc:
                due[0] = (utc, None)  # a made-up one and a regular one: its mark is open
            elif meant:
                shifted = {m * MINUTE + s in days.on(d).shifted for d, m in meant for s in days.on(d).by_minute[m]}
                due.insert(0, (utc, None if len(shifted) > 1 else "moved+shifted" if True in shifted else "moved"))
        yield from due


def of_days(zone, days, gap, fold, after, end):
    """Occurrences in (after, end] of what consists of days and times."""
    day, last = zone.local(after) // DAY - 2, zone.local(end) // DAY + 2
    day = zone.inside.get(day, day)
    while day <= last:
        if day in zone.begins:
            span = zone.span(day)
            yield from of_span(span, days, gap, fold)
            day = span.last + 1
            continue
        times = days.on(day)
        if times.times:
            d = civil(day)
            midnight = int((datetime(d.year, d.month, d.day, tzinfo=timezone.utc)).timestamp())
            midnight -= offset(zone.tz, int(datetime(d.year, d.month, d.day, 12, tzinfo=zone.tz).timestamp()))
            for t in times.times:
                yield midnight + t, "shifted" if t in times.shifted else ""
        day += 1


def marks_of_span(span, days, gap, fold):
    """Every nominal time: (instant, local time, what becomes of it, when it runs)."""
    follows = days.what.follows_clock
    silent = set() if follows else {"first": span.again, "second": span.to_come, "both": set()}[fold]
    for utc, day, minute in span.shown:
        for d, m in span.passed.get(utc, ()):
            made_up = utc in span.missed and not follows and gap == "run_at_gap_end"
            for s in days.on(d).by_minute.get(m, ()):
                yield utc, d * DAY + m * MINUTE + s, "fires" if made_up else "gap", utc if made_up else 0
        for s in days.on(day).by_minute.get(minute, ()):
            what = ("fold", 0) if utc in silent else ("fires", utc + s)
            yield utc + s, day * DAY + minute * MINUTE + s, *what


def of_every(case, zone, after, end):
    n = int(case["expr"][:-1]) * {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}[case["expr"][-1]]
    days = Days(OneTime(0, 0), case.get("include"), case.get("exclude"))
    t = case["anchor"] + max(0, (after - case["anchor"]) // n) * n
    while t <= end:
        if days.free or not days.is_hit(zone.local(t) // DAY):
            yield t, None
        t += n


def of_once(case, zone, after, end):
    t = int(datetime.fromisoformat(case["expr"].replace("Z", "+00:00")).timestamp())
    local = zone.local(t)
    days = Days(OneTime(local // DAY, local % DAY), case.get("include"), case.get("exclude"), case.get("hit") or "skip")
    if days.free or not days.is_hit(local // DAY):
        yield t, None
    else:
        yield from of_days(zone, days, case["gap"], "first", after, end)


def occurrences(case, end):
    """(instant, flags) in (after, end], in order; flags None: open."""
    zone, after = zone_of(case["zone"]), case["after"]
    if case["kind"] == "every":
        found = of_every(case, zone, after, end)
    elif case["kind"] == "once":
        found = of_once(case, zone, after, end)
    elif case["kind"] == "on_demand":
        found = ()
    else:
        days = Days(what_of(case), case.get("include"), case.get("exclude"), case.get("hit") or "skip")
        found = of_days(zone, days, case["gap"], case["fold"], after, end)
    since, until = case.get("from"), case.get("until")
    for utc, flags in found:
        if utc > end or (until is not None and utc >= until):
            return
        if utc > after and (since is None or utc >= since):
            yield utc, flags


def main():
    case = json.loads(sys.argv[1])
    got = itertools.islice(occurrences(case, case["after"] + 400 * DAY), case["count"])
    zone = ZoneInfo(case["zone"])
    for utc, flags in got:
        print(utc, datetime.fromtimestamp(utc, zone).isoformat(" "), "?" if flags is None else flags)


if __name__ == "__main__":
    main()
