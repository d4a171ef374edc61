# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Does decisions.py bite? A small clean world with every policy and a stop in it, then one lie each; and the oracle by hand."""
import copy
import pathlib
import sys
from datetime import datetime, timezone

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import decisions  # noqa: E402
import judge  # noqa: E402
import oracle  # noqa: E402
from test_judge import T0, World, drop_run, stamp  # noqa: E402

STOP, BACK = T0 + 65, T0 + 165   # everything stands still
END = T0 + 205
DAY = oracle.day_number("2026-11-23")  # begins at T0 in Dhaka


class Policies(World):
    """Tasks that are due every 10 s, or what their schedule says."""

    def __init__(self):
        super().__init__()
        self.f.tasks.clear()
        self.f.readers.clear()
        self.f.readers["reader-feed"], self.f.readers["reader-socket1"] = [{"kind": "feed"}], []
        self.f.due_until, self.n = END, 0
        self.f.calendars["shut"] = frozenset({DAY - 1})
        self.f.faults.append({"no": 1, "kind": "outage", "on": "stop", "node": None, "at": STOP, "healed": BACK, "step_s": 0,
                              "units_hit": []})

    def task(self, name, overlap="parallel", overlap_limit=None, created=T0 + 0.5, **schedule):
        document = {"kind": "cron", "expr": "*/10 * * * * *", "timezone": "UTC", "dst_gap": "run_at_gap_end", "dst_fold": "first",
                    "catch_up": "latest", **schedule}
        self.f.tasks[name] = {"name": name, "type": "witness", "enabled": True, "created": created, "definition": {
            "name": name, "schedule": document, "overlap": overlap, "overlap_limit": overlap_limit}}
        self.f.readers["reader-socket1"].insert(0, {"kind": "joined", "task": name, "gap": False})

    def new_id(self):
        self.n += 1
        return f"00000000-0000-7000-8000-{self.n:012}"

    def fired(self, task, due, at=None, waits=0.1, ends=True, off=0):
        """Takes 1.2 s from when it is started."""
        at, run = (due + off if at is None else at) + 0.02, self.new_id()
        self.run(run, task, at - 0.01, "schedule")
        self.f.runs[run].update(due=due, created=at)
        self.f.occurrences[-1].update(due=due, decided=at, event=None)
        if ends:
            self.attempt(run, 1, at + waits)
            self.end(run, "completed", at + waits + 1.1)
        return run

    def passed(self, task, decision, rule, first, at, last=None, n=1, **detail):
        event = self.new_id()
        self.f.occurrences.append({"task": task, "due": first, "decision": decision, "rule": rule, "run": None, "until": last, "n": n,
                                   "decided": at + 0.02, "event": event, "detail": detail})
        self.feed += 1
        row = {"first_seq": 1, "task": task, "node": 1, "incarnation": 1, "feed": self.feed, "items": [{
            "at": stamp(at), "severity": "info", "type": f"occurrence_{decision}", "due_at": stamp(first), "rule": rule, "n": n,
            "until_at": stamp(last) if last else None}]}
        self.f.events[event] = [row]
        self.f.readers["reader-feed"].append({"run": event, "first_seq": 1, "node": 1, "incarnation": 1, "feed": self.feed, "n": 1})
        self.f.readers["reader-socket1"].append({"kind": "event", "run": event, "seq": 1})

    def fire_each(self, task, *due, **more):
        for t in due:
            self.fired(task, T0 + t, **more)


BEFORE, AFTER = range(10, 70, 10), range(170, 210, 10)


def jittered():
    """A task id whose jitter of at most 5 s is 3 s."""
    return next(name for name in (f"jitter-{n}" for n in range(100)) if oracle.jitter_off(name, 5) == 3)


JITTER = jittered()


