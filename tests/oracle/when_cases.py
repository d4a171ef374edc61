# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
Random schedules and the filters that answer them, for the oracles: a case is the JSON object that when-batch reads.

TAKT_BUILD names the build directory, TAKT_SEED varies the cases, TAKT_ORACLE_CASES is their number (`make check-oracle` asks for all).
"""

import json
import os
import pathlib
import random
import subprocess
import uuid
from datetime import datetime, timezone

from dateutil.rrule import rrulestr

import when_oracle as w

BUILD = pathlib.Path(os.environ.get("TAKT_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
SEED = int(os.environ.get("TAKT_SEED", "20261122"))
BATCH = BUILD / "tests" / "oracle" / "when-batch"

# Zones whose clocks have done something unusual between 2000 and 2040, and ordinary ones of every continent.
ZONES = """Africa/Cairo Africa/Casablanca Africa/El_Aaiun Africa/Juba Africa/Lagos America/Asuncion America/Bogota America/Caracas
America/Chicago America/Havana America/Los_Angeles America/Metlakatla America/New_York America/Nuuk America/Santiago America/Sao_Paulo
America/Scoresbysund America/St_Johns Antarctica/Casey Antarctica/Troll Antarctica/Vostok Asia/Amman Asia/Beirut Asia/Chita Asia/Colombo
Asia/Damascus Asia/Gaza Asia/Kathmandu Asia/Kolkata Asia/Pyongyang Asia/Tehran Asia/Tokyo Atlantic/Azores Australia/Lord_Howe
Australia/Sydney Europe/Berlin Europe/Dublin Europe/Istanbul Europe/Lisbon Europe/London Europe/Moscow Europe/Volgograd Pacific/Apia
Pacific/Bougainville Pacific/Chatham Pacific/Easter Pacific/Fakaofo Pacific/Kiritimati Pacific/Norfolk US/Eastern UTC""".split()


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())


def line_of(case):
    return json.dumps(case, separators=(",", ":"))


def ask(program, lines):
    out = subprocess.run([program], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True, timeout=300).stdout
    answers = out.split("\n")[:-1]
    assert len(answers) == len(lines), (len(answers), len(lines), answers[-1:])
    return answers


def answers(questions):
    """The C side's: (instant, flags) or the error, a question."""
    for line in ask(BATCH, [line_of(q) for q in questions]):
        got = json.loads(line)
        yield line if "error" in got else list(zip(got["next"], got["flags"]))


# --- random expressions ---------------------------------------------------------------------------


