# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Due times once more, by walking along the clock over zoneinfo. Shares no code with Takt nor with tests/oracle.

The rules are those of lib/when/README.md. A day has times that are meant for it; calendars take a day's times away or to
another day; then each minute that the clock of the zone shows is looked at, and the seconds in it that are meant. What begins
with `*` in minute or hour (cron only) follows the wall clock; all else runs once at the end of a gap (policy), and in a fold
first, second or both; a change of the clock by three hours or more is a new clock, not daylight saving. `every` and
`once` are instants. Clocks are taken to change at whole minutes, and offsets to have no seconds.

    s = Schedule("times", "09:00 1111100", zone="Europe/Berlin")
    s.due_times(after, until)   # every due second in (after, until], rising
    s.passed_over(after, until) # rule -> nominal times of which nothing comes
"""
import calendar
import collections
import functools
import hashlib
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

DAY_S = 86400
BUSINESS_DAY_WITHIN = 366
_MONTHS = dict(zip("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), range(1, 13)))
_DAYS = dict(zip("SUN MON TUE WED THU FRI SAT".split(), range(7)))
_FIELDS = [(0, 59, {}), (0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, _MONTHS), (0, 7, _DAYS)]
_MACROS = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
           "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}
_NEW_CLOCK_S = 3 * 3600
_EPOCH = date(1970, 1, 1)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": DAY_S}
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_ORDINALS = "first second third fourth fifth".split()


def civil(day):
    """The date of a civil day number (1970-01-01 is 0)."""
    return _EPOCH + timedelta(days=day)


def day_number(text):
    return (date.fromisoformat(text) - _EPOCH).days


def jitter_off(task_id, jitter_s):
    """By how much this task's decisions come after their due times."""
    return int(hashlib.md5(task_id.encode()).hexdigest()[:7], 16) % (jitter_s + 1)


# What is meant for a day ---------------------------------------------------------------------------


def _allowed(text, low, high, names):
    numbers = set()
    for item in text.upper().split(","):
        span, _, step = item.partition("/")
        ends = [low, high] if span in "*?" else [names.get(e, None) if e in names else int(e) for e in span.split("-")]
        values = list(range(low, high + 1))
        if len(ends) == 2 and ends[0] > ends[1]:  # over the end of the values
            values = [v for v in values if v != 7] if names is _DAYS else values
            turn = values.index(ends[0])
            values = values[turn:] + values[:turn]
        else:
            values = values[ends[0] - low:]
        numbers |= set(values[:values.index(ends[-1]) + 1:int(step or 1)])
    return frozenset(numbers)


def _split_signs(text, is_sign):
    """(the plain items of a day field, its signs)"""
    items = text.upper().split(",")
    return ",".join(i for i in items if not is_sign(i)), [i for i in items if is_sign(i)]


def _last_of(d):
    return calendar.monthrange(d.year, d.month)[1]


def _month_day_by_sign(sign, d):
    last = _last_of(d)
    if sign == "L" or sign.startswith("L-"):
        return d.day == last - int(sign[2:] or 0)
    if sign == "LW":
        want = last
    elif int(sign[:-1]) > last:
        return False
    else:
        want = int(sign[:-1])
    weekday = d.replace(day=want).weekday()
    if weekday == 5:
        want += -1 if want > 1 else 2
    elif weekday == 6:
        want += 1 if want < last else -2
    return d.day == want


def _weekday_by_sign(sign, d):
    name, nth = (sign.split("#") + [None])[:2] if "#" in sign else (sign[:-1], None)
    weekday = (_DAYS[name] if name in _DAYS else int(name)) % 7
    if d.isoweekday() % 7 != weekday:
        return False
    return d.day + 7 > _last_of(d) if nth is None else (d.day - 1) // 7 + 1 == int(nth)


@functools.lru_cache(maxsize=None)
def parse(expression):
    """(seconds of a day, does the day fit, follows the wall clock)"""
    fields = _MACROS.get(expression, expression).split()
    fields = ["0"] + fields if len(fields) == 5 else fields
    if len(fields) != 6:
        raise ValueError(f"not an expression of five or six fields: {expression}")
    days, day_signs = _split_signs(fields[3], lambda i: i.startswith("L") or i.endswith("W"))
    weekdays, weekday_signs = _split_signs(fields[5], lambda i: "#" in i or i.endswith("L"))
    plain = fields[:3] + [days, fields[4], weekdays]
    sets = [_allowed(text, *limits) if text else frozenset() for text, limits in zip(plain, _FIELDS)]
    sets[5] = frozenset(d % 7 for d in sets[5])
    both = fields[3][0] in "*?" or fields[5][0] in "*?"

    def fits(d):
        if d.month not in sets[4]:
            return False
        day = d.day in sets[3] or any(_month_day_by_sign(s, d) for s in day_signs)
        weekday = d.isoweekday() % 7 in sets[5] or any(_weekday_by_sign(s, d) for s in weekday_signs)
        return (day and weekday) if both else (day or weekday)

    times = frozenset(h * 3600 + m * 60 + s for h in sets[2] for m in sets[1] for s in sets[0])
    return times, fits, fields[1][0] == "*" or fields[2][0] == "*"