def clean():
    w = Policies()
    w.task("latest")
    w.fire_each("latest", *BEFORE)
    w.passed("latest", "missed", "catchup.latest", T0 + 70, BACK, T0 + 150, 9)
    w.fired("latest", T0 + 160, BACK)
    w.fire_each("latest", *AFTER)
    w.task("none", catch_up="none")
    w.fire_each("none", *BEFORE)
    w.passed("none", "missed", "catchup.none", T0 + 70, BACK, T0 + 150, 9)
    w.fired("none", T0 + 160, BACK)
    w.fire_each("none", *AFTER)
    w.task("late", catch_up="none", kind="every", expr="88s", created=T0 + 0.5)
    w.passed("late", "missed", "catchup.none", T0 + 88, BACK)
    w.fired("late", T0 + 176)
    w.task("all", catch_up="all", catch_up_limit=3)
    w.fire_each("all", *BEFORE)
    w.passed("all", "missed", "catchup.limit", T0 + 70, BACK, T0 + 130, 7)
    for t in (140, 150, 160):
        w.fired("all", T0 + t, BACK)
    w.fire_each("all", *AFTER)
    w.task("deadline", catch_up="all", catch_up_limit=3, catch_up_deadline_seconds=20)
    w.fire_each("deadline", *BEFORE)
    w.passed("deadline", "missed", "catchup.deadline", T0 + 70, BACK, T0 + 140, 8)
    for t in (150, 160):
        w.fired("deadline", T0 + t, BACK)
    w.fire_each("deadline", *AFTER)
    w.task(JITTER, jitter_seconds=5, effective_from=stamp(T0 + 168), effective_until=stamp(T0 + 200))
    w.fire_each(JITTER, 170, 180, 190, off=3)
    w.task("calendar", exclude=["shut"], timezone="Asia/Dhaka", created=T0 - 35, effective_until=stamp(T0 + 15))
    w.passed("calendar", "skipped", "calendar.exclude", T0 - 30, T0, T0 - 10, 3)
    w.fire_each("calendar", 0, 10)
    overlaps(w)
    return w.f


def overlaps(w):
    short = {"effective_until": stamp(T0 + 55)}
    w.task("skip", "skip", **short)
    first = w.fired("skip", T0 + 10, waits=12)
    w.passed("skip", "skipped", "overlap.skip", T0 + 20, T0 + 20, run_id=first)
    w.fire_each("skip", 30, 40, 50)
    w.task("parallel", "parallel", 2, **short)
    first = w.fired("parallel", T0 + 10, waits=25)
    w.fired("parallel", T0 + 20, waits=15)
    w.passed("parallel", "skipped", "overlap.parallel_full", T0 + 30, T0 + 30, run_id=first)
    w.fire_each("parallel", 40, 50)
    w.task("queue", "queue", 2, **short)
    w.fired("queue", T0 + 10, waits=32)
    w.fired("queue", T0 + 20, waits=24)
    w.passed("queue", "skipped", "overlap.queue_full", T0 + 30, T0 + 30, limit=2)
    w.passed("queue", "skipped", "overlap.queue_full", T0 + 40, T0 + 40, limit=2)
    w.fired("queue", T0 + 50)
    w.task("replace", "replace", **short)
    first = w.fired("replace", T0 + 10, waits=0.2, ends=False)
    w.fired("replace", T0 + 20, waits=2.5)
    w.f.commands.append({"key": None, "kind": "run.cancel", "run": first, "created": T0 + 20, "decided": T0 + 20.1, "status": 202,
                         "actor": "schedule", "reason": "overlap.replace"})
    w.events(first, {"type": "task_cancelled", "state": "cancelled", "reason": "overlap.replace"}, at=T0 + 22)
    w.f.runs[first].update(state="cancelled", finished=T0 + 22, attempts=0)
    w.fire_each("replace", 30, 40, 50)
    w.task("expires", "queue", start_deadline_seconds=3, **short)
    w.fired("expires", T0 + 10, waits=0.2)
    run = w.fired("expires", T0 + 20, ends=False)
    w.end(run, "expired", T0 + 23.1)
    w.fired("expires", T0 + 30, waits=2.5)
    w.fire_each("expires", 40, 50)


CLEAN = clean()
CHECKS = (judge.check_schedules, judge.check_history, judge.check_readers)


def problems_of(f):
    return judge.judge(f, CHECKS)


def test_a_clean_world_is_clean():
    assert judge.judge(CLEAN) == []


def test_the_world_has_every_rule():
    seen = {o["rule"] for o in CLEAN.occurrences}
    assert seen >= {"due", *decisions.CATCH_UP, *decisions.OVERLAP_RULES, "calendar.exclude"}