class Writer:
    """Writes schedules about a local minute: near.day is a civil day, near.minute the minute of the day."""

    def __init__(self, rng):
        self.rng = rng

    def near(self, local):
        self.day, self.minute = local // w.DAY, local % w.DAY // w.MINUTE
        self.date = w.civil(self.day)
        return self

    def some(self, pool, n):
        return sorted(self.rng.sample(pool, min(n, len(pool))))

    def spelt(self, v, i):
        if i == 4 and self.rng.random() < 0.3:
            return self.rng.choice([str.upper, str.title, str.lower])(w.MONTHS[v - 1])
        if i == 5 and self.rng.random() < 0.4:
            return self.rng.choice([str.upper, str.title, str.lower])(w.DAYS[v % 7])
        return str(v)

    def range(self, a, b, i, step=""):
        return f"{self.spelt(a, i)}-{self.spelt(b, i)}{step}"

    def part(self, i, near):
        """One part of a list: a value, a range, a wrapping range, with or without a step."""
        rng = self.rng
        lo, hi = w.BOUNDS[i]
        n = hi - lo + 1 - (i == 5)
        kind = rng.randrange(6)
        if kind == 0:
            return self.range(lo, lo + n - 1, i)
        if kind in (1, 2):
            a, b = lo + (near - lo - rng.randint(0, 3)) % n, lo + (near - lo + rng.randint(0, 3)) % n
            return self.range(a, b, i, rng.choice(["", "", "/2", "/3"]))
        if kind == 3:
            return self.range(rng.randint(lo, hi), rng.randint(lo, hi), i, f"/{rng.randint(1, min(n, 9))}")
        return self.spelt(near if rng.random() < 0.8 else rng.randint(lo, hi), i)

    def field(self, i, near, stars=True):
        rng = self.rng
        if stars and rng.random() < 0.3:
            return rng.choice(["*", f"*/{rng.randint(1, min(w.BOUNDS[i][1], 30))}"])
        if rng.random() < 0.06:
            return self.hashed(i, near)
        return ",".join(self.part(i, near) for _ in range(rng.choice([1, 1, 1, 1, 2, 3])))

    def hashed(self, i, near):
        rng = self.rng
        lo, hi = w.BOUNDS[i]
        a = max(lo, near - rng.randint(0, 3))
        b = min(hi - (i == 5), max(a, near + rng.randint(0, 3)))
        a = min(a, b)
        if rng.random() < 0.5:
            return f"H({a}-{b})" + (f"/{rng.randint(1, b - a + 1)}" if rng.random() < 0.4 else "")
        return "H" + rng.choice(["", "", f"/{rng.randint(1, 6)}"])

    def month_day(self):
        """A day of month; the special forms mostly hit the day that it is about."""
        rng, d = self.rng, self.date
        last = w.calendar.monthrange(d.year, d.month)[1]
        kind = rng.randrange(14)
        if kind < 5:
            n = d.day + rng.choice([0, 0, 0, -1, 1, -2, 2])
            return ["L", f"L-{min(30, max(1, last - d.day))}", f"L-{rng.randint(1, 30)}", "LW",
                    f"{min(max(n, 1), 31)}W"][kind]
        if kind == 5:
            return f"{rng.choice(['L', '1W', '31W', 'LW', '30W'])},{self.part(3, d.day)}"
        return self.field(3, d.day)

    def week_day(self):
        rng, d = self.rng, self.date
        dow = d.isoweekday() % 7
        kind = rng.randrange(12)
        if kind < 3:
            n = (d.day - 1) // 7 + 1
            return [f"{self.spelt(dow, 5)}#{n}", f"{self.spelt(dow, 5)}L", f"{rng.randint(0, 7)}#{rng.randint(1, 5)}"][kind]
        if kind == 3:
            return f"{rng.choice(['MON#1', '5L', '7#3', 'sat#5', '0L'])},{self.part(5, dow)}"
        return self.field(5, dow)

    def cron(self, seconds=None):
        rng = self.rng
        minute, hour = self.field(1, self.minute % 60), self.field(2, self.minute // 60)
        dom = "*" if rng.random() < 0.5 else self.month_day()
        dow = "*" if rng.random() < (0.5 if dom == "*" else 0.7) else self.week_day()
        if rng.random() < 0.1:
            dom, dow = ("?", dow) if dom == "*" else (dom, "?" if dow == "*" else dow)
        mon = "*" if rng.random() < 0.8 else self.field(4, self.date.month)
        text = f"{minute} {hour} {dom} {mon} {dow}"
        if rng.random() < 0.2 if seconds is None else seconds:
            text = self.field(0, rng.randint(0, 59), stars=rng.random() < 0.2) + " " + text
        return "cron", text

    def clock_times(self, seconds=False):
        rng = self.rng
        out = set()
        for _ in range(rng.choice([1, 1, 2, 3, 5])):
            t = (self.minute + rng.randint(-70, 70)) % 1440 if rng.random() < 0.8 else rng.randrange(1440)
            out.add(f"{t // 60:02}:{t % 60:02}" + (f":{rng.randint(0, 59):02}" if seconds and rng.random() < 0.2 else ""))
        return ",".join(sorted(out, key=w.clock_seconds))

    def mask(self):
        bits = [int(self.rng.random() < 0.7) for _ in range(7)]
        bits[self.date.weekday()] |= self.rng.random() < 0.8
        return "".join(map(str, bits)) if any(bits) else "1111100"

    def times(self):
        return "times", f"{self.clock_times(seconds=True)} {self.mask()}"

    def window(self):
        rng = self.rng
        a = max(0, self.minute - rng.randint(0, 200)) if rng.random() < 0.8 else rng.randrange(1440)
        b = a if rng.random() < 0.1 else rng.randint(a, 1439)
        step = rng.choice([1, 5, 7, 10, 15, 20, 30, 45, 60, 90, 120, 1440])
        return "window", f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}-{step} {self.mask()}"

    def ordinal(self):
        rng, d = self.rng, self.date
        which, day = w.ORDINALS[(d.day - 1) // 7], w.WEEKDAYS[d.weekday()]
        if rng.random() < 0.3:
            which, day = rng.choice(w.ORDINALS + ["last"]), rng.choice(w.WEEKDAYS)
        elif (d.day + 7) > w.calendar.monthrange(d.year, d.month)[1] and rng.random() < 0.5:
            which = "last"
        return "ordinal", f"{which} {day} {self.clock_times()}"

    def every(self):
        unit = self.rng.choice("smhd")
        most = {"s": 20000, "m": 3000, "h": 100, "d": 60}[unit]
        return "every", f"{self.rng.randint(40 if unit == 's' else 1, most)}{unit}"

    def once(self):
        t = self.day * w.DAY + self.minute * w.MINUTE + self.rng.choice([0, 0, 30])
        return "once", f"{datetime.fromtimestamp(t, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"

    def rule(self):
        """An rrule that DTSTART is the first of, as RFC 5545 wants it."""
        rng, d = self.rng, self.date
        day = "MO TU WE TH FR SA SU".split()[d.weekday()]
        n = (d.day - 1) // 7 + 1
        last = w.calendar.monthrange(d.year, d.month)[1]
        hours = sorted({self.minute // 60, rng.randint(0, 23)})
        body = rng.choice([
            f"FREQ=DAILY;INTERVAL={rng.randint(1, 9)}", f"FREQ=WEEKLY;INTERVAL={rng.randint(1, 3)};BYDAY={day},{rng.choice(['MO', 'SA'])}",
            f"FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,{day};WKST={rng.choice(['SU', 'MO'])}",
            f"FREQ=MONTHLY;BYDAY={n}{day}", f"FREQ=MONTHLY;BYDAY=-1{day}", f"FREQ=MONTHLY;BYMONTHDAY={d.day},{d.day - last - 1}",
            f"FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS={rng.choice([1, -1, 3])}", f"FREQ=MONTHLY;INTERVAL={rng.randint(1, 4)}",
            f"FREQ=YEARLY;BYMONTH={d.month};BYDAY={n}{day}", f"FREQ=YEARLY;BYMONTH={d.month},12;BYMONTHDAY={d.day}",
            f"FREQ=DAILY;BYMONTH={d.month};BYDAY={day}", f"FREQ=HOURLY;INTERVAL={rng.choice([3, 5, 6, 12, 36])}",
            "FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR", f"FREQ=DAILY;BYHOUR={','.join(map(str, hours))}"])
        if rng.random() < 0.15:
            body += f";COUNT={rng.randint(1, 400)}"
        elif rng.random() < 0.15:
            body += f";UNTIL={d + w.timedelta(rng.randint(0, 40)):%Y%m%d}T235959"
        start = datetime.combine(d, datetime.min.time()) + w.timedelta(minutes=self.minute) - w.timedelta(rng.choice([0, 7, 30, 300]))
        extra = ""
        if rng.random() < 0.2:
            other = start + w.timedelta(rng.randint(1, 300), minutes=rng.randint(0, 90))
            extra = f"\nRDATE:{other:%Y%m%dT%H%M%S}"
        for _ in range(4):
            text = f"DTSTART:{start:%Y%m%dT%H%M%S}\nRRULE:{body}"
            first = next(iter(rrulestr(text)), None)
            if first == start:
                if rng.random() < 0.2:
                    extra += f"\nEXDATE:{rng.choice(list(rrulestr(text)[:9])):%Y%m%dT%H%M%S}"
                return "rrule", text + extra
            start = first or start
        return self.rule()

    def schedule(self):
        kinds = [self.cron, self.times, self.window, self.ordinal, self.every, self.once, self.rule]
        return self.rng.choices(kinds, [64, 10, 10, 8, 3, 2, 4])[0]()


# --- cases ----------------------------------------------------------------------------------------


class Case:
    """A question, and up to where it is answered by the oracle: all until `thorough`, three more within 400 days."""

    def __init__(self, question, change, thorough):
        self.question, self.change = question, change
        self.end = question["after"] + 400 * w.DAY
        want, beyond = [], 0
        for o in w.occurrences(question, self.end):
            beyond += o[0] > thorough
            want.append(o)
            if beyond == 3 or len(want) == 700:
                break
        self.want = want
        question["count"] = len(want) + 1 if want else 3
        self.crossed = change is not None and (len(want) < 700 or want[-1][0] >= change)


def some_calendar(rng, near_day, after_day):
    """Days around the one it is about, more of them close to it, and which way a hit goes."""
    out = {"hit": rng.choice(["skip", "next_business_day", "next_business_day", "previous_business_day"])}
    days = {near_day + int(rng.gauss(0, 4)) for _ in range(rng.randint(0, 9))} | {after_day + rng.randint(0, 400) for _ in range(20)}
    if rng.random() < 0.75:
        out["exclude"] = sorted(days)
    if rng.random() < 0.35 or "exclude" not in out:
        rate = rng.choice([0.3, 0.8, 0.95])
        out["include"] = [d for d in range(after_day - 60, after_day + 480) if rng.random() < rate]
    return out


def question(rng, writer, zone, after):
    kind, expr = writer.schedule()
    q = {"kind": kind, "expr": expr, "zone": zone, "gap": rng.choice(["run_at_gap_end", "run_at_gap_end", "skip"]),
         "fold": rng.choice(["first", "first", "second", "both"]), "after": after, "count": 1}
    if kind == "cron" and "H" in expr:
        q["hash_key"] = str(uuid.UUID(int=rng.getrandbits(128)))
    if kind == "every":
        q["anchor"] = after + rng.randint(-500 * w.DAY, 2 * w.DAY)
    if rng.random() < 0.2:
        q.update(some_calendar(rng, writer.day, after // w.DAY))
        if kind == "every":
            q["hit"] = "skip"
    if rng.random() < 0.08:
        q["from"] = after + rng.randint(-5 * w.DAY, 5 * w.DAY)
    if rng.random() < 0.08:
        q["until"] = max(after, q.get("from", after)) + rng.randint(1, 20 * w.DAY)
    return q


def around_change(rng, zone, change):
    """A question asked before a clock change, in any way about it."""
    writer = Writer(rng)
    shown = change + w.offset(zone.tz, change - rng.choice([1, 1, 0]))
    writer.near(shown + rng.randint(-90, 90) * w.MINUTE)
    after = change - rng.choice([rng.randint(0, 40 * w.HOUR), rng.randint(0, 3 * w.HOUR), 1, 0, 60, w.HOUR, w.HOUR + 1])
    if rng.random() < 0.1:
        after = change + rng.choice([1, 1799, 1800, 3599, 3600])
    return question(rng, writer, zone.tz.key, after)


def anywhere(rng, zone):
    after = rng.randrange(at("2000-01-01"), at("2040-01-01"))
    writer = Writer(rng).near(after + rng.randint(-10, 100) * w.HOUR)
    return question(rng, writer, zone.tz.key, after)


def make(seed, total, zones=None):
    """All clock changes of the zones in turn, as often as it takes; one question in eight is asked anywhere."""
    rng = random.Random(seed)
    zones = zones or ZONES
    first, last = at("2000-01-01"), at("2041-01-01")
    of_zone = {z: [c for c in w.zone_of(z).changes if first <= c < last] for z in zones}
    rounds = total * 7 / 8 / sum(map(len, of_zone.values()))
    for name, changes in of_zone.items():
        zone = w.zone_of(name)
        near = sorted(changes * int(rounds) + rng.sample(changes, round((rounds % 1) * len(changes))))
        for c in near:
            yield Case(around_change(rng, zone, c), c, c + 6 * w.HOUR)
        for _ in range(-(-total // 8 // len(zones))):
            q = anywhere(rng, zone)
            yield Case(q, None, q["after"])