def _clock_times(text):
    return frozenset(sum(int(part) * unit for part, unit in zip(t.split(":"), (3600, 60, 1))) for t in text.split(","))


def _masked(times, mask):
    return lambda day: times if mask[civil(day).weekday()] == "1" else frozenset()


def _cron_times(s):
    times, fits, _ = parse(s.expr)
    return lambda day: times if fits(civil(day)) else frozenset()


def _times_times(s):
    text, mask = s.expr.split()
    return _masked(_clock_times(text), mask)


def _window_times(s):
    text, mask = s.expr.split()
    start, end, minutes = text.split("-")
    (first,), (last,) = _clock_times(start), _clock_times(end)
    return _masked(frozenset(range(first, last + 1, int(minutes) * 60)), mask)


def _ordinal_times(s):
    which, weekday, text = s.expr.split()
    times = _clock_times(text)

    def of(day):
        d = civil(day)
        nth = d.day + 7 > _last_of(d) if which == "last" else (d.day - 1) // 7 == _ORDINALS.index(which)
        return times if nth and d.weekday() == _WEEKDAYS.index(weekday) else frozenset()
    return of


def _rrule_times(s):
    """Plain steps of time by counting, everything else by dateutil."""
    start = re.search(r"DTSTART:(\d{8}T\d{6})", s.expr).group(1)
    first = int(datetime.strptime(start, "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc).timestamp())
    plain = re.fullmatch(r"DTSTART:\S+\s+RRULE:FREQ=(SECONDLY|MINUTELY|HOURLY|DAILY);INTERVAL=(\d+)", s.expr.strip())
    if plain:
        step = {"S": 1, "M": 60, "H": 3600, "D": DAY_S}[plain.group(1)[0]] * int(plain.group(2))

        def of(day):
            begin = max(first, first - (first - day * DAY_S) // step * step)
            return frozenset(t - day * DAY_S for t in range(begin, (day + 1) * DAY_S, step) if t >= day * DAY_S)
        return of
    from dateutil.rrule import rrulestr
    rule = rrulestr(s.expr, cache=True)

    def by_dateutil(day):
        begin = datetime(1970, 1, 1) + timedelta(days=day)
        return frozenset(int((t - begin).total_seconds()) for t in rule.between(begin, begin + timedelta(days=1), inc=True)
                         if t < begin + timedelta(days=1))
    return by_dateutil


_TIMES = {"cron": _cron_times, "times": _times_times, "window": _window_times, "ordinal": _ordinal_times, "rrule": _rrule_times}

# What the clock makes of it ------------------------------------------------------------------------


def _offset(second, tz):
    return int(datetime.fromtimestamp(second, tz).utcoffset().total_seconds())


def _is_daylight(change):
    return change != 0 and abs(change) < _NEW_CLOCK_S


def _fold_side(second, tz):
    """'first' or 'second' if the local time of this instant is shown twice, else ''."""
    here = _offset(second, tz)
    for sign, side in ((-1, "second"), (1, "first")):
        for width in (1800, 3600, 7200):  # clocks are put back by one of these
            change = (_offset(second + sign * width, tz) - here) * sign
            if change == -width and _is_daylight(change):
                return side
    return ""


@dataclass(frozen=True)
class Schedule:
    """kind and expr in their canonical text; days of calendars are civil day numbers; None: none."""
    kind: str
    expr: str
    zone: str = "UTC"
    gap: str = "run_at_gap_end"
    fold: str = "first"
    anchor: int = 0              # of every
    effective_from: float = float("-inf")
    effective_until: float = float("inf")
    include: frozenset = None
    exclude: frozenset = frozenset()
    on_hit: str = "skip"

    def due_times(self, after, until):
        return self._walk(int(after), int(until))[0]

    def passed_over(self, after, until):
        return {rule: sorted(found) for rule, found in self._walk(int(after), int(until))[1].items()}

    # calendars

    def _hit(self, day):
        """The rule that takes this day away, or None."""
        if day in self.exclude:
            return "calendar.exclude"
        return "calendar.include" if self.include is not None and day not in self.include else None

    def _is_business_day(self, day):
        return civil(day).weekday() < 5 and not self._hit(day)

    def _lands_on(self, day):
        """Where what is meant for this day goes: a day, or None."""
        if not self._hit(day):
            return day
        if self.on_hit == "skip":
            return None
        sign = 1 if self.on_hit == "next_business_day" else -1
        return next((day + sign * n for n in range(1, BUSINESS_DAY_WITHIN + 1) if self._is_business_day(day + sign * n)), None)

    def _origins(self, day):
        """Whose times are to run on that day: its own and those that were moved there, which go on until a day takes its own."""
        found = [] if self._hit(day) else [day]
        if self.on_hit != "skip" and self._is_business_day(day):
            sign = -1 if self.on_hit == "next_business_day" else 1
            for n in range(1, BUSINESS_DAY_WITHIN + 1):
                if self._hit(day + sign * n):
                    found.append(day + sign * n)
                elif self._is_business_day(day + sign * n):
                    break
        return found

    # the walk

    def _is_effective(self, second):
        return self.effective_from <= second < self.effective_until

    @functools.lru_cache(maxsize=128)
    def _walk(self, after, until):
        """(due times, rule -> nominal times of which nothing comes) in (after, until]."""
        if self.kind in ("every", "once"):
            due, over = self._instants(after, until)
        elif self.kind == "on_demand":
            due, over = [], {}
        else:
            due, over = self._local(after, until)
        return (sorted(t for t in due if after < t <= until and self._is_effective(t)),
                {rule: {t for t in found if after < t <= until and self._is_effective(t)} for rule, found in over.items()})

    def _instants(self, after, until):
        tz, due, over = ZoneInfo(self.zone), set(), collections.defaultdict(set)
        if self.kind == "every":
            step = int(self.expr[:-1]) * _UNIT_S[self.expr[-1]]
            n = max(0, (after - self.anchor) // step + 1)
            found = range(self.anchor + n * step, until + 1, step)
        else:
            found = [int(datetime.fromisoformat(self.expr.replace("Z", "+00:00")).timestamp())]
        for t in found:
            day, time = divmod(t + _offset(t, tz), DAY_S)
            to = self._lands_on(day)
            if to is None:
                over[self._hit(day)].add(t)
            elif to == day:
                due.add(t)
            else:
                there = datetime.combine(civil(to), datetime.min.time(), tz) + timedelta(seconds=time)
                due.add(int(there.timestamp()))
        return due, over

    def _local(self, after, until):
        tz, times = ZoneInfo(self.zone), functools.lru_cache(maxsize=64)(_TIMES[self.kind](self))
        follows_wall = self.kind == "cron" and parse(self.expr)[2]

        @functools.lru_cache(maxsize=8)
        def minutes(day):
            """minute of that local day -> seconds of the day at which something is to run"""
            found = collections.defaultdict(set)
            for t in set().union(*(times(origin) for origin in self._origins(day))):
                found[t // 60].add(t)
            return found

        def taken(day, is_moved):
            found = collections.defaultdict(set)
            if self._hit(day) and (self._lands_on(day) is not None) == is_moved:
                for t in times(day):
                    found[t // 60].add(t)
            return found
        lost = functools.lru_cache(maxsize=8)(lambda day: taken(day, False))   # by a calendar, for good
        moved = functools.lru_cache(maxsize=8)(lambda day: taken(day, True))   # to another day

        def at(what, local):
            day, time = divmod(local, DAY_S)
            return [t + day * DAY_S for t in what(day).get(time // 60, ())]

        due, over = set(), collections.defaultdict(set)
        before = _offset(after // 60 * 60 - 60, tz)
        for minute in range(after // 60 * 60, until + 1, 60):
            here = _offset(minute, tz)
            change, before = here - before, here
            skipped = range(minute + here - change, minute + here, 60) if change > 0 else ()
            side = "" if follows_wall or self.fold == "both" else _fold_side(minute, tz)
            for t in at(minutes, minute + here):
                if side in ("", self.fold):
                    due.add(t - here)
                else:
                    over["dst.fold"].add(t - here)
            for t in at(lost, minute + here):
                over[self._hit(t // DAY_S) if side in ("", self.fold) else "dst.fold"].add(t - here)
            for t in at(moved, minute + here):
                if _fold_side(minute, tz) not in ("", self.fold if self.fold == "second" and not follows_wall else "first"):
                    over["dst.fold"].add(t - here)  # what is moved to another day is moved once
            if any(at(minutes, local) for local in skipped):
                if self.gap == "run_at_gap_end" and _is_daylight(change) and not follows_wall:
                    due.add(minute)
                else:
                    over["dst.gap"].add(minute)
            for local in skipped:
                if at(lost, local):
                    over[self._hit(local // DAY_S)].add(minute)
        return due, over


def due_times(expression, zone="UTC", after=0, until=0, gap="run_at_gap_end", fold="first"):
    """Of a cron expression."""
    return Schedule("cron", expression, zone, gap, fold).due_times(after, until)