def row(f, task, due):
    return next(o for o in f.occurrences if o["task"] == task and o["due"] == T0 + due)


def made(f, task, due):
    return f.runs[row(f, task, due)["run"]]


def becomes(f, o, decision, rule, run=None):
    """The row and its event say something else."""
    if o["run"] and decision != "fired":
        drop_run(f, o["run"])
    o.update(decision=decision, rule=rule, run=run)
    if o["event"]:
        f.events[o["event"]][0]["items"][0].update(type=f"occurrence_{decision}", rule=rule)


def ends_at(f, o, until, n):
    o.update(until=until, n=n)
    f.events[o["event"]][0]["items"][0].update(until_at=stamp(until), n=n)


def fires_instead(f, task, due):
    """One that was missed or skipped fires, as the first of its range; a run like the last one of the task."""
    o = row(f, task, due)
    like = next(x for x in f.occurrences if x["task"] == task and x["run"])
    run = "00000000-0000-7000-8000-0000000000ff"
    f.runs[run] = {**f.runs[like["run"]], "due": o["due"], "created": o["decided"], "finished": o["decided"] + 1}
    f.occurrences.append({**like, "due": o["due"], "decided": o["decided"], "run": run})
    if o["until"]:
        o["due"] += 10
        o["n"] -= 1
    else:
        f.occurrences.remove(o)


LIES = []


def lie(invariant, what):
    """what: a part of the problem's text."""
    def add(change):
        LIES.append(pytest.param(invariant, what, change, id=f"{invariant}-{change.__name__}"))
        return change
    return add


@lie("I2", "though late ones are not made up for")
def none_fires_a_late_one(f):
    fires_instead(f, "late", 88)


@lie("I2", "due times after it")
def latest_fires_an_old_one(f):
    fires_instead(f, "latest", 70)


@lie("I2", "due times after it")
def all_fires_more_than_its_limit(f):
    fires_instead(f, "all", 70)


@lie("I2", "the deadline is 20 s")
def one_fires_behind_its_catch_up_deadline(f):
    fires_instead(f, "deadline", 70)


@lie("I2", "but its catch-up is")
def missed_by_another_policy(f):
    becomes(f, row(f, "all", 70), "missed", "catchup.latest")


@lie("I2", "without a later decision")
def none_misses_one_that_is_not_late(f):
    becomes(f, row(f, "none", 40), "missed", "catchup.none")


@lie("I2", "may fire")
def all_misses_what_it_may_fire(f):
    drop_run(f, row(f, "all", 140)["run"])
    f.occurrences.remove(row(f, "all", 140))
    ends_at(f, row(f, "all", 70), T0 + 140, 8)


@lie("I2", "its deadline is")
def missed_before_its_deadline(f):
    drop_run(f, row(f, "deadline", 150)["run"])
    f.occurrences.remove(row(f, "deadline", 150))
    ends_at(f, row(f, "deadline", 70), T0 + 150, 9)


@lie("I2", "its deadline is None")
def a_deadline_that_nobody_set(f):
    becomes(f, row(f, "latest", 70), "missed", "catchup.deadline")


@lie("I1", "without a later decision")
def latest_fires_nothing(f):
    drop_run(f, row(f, "latest", 160)["run"])
    f.occurrences.remove(row(f, "latest", 160))
    ends_at(f, row(f, "latest", 70), T0 + 160, 10)


@lie("I1", "is skipped")
def missed_that_calls_itself_skipped(f):
    becomes(f, row(f, "latest", 70), "skipped", "catchup.latest")


@lie("I1", "counts 8")
def a_range_counts_too_few(f):
    ends_at(f, row(f, "none", 70), T0 + 150, 8)


@lie("I1", "2 decisions about")
def a_range_covers_what_fired(f):
    ends_at(f, row(f, "none", 70), T0 + 160, 10)


@lie("I1", "no decision about")
def a_range_leaves_one_out(f):
    ends_at(f, row(f, "none", 70), T0 + 140, 8)


@lie("I3", "s early")
def the_jitter_is_not_waited_for(f):
    row(f, JITTER, 180)["decided"] -= 1


@lie("I1", "not from its making or beginning")
def counted_from_somewhen(f):
    f.tasks["late"]["anchor"] = T0 - 88


