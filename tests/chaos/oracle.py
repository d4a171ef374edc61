# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Due times once more, by walking every second over zoneinfo. Shares no code with Takt nor with tests/oracle.

The rules are those of lib/when/README.md: six fields (second first) or five; days match both when one of
them starts with `*`, else either; an expression whose minute or hour starts with `*` follows the wall clock;
others run once at the end of a gap (policy), and in a fold first, second or both; a change of the clock by
three hours or more is a new clock, not daylight saving.
"""
import functools
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

_MONTHS = dict(zip("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), range(1, 13)))
_DAYS = dict(zip("SUN MON TUE WED THU FRI SAT".split(), range(7)))
_FIELDS = [(0, 59, {}), (0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, _MONTHS), (0, 7, _DAYS)]
_NEW_CLOCK_S = 3 * 3600


def _allowed(text, low, high, names):
    numbers = frozenset()
    for item in text.upper().split(","):
        span, _, step = item.partition("/")
        ends = [low, high] if span == "*" else [names.get(e, None) if e in names else int(e) for e in span.split("-")]
        numbers |= frozenset(range(ends[0], ends[-1] + 1, int(step or 1)))
    return numbers


@functools.lru_cache(maxsize=None)
def parse(expression):
    """(six sets, both days must match, follows the wall clock)"""
    fields = expression.split()
    fields = ["0"] + fields if len(fields) == 5 else fields
    if len(fields) != 6:
        raise ValueError(f"not an expression of five or six fields: {expression}")
    sets = [_allowed(text, *limits) for text, limits in zip(fields, _FIELDS)]
    sets[5] = frozenset(d % 7 for d in sets[5])
    return sets, fields[3][0] == "*" or fields[5][0] == "*", fields[1][0] == "*" or fields[2][0] == "*"


def _fits(expression, when):
    sets, both, _ = parse(expression)
    if when.second not in sets[0] or when.minute not in sets[1] or when.hour not in sets[2] or when.month not in sets[4]:
        return False
    day, weekday = when.day in sets[3], when.isoweekday() % 7 in sets[5]
    return (day and weekday) if both else (day or weekday)


def _offset(second, tz):
    return int(datetime.fromtimestamp(second, tz).utcoffset().total_seconds())


def _is_daylight(change):
    return change != 0 and abs(change) < _NEW_CLOCK_S


def _fold_side(second, tz):
    """'first' or 'second' if the local time of this instant is shown twice, else ''."""
    here = _offset(second, tz)
    for sign, side in ((-1, "second"), (1, "first")):
        other = second
        for width in (1800, 3600, 7200):  # clocks are put back by one of these
            other = second + sign * width
            change = (_offset(other, tz) - here) * sign
            if change == -width and _is_daylight(change):
                return side
    return ""


def _is_due(expression, second, tz, gap, fold):
    here = _offset(second, tz)
    follows_wall = parse(expression)[2]
    if _fits(expression, datetime.fromtimestamp(second, tz)):
        side = "" if follows_wall or fold == "both" else _fold_side(second, tz)
        return side in ("", fold)
    change = here - _offset(second - 1, tz)
    if follows_wall or gap != "run_at_gap_end" or change <= 0 or not _is_daylight(change):
        return False
    skipped = range(second + here - change, second + here)
    return any(_fits(expression, datetime.fromtimestamp(s, timezone.utc)) for s in skipped)


def due_times(expression, zone="UTC", after=0, until=0, gap="run_at_gap_end", fold="first"):
    """Every due second in (after, until], seconds since the epoch, by trying each one."""
    tz = ZoneInfo(zone)
    # A day's hours have whole minutes of offset: only seconds that the first field allows can match; a gap ends at :00.
    seconds = parse(expression)[0][0] | {0}
    return [s for s in range(int(after) + 1, int(until) + 1) if s % 60 in seconds and _is_due(expression, s, tz, gap, fold)]