@lie("I1", "which is no due time")
def fired_before_it_was_effective(f):
    f.tasks[JITTER]["definition"]["schedule"]["effective_from"] = stamp(T0 + 171)


@lie("I1", "which is no due time")
def fired_when_it_was_over(f):
    f.tasks[JITTER]["definition"]["schedule"]["effective_until"] = stamp(T0 + 190)


@lie("I1", "which is no due time")
def fired_on_a_day_of_the_calendar(f):
    f.calendars["shut"] = frozenset({DAY - 1, DAY})


@lie("I1", "no row tells of calendar.exclude")
def a_day_without_a_row(f):
    o = row(f, "calendar", -30)
    f.occurrences.remove(o)
    del f.events[o["event"]]


@lie("I1", "counts 4, there were 3")
def a_row_of_a_day_counts_wrong(f):
    ends_at(f, row(f, "calendar", -30), T0 - 10, 4)


@lie("I1", "there were 0 such times")
def a_day_of_another_rule(f):
    becomes(f, row(f, "calendar", -30), "skipped", "calendar.include")


@lie("I1", "rows tell of")
def a_day_told_twice(f):
    f.occurrences.append({**row(f, "calendar", -30), "due": T0 - 20, "n": 2})


@lie("I4", "of its runs were not over")
def skipped_with_nothing_in_the_way(f):
    made(f, "skip", 10)["finished"] = T0 + 15
    f.attempts[row(f, "skip", 10)["run"]][0]["opened"] = T0 + 14


@lie("I4", "was not in the way")
def skipped_naming_another(f):
    row(f, "skip", 20)["detail"]["run_id"] = row(f, "skip", 30)["run"]


@lie("I4", "of its runs not over, overlap is skip")
def fired_beside_a_live_run(f):
    made(f, "skip", 10)["finished"] = T0 + 32


@lie("I4", "of its runs not over, overlap is parallel")
def fired_beside_too_many(f):
    for due in (10, 20):
        made(f, "parallel", due)["finished"] = T0 + 42


@lie("I4", "but 1 of its runs were not over")
def skipped_with_a_place_left(f):
    made(f, "parallel", 20)["finished"] = T0 + 25
    f.attempts[row(f, "parallel", 20)["run"]][0]["opened"] = T0 + 24


@lie("I4", "waited, 2 may")
def skipped_with_a_short_queue(f):
    f.attempts[row(f, "queue", 10)["run"]][0]["opened"] = T0 + 25


@lie("I4", "of its runs queued, 2 may be")
def fired_into_a_full_queue(f):
    fires_instead(f, "queue", 30)


@lie("I4", "but its overlap is")
def skipped_by_another_policy(f):
    becomes(f, row(f, "queue", 30), "skipped", "overlap.skip")


@lie("I4", "began beside")
def two_at_once(f):
    f.attempts[row(f, "replace", 40)["run"]][0]["opened"] = T0 + 40.1
    made(f, "replace", 40)["finished"] = T0 + 50.9
    f.attempts[row(f, "replace", 50)["run"]][0]["opened"] = T0 + 49.2
    made(f, "replace", 50)["created"] = T0 + 49.2


@lie("I4", "was not cancelled for it")
def not_replaced(f):
    f.commands = [c for c in f.commands if c.get("actor") != "schedule"]


@lie("I4", "does not say so")
def replaced_without_a_reason(f):
    run = row(f, "replace", 10)["run"]
    del f.events[run][-1]["items"][0]["reason"]


@lie("I4", "a schedule's command")
def replaced_where_nothing_is(f):
    command = next(c for c in f.commands if c.get("actor") == "schedule")
    f.commands.append({**command, "run": row(f, "skip", 30)["run"]})


@lie("I4", "nobody ordered it")
def says_replaced(f):
    next(c for c in f.commands if c.get("actor") == "schedule")["reason"] = "somebody"


@lie("I17", "after its start deadline")
def started_too_late(f):
    f.attempts[row(f, "expires", 30)["run"]][0]["opened"] += 1


@lie("I17", "before its start deadline")
def expired_too_soon(f):
    made(f, "expires", 20)["finished"] -= 1


@lie("I17", "more than its start deadline")
def expired_too_late(f):
    made(f, "expires", 20)["finished"] += 20


@lie("I17", "expired after it was started")
def expired_with_an_attempt(f):
    run = row(f, "expires", 20)["run"]
    f.attempts[run] = copy.deepcopy(f.attempts[row(f, "expires", 30)["run"]])


@lie("I17", "without a start deadline")
def expired_for_no_reason(f):
    f.tasks["expires"]["definition"]["schedule"]["start_deadline_seconds"] = None


@lie("I8", "its event is")
def missed_without_an_event(f):
    o = row(f, "none", 70)
    del f.events[o["event"]]
    o["event"] = None


@lie("I8", "in 0 rows")
def an_event_is_gone(f):
    del f.events[row(f, "none", 70)["event"]]


@lie("I8", "its event says")
def an_event_says_another_rule(f):
    f.events[row(f, "none", 70)["event"]][0]["items"][0]["rule"] = "catchup.latest"


@lie("I8", "its event says")
def an_event_counts_wrong(f):
    f.events[row(f, "none", 70)["event"]][0]["items"][0]["n"] = 1


@lie("I8", "events without a run")
def an_event_of_no_decision(f):
    f.events["00000000-0000-7000-8000-0000000000fe"] = copy.deepcopy(f.events[row(f, "none", 70)["event"]])


@lie("I22", "the event of a decision")
def a_socket_missed_a_decision(f):
    event = row(f, "none", 70)["event"]
    f.readers["reader-socket1"] = [line for line in f.readers["reader-socket1"] if line.get("run") != event]


@pytest.mark.parametrize("invariant, what, change", LIES)
def test_a_lie_is_seen(invariant, what, change):
    f = copy.deepcopy(CLEAN)
    change(f)
    found = problems_of(f)
    assert [p for p in found if p["invariant"] == invariant and what in p["what"]], found


def test_a_decision_about_very_many_counts_what_it_can():
    w = Policies()
    w.task("dense", expr="* * * * * *", created=T0 - 20000, effective_until=stamp(T0 + 1))
    w.f.faults[0].update(at=T0 - 30000, healed=T0)
    w.passed("dense", "missed", "catchup.latest", T0 - 19999, T0, T0 - 1, 10000)
    w.fired("dense", T0)
    assert judge.judge(w.f) == []
    ends_at(w.f, w.f.occurrences[0], T0 - 1, 20001)
    assert {p["invariant"] for p in problems_of(w.f)} == {"I1"}


def test_runs_that_lived_while_the_clock_was_set_back_prove_nothing():
    f = copy.deepcopy(CLEAN)
    fired_beside_a_live_run(f)
    assert [p for p in problems_of(f) if p["invariant"] == "I4"]
    f.faults.append({"no": 2, "kind": "outage", "on": "server", "node": None, "at": T0 + 13, "healed": T0 + 18, "step_s": -3600.0})
    assert not [p for p in problems_of(f) if p["invariant"] == "I4"]


def test_an_end_that_was_stamped_after_the_clock_was_set_back_proves_nothing():
    """Made long before, by the stamps: the clock had been set forward in between."""
    f = copy.deepcopy(CLEAN)
    fired_beside_a_live_run(f)
    f.faults.append({"no": 2, "kind": "outage", "on": "server", "node": None, "at": T0 + 420, "healed": T0 + 429, "step_s": -420.0})
    assert not [p for p in problems_of(f) if p["invariant"] == "I4"]


# The oracle by hand ----------------------------------------------------------------------------------


def seconds(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())


BERLIN = {"zone": "Europe/Berlin"}


@pytest.mark.parametrize("kind, expr, more, day, hours, want", [
    ("every", "40m", {"anchor": seconds("2026-11-22T10:00:00")}, "2026-11-22T10:30:00", 2, ["22 10:40", "22 11:20", "22 12:00"]),
    ("times", "02:30,14:00 0000001", BERLIN, "2026-11-21T00:00:00", 48, ["22 01:30", "22 13:00"]),
    ("times", "02:30,02:45 1111111", BERLIN, "2026-03-29T00:00:00", 4, ["29 01:00"]),            # the gap's end, once
    ("window", "09:00-10:00-25 1111111", BERLIN, "2026-11-22T00:00:00", 12, ["22 08:00", "22 08:25", "22 08:50"]),
    ("ordinal", "last sunday 02:30", {"fold": "both", **BERLIN}, "2026-10-20T00:00:00", 240, ["25 00:30", "25 01:30"]),
    ("ordinal", "fifth monday 06:00", {}, "2026-11-01T00:00:00", 720, ["30 06:00"]),
    ("rrule", "DTSTART:20261122T100000\nRRULE:FREQ=MINUTELY;INTERVAL=50", {}, "2026-11-22T10:00:00", 2, ["22 10:50", "22 11:40"]),
    ("rrule", "DTSTART:20261122T100000\nRRULE:FREQ=DAILY;BYHOUR=3;BYMINUTE=5;BYDAY=TU", {}, "2026-11-22T10:00:00", 72, ["24 03:05"]),
    ("once", "2026-11-22T11:00:00Z", {}, "2026-11-22T10:00:00", 2, ["22 11:00"]),
    ("on_demand", "", {}, "2026-11-22T10:00:00", 2, []),
    ("cron", "0 12 * * *", {"exclude": frozenset({DAY})}, "2026-11-22T13:00:00", 48, ["24 12:00"]),
    ("cron", "0 12 * * *", {"include": frozenset({DAY})}, "2026-11-21T13:00:00", 72, ["23 12:00"]),
    ("cron", "0 12 * * MON", {"exclude": frozenset({DAY}), "on_hit": "next_business_day"}, "2026-11-22T13:00:00", 48, ["24 12:00"]),
    ("cron", "0 12 * * MON", {"exclude": frozenset({DAY}), "on_hit": "previous_business_day"}, "2026-11-19T13:00:00", 96, ["20 12:00"]),
    ("cron", "0 12 * * *", {"effective_from": seconds("2026-11-23T12:00:00"), "effective_until": seconds("2026-11-24T12:00:00")},
     "2026-11-22T00:00:00", 72, ["23 12:00"]),
    ("cron", "0 0 LW * *", {}, "2026-10-29T00:00:00", 72, ["30 00:00"]),
    ("cron", "0 22-4/3 * * *", {}, "2026-11-22T20:00:00", 12, ["22 22:00", "23 01:00", "23 04:00"]),
    ("cron", "0 0 * * 0#4,5L", {}, "2026-11-20T12:00:00", 240, ["22 00:00", "27 00:00"]),
])
def test_oracle_by_hand(kind, expr, more, day, hours, want):
    found = oracle.Schedule(kind, expr, **more).due_times(seconds(day), seconds(day) + hours * 3600)
    assert [datetime.fromtimestamp(s, timezone.utc).strftime("%d %H:%M") for s in found] == want


def test_what_is_passed_over_by_hand():
    def over(expr, day, hours, kind="cron", **more):
        found = oracle.Schedule(kind, expr, **more).passed_over(seconds(day), seconds(day) + hours * 3600)
        return {rule: [datetime.fromtimestamp(s, timezone.utc).strftime("%d %H:%M") for s in times] for rule, times in found.items()}
    assert over("0 12 * * *", "2026-11-22T13:00:00", 48, exclude=frozenset({DAY})) == {"calendar.exclude": ["23 12:00"]}
    assert over("0 12 * * *", "2026-11-22T13:00:00", 48, include=frozenset({DAY})) == {"calendar.include": ["24 12:00"]}
    assert over("30 2 * * *", "2026-03-29T00:00:00", 4, gap="skip", **BERLIN) == {"dst.gap": ["29 01:00"]}
    assert over("30 2 * * *", "2026-10-25T00:00:00", 4, **BERLIN) == {"dst.fold": ["25 01:30"]}
    assert over("30 2 * * *", "2026-10-25T00:00:00", 4, fold="second", **BERLIN) == {"dst.fold": ["25 00:30"]}
    assert over("0 12 * * *", "2026-11-22T13:00:00", 48) == {}


def test_jitter_is_the_tasks_own():
    offs = {oracle.jitter_off(f"task-{n}", 5) for n in range(100)}
    assert offs == set(range(6)) and oracle.jitter_off("any", 0) == 0
