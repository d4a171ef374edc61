# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The judge's part about schedules: due times and rows of occurrences match one to one, and each row's rule was right.

The due times are the oracle's. A row is about one time or about all from `due` to `until`; rows of calendars and clock changes
are about times of which nothing comes (oracle.passed_over), all others about due times. What a row claims is
checked against its surroundings at the time of the decision: later due times (catch-up), other runs (overlap).
All times are the database's. Runs that lived while its clock was set back cannot be ordered by their stamps, and then nothing is concluded
from them.
"""
import bisect
import collections
import functools
from dataclasses import dataclass

import oracle
from common import LATE_S, OUTAGES, SKEW_S, excused, items, lands, problem, set_back, stamp, windows

CATCH_UP_STEPS = 10000  # times counted, and looked at, in a decision
CATCH_UP_LATE_S = 60    # with catch-up none later than this is missed
PASSED_MAX = 90         # rows that one decision writes at least before it leaves some out
EDGE_S = 1.0            # around the making of a schedule: its first due time may be on either side
ANCHOR_S = 5.0          # a task is checked, then made
AT_ONCE_S = 1.0         # rows of one transaction, and what is seen as of one instant
READ_S = 3.0            # a decision may be about what was due so long ago ...
STALE_S = 12.0          # ... or so long, if an engine was stopped before it sent it
CATCH_UP = ("catchup.latest", "catchup.none", "catchup.limit", "catchup.deadline")
CATCH_UP_RULES = {"latest": "catchup.latest", "none": "catchup.none", "all": "catchup.limit"}
OVERLAP_RULES = {"overlap.queue_full": "queue", "overlap.skip": "skip", "overlap.parallel_full": "parallel"}
PASSED_OVER = ("calendar.exclude", "calendar.include", "dst.gap", "dst.fold")
REPLACED = "overlap.replace"


@dataclass
class Plan:
    """What a task's definition says of its schedule."""
    schedule: oracle.Schedule
    catch_up: str
    limit: int
    deadline: float
    jitter_off: int
    start_deadline: float
    overlap: str
    overlap_limit: int
    anchor: float            # as it is stored; the schedule's is the beginning, if it has one


def _days(f, names):
    return frozenset(day for name in names for day in f.calendars[name])


def _instant(text, default):
    return stamp(text) if text else default


def plan_of(f, task_id):
    """None if the task has no due times."""
    d = f.tasks[task_id]["definition"]
    s = d.get("schedule") or {"kind": "cron" if d.get("cron_expression") else "on_demand", "expr": d.get("cron_expression"),
                              **{k: d.get(k) for k in ("timezone", "dst_gap", "dst_fold")}}
    if s["kind"] == "on_demand":
        return None
    since = _instant(s.get("effective_from"), float("-inf"))
    anchor = f.tasks[task_id].get("anchor") or f.tasks[task_id]["created"]
    return Plan(
        oracle.Schedule(s["kind"], s["expr"], s["timezone"], s["dst_gap"], s["dst_fold"],
                        int(since if s.get("effective_from") else anchor), since,
                        _instant(s.get("effective_until"), float("inf")),
                        _days(f, s["include"]) if s.get("include") else None, _days(f, s.get("exclude") or []), s.get("on_hit") or "skip"),
        s.get("catch_up") or "latest", s.get("catch_up_limit") or 10, s.get("catch_up_deadline_seconds"),
        oracle.jitter_off(task_id, s.get("jitter_seconds") or 0), s.get("start_deadline_seconds"),
        d.get("overlap") or "queue", d.get("overlap_limit") or (1 if (d.get("overlap") or "queue") == "queue" else None),
        f.tasks[task_id].get("anchor") or (since if s.get("effective_from") else f.tasks[task_id]["created"]))


# Every time in one row, and when ---------------------------------------------------------------------


class Decisions:
    """Of one task: its due times, its rows, and which rows are about which times."""

    def __init__(self, f, task_id, plan, rows):
        self.f, self.id, self.task, self.plan = f, task_id, f.tasks[task_id], plan
        self.name = self.task["definition"]["name"]
        since = self.task["created"] - EDGE_S
        self.due = plan.schedule.due_times(since, f.due_until)
        known = set(self.due)
        self.over = {rule: [t for t in found if t not in known] for rule, found in plan.schedule.passed_over(since, f.due_until).items()}
        self.rows = [o for o in rows if o["rule"] not in PASSED_OVER]
        self.over_rows = [o for o in rows if o["rule"] in PASSED_OVER]

    def say(self, invariant, what):
        return problem(invariant, f"{self.name}: {what}", task=self.id)

    def between(self, times, first, last):
        """first <= t <= last."""
        return times[bisect.bisect_left(times, first):bisect.bisect_right(times, last)]

    def covered(self, o, times):
        return [o["due"]] if o["until"] is None else self.between(times, o["due"], o["until"])

    def pending(self, after, at):
        """How many due times after that one it was time for at that instant."""
        return bisect.bisect_right(self.due, at - self.plan.jitter_off) - bisect.bisect_right(self.due, after)

    def firing_with(self, o):
        """The row of the same transaction that let a later due time fire (or said why not), or None."""
        last = o["until"] or o["due"]
        return next((x for x in self.rows if x["due"] > last and abs(x["decided"] - o["decided"]) < AT_ONCE_S
                     and x["rule"] not in CATCH_UP), None)


def check_due_times(d, outages):
    known, decided, counts = set(d.due), collections.Counter(), []
    off = d.plan.jitter_off
    for o in d.rows:
        covered = d.covered(o, d.due)
        decided.update(covered)
        counts.append((o, len(covered)))
        for t in covered:
            if t not in known and t <= d.f.due_until:
                yield d.say("I1", f"decided for {t}, which is no due time")
        if covered and o["decided"] < covered[-1] + off - SKEW_S:
            yield d.say("I3", f"due {covered[-1]} and {off} s, decided {covered[-1] + off - o['decided']:.3f} s early")
        if covered and o["decided"] > excused(outages, covered[0] + off, LATE_S):
            yield d.say("I2", f"due {covered[0]}, decided {o['decided'] - covered[0] - off:.1f} s late")
    yield from _check_counts(d, counts)
    for t in d.due:
        if decided[t] == 0 and t > d.task["created"] + EDGE_S and t + off <= d.f.due_until:
            yield d.say("I1", f"no decision about {t}")
        if decided[t] > 1:
            yield d.say("I1", f"{decided[t]} decisions about {t}")


def _check_counts(d, counts):
    """Ranges count what they cover; in a decision about very many they say at least how many."""
    for o, n in counts:
        if o["until"] is None or o["until"] > d.f.due_until:
            continue
        together = sum(m for x, m in counts if abs(x["decided"] - o["decided"]) < AT_ONCE_S and x["rule"] in CATCH_UP)
        is_counted = together < CATCH_UP_STEPS
        if o["n"] != n if is_counted else not 1 <= o["n"] <= max(n, 1):
            yield d.say("I1", f"a range from {o['due']} to {o['until']} counts {o['n']}, {n} were due")


def check_passed_over(d):
    """What a calendar or the clock took away is told, each time once, as soon as what comes after it is decided."""
    told = collections.defaultdict(collections.Counter)
    for o in d.over_rows:
        times = d.over.get(o["rule"], [])
        covered = d.between(times, o["due"], o["until"] or o["due"])
        told[o["rule"]].update(covered)
        if o["decision"] != "skipped":
            yield d.say("I1", f"{o['rule']} at {o['due']} is {o['decision']}")
        if o["due"] > d.f.due_until or (o["until"] or 0) > d.f.due_until:
            continue
        if not covered or o["rule"] != "dst.gap" and o["n"] != len(covered):
            yield d.say("I1", f"{o['rule']} from {o['due']} to {o['until']} counts {o['n']}, there were {len(covered)} such times")
        if o["decided"] < (o["until"] or o["due"]) - SKEW_S:
            yield d.say("I3", f"{o['rule']} at {o['due']} was told before that time")
    ends = sorted((o["until"] or o["due"], o["decided"]) for o in d.rows)
    must_be_told = functools.lru_cache(maxsize=None)(lambda after: _must_be_told(d, ends, after))
    for rule, times in d.over.items():
        for t in times:
            if told[rule][t] > 1:
                yield d.say("I1", f"{told[rule][t]} rows tell of {rule} at {t}")
            if told[rule][t] == 0 and t > d.task["created"] + EDGE_S and must_be_told(bisect.bisect_left(ends, (t, 0))):
                yield d.say("I1", f"no row tells of {rule} at {t}")


def _must_be_told(d, ends, after):
    """What is before ends[after] and after the one before: was that decided, and not so much at once that it may have been left out?"""
    if after == len(ends):
        return False
    at = ends[after][1]
    begun = max([end for end, decided in ends[:after] if decided < at - AT_ONCE_S], default=d.task["created"])
    looked_at = sum(len(d.between(times, begun, ends[after][0])) for times in (d.due, *d.over.values()))
    rows = sum(abs(o["decided"] - at) < AT_ONCE_S for o in d.over_rows)
    return looked_at < CATCH_UP_STEPS and rows < PASSED_MAX


# Catch-up ------------------------------------------------------------------------------------------


def check_catch_up(d, spans):
    for o in d.rows:
        if o["rule"] in CATCH_UP:
            yield from _check_missed(d, o)
        else:
            yield from _check_taken(d, o, spans)


def _check_missed(d, o):
    p, last = d.plan, o["until"] or o["due"]
    age, at = o["decided"] - p.jitter_off - last, f"{o['rule']} about {o['due']} to {last}"
    if o["decision"] != "missed":
        yield d.say("I1", f"{at} is {o['decision']}")
    if o["rule"] == "catchup.deadline":
        if not p.deadline or age < p.deadline - SKEW_S:
            yield d.say("I2", f"{at}, {age:.1f} s old, its deadline is {p.deadline}")
    elif o["rule"] != CATCH_UP_RULES[p.catch_up]:
        yield d.say("I2", f"{at}, but its catch-up is {p.catch_up}")
    elif o["rule"] == "catchup.limit":
        if d.pending(last, o["decided"]) < p.limit:
            yield d.say("I2", f"{at}, with {d.pending(last, o['decided'])} after it, {p.limit} may fire")
    elif not d.firing_with(o) and (o["rule"] == "catchup.latest" or age <= CATCH_UP_LATE_S - SKEW_S):
        yield d.say("I1" if o["rule"] == "catchup.latest" else "I2", f"{at}: passed over without a later decision")


def _check_taken(d, o, spans):
    """A due time that fired, or would have but for other runs: may it, so late, with so many after it?"""
    p, slack = d.plan, READ_S
    if any(start <= o["decided"] and until >= o["due"] for start, until in spans):
        slack = STALE_S
    age, kept = o["decided"] - p.jitter_off - o["due"], p.limit if p.catch_up == "all" else 1
    if p.deadline and age > p.deadline + slack:
        yield d.say("I2", f"due {o['due']} was taken {age:.1f} s late, the deadline is {p.deadline} s")
    if p.catch_up == "none" and age > CATCH_UP_LATE_S + slack:
        yield d.say("I2", f"due {o['due']} was taken {age:.1f} s late, though late ones are not made up for")
    waiting = d.pending(o["due"], o["decided"] - slack)
    if waiting >= kept:
        yield d.say("I2", f"due {o['due']} was taken with {waiting} due times after it, catch-up is {p.catch_up} of {kept}")


# Overlap -------------------------------------------------------------------------------------------


class Runs:
    """The runs of one task as spans of the database's time."""

    def __init__(self, f, runs, set_clock):
        self.all, landed = [], lands(f)
        for run_id in runs:
            run = f.runs[run_id]
            opened = [a["opened"] for a in f.attempts.get(run_id, [])]
            end = run["finished"] if run["state"] else float("inf")
            started = opened[0] if opened else end
            is_sure = end >= started >= run["created"] - SKEW_S and not any(
                start <= max(end, run["created"]) and until >= run["created"] for start, until in set_clock) and not any(
                run["created"] <= at and start <= end <= until for start, until, at in landed)
            self.all.append({"id": run_id, "created": run["created"], "started": started, "end": end, "is_sure": is_sure,
                             "is_scheduled": run["trigger"] == "schedule", "has_attempt": bool(opened)})
        self.all.sort(key=lambda r: r["created"])

    def surely(self, at, until="end", but=None):
        return [r for r in self.all if r["is_sure"] and r["created"] < at - AT_ONCE_S and r[until] > at + AT_ONCE_S and r["id"] != but]

    def maybe(self, at, until="end", but=None):
        return [r for r in self.all if r["id"] != but and (not r["is_sure"] or
                r["created"] <= at + AT_ONCE_S and r[until] >= at - AT_ONCE_S)]


def _scheduled(runs):
    return [r for r in runs if r["is_scheduled"]]


def check_overlap(d, runs):
    for o in d.rows:
        if o["rule"] in OVERLAP_RULES:
            yield from _check_skipped(d, o, runs)
        elif o["decision"] == "fired":
            yield from _check_fired(d, o, runs)
    if d.plan.overlap != "parallel":
        started = sorted((r for r in runs.all if r["has_attempt"] and r["is_sure"]), key=lambda r: r["started"])
        for one, two in zip(started, started[1:]):
            if two["started"] < one["end"] - AT_ONCE_S:
                yield d.say("I4", f"{two['id']} began beside {one['id']}, overlap is {d.plan.overlap}")


def _check_skipped(d, o, runs):
    p, at = d.plan, f"due {o['due']} was skipped by {o['rule']}"
    if o["decision"] != "skipped":
        yield d.say("I1", f"{o['rule']} at {o['due']} is {o['decision']}")
    if OVERLAP_RULES[o["rule"]] != p.overlap:
        yield d.say("I4", f"{at}, but its overlap is {p.overlap}")
        return
    waiting = _scheduled(runs.maybe(o["decided"], "started"))
    if p.overlap == "queue" and len(waiting) < p.overlap_limit:
        yield d.say("I4", f"{at}, skipped as the queue was full, but {len(waiting)} waited, {p.overlap_limit} may")
    live = runs.maybe(o["decided"])
    if p.overlap != "queue" and len(live) < (p.overlap_limit or 1):
        yield d.say("I4", f"{at}, but {len(live)} of its runs were not over")
    named = (o.get("detail") or {}).get("run_id")
    if p.overlap != "queue" and named not in [r["id"] for r in live]:
        yield d.say("I4", f"{at}: {named}, which it names, was not in the way")


def _check_fired(d, o, runs):
    p, at = d.plan, f"due {o['due']} fired"
    waiting = _scheduled(runs.surely(o["decided"], "started", but=o["run"]))
    live = runs.surely(o["decided"], but=o["run"])
    if p.overlap == "queue" and len(waiting) >= p.overlap_limit:
        yield d.say("I4", f"{at} with {len(waiting)} of its runs queued, {p.overlap_limit} may be")
    if p.overlap == "skip" and live or p.overlap == "parallel" and p.overlap_limit and len(live) >= p.overlap_limit:
        yield d.say("I4", f"{at} with {len(live)} of its runs not over, overlap is {p.overlap} {p.overlap_limit or ''}")
    if p.overlap == "replace":
        for r in live:
            if not any(c["run"] == r["id"] and c["kind"] == "run.cancel" for c in d.f.commands):
                yield d.say("I4", f"{at}: {r['id']} was not cancelled for it")


def check_replaced(f, plans):
    """Cancels that a schedule ordered: of such tasks only, and the run says why."""
    for c in f.commands:
        if c.get("actor") != "schedule":
            continue
        run = f.runs.get(c["run"])
        plan = run and plans.get(run["task"])
        if c["kind"] != "run.cancel" or c.get("reason") != REPLACED or not plan or plan.overlap != "replace":
            yield problem("I4", f"a schedule's command {c['kind']} ({c.get('reason')}) of run {c['run']}", run=c["run"])
            continue
        said = [i for i in items(f, c["run"]) if i["type"] in ("task_cancelling", "task_cancelled") and "reason" in i]
        if c["status"] in (200, 202) and not said:
            yield problem("I4", f"run {c['run']} was replaced and does not say so", run=c["run"])
    ordered = {(c["run"], c.get("reason")) for c in f.commands if c["kind"] == "run.cancel"}
    for run_id in f.runs:
        for i in items(f, run_id):
            if i.get("reason") == REPLACED and (run_id, REPLACED) not in ordered:
                yield problem("I4", f"run {run_id} says that it was replaced, nobody ordered it", run=run_id)


# Start deadlines -----------------------------------------------------------------------------------


def check_start_deadlines(f, plans, outages, set_clock):
    for run_id, run in f.runs.items():
        plan = plans.get(run["task"])
        limit = plan.start_deadline if plan and run["trigger"] == "schedule" else None
        opened = [a["opened"] for a in f.attempts.get(run_id, [])]
        if run["state"] == "expired" and not limit:
            yield problem("I17", f"run {run_id} expired without a start deadline", run=run_id)
        if not limit:
            continue
        until, is_sure = run["created"] + limit, not any(a <= run["created"] + limit + 1 and b >= run["created"] for a, b in set_clock)
        if run["state"] == "expired":
            if opened or any(w["run"] == run_id for w in f.witness):
                yield problem("I17", f"run {run_id} expired after it was started", run=run_id)
            if is_sure and run["finished"] < until - SKEW_S:
                yield problem("I17", f"run {run_id} expired {until - run['finished']:.3f} s before its start deadline", run=run_id)
        elif opened and opened[0] > until + SKEW_S:
            yield problem("I17", f"run {run_id} was started {opened[0] - until:.3f} s after its start deadline", run=run_id)
        waits_until = (opened or [run["finished"]])[0] or (float("inf") if f.is_final else 0)
        if waits_until > excused(outages, until, LATE_S):
            yield problem("I17", f"run {run_id} waited for {waits_until - until:.1f} s more than its start deadline", run=run_id)


# Events of decisions -------------------------------------------------------------------------------


def event_ids(f):
    return {o["event"] for o in f.occurrences if o.get("event")}


def check_decision_events(f):
    for o in f.occurrences:
        at = f"{f.tasks.get(o['task'], {}).get('name', o['task'])} at {o['due']}, {o['rule']}"
        if bool(o.get("event")) == (o["decision"] == "fired"):
            yield problem("I8", f"{at}: {o['decision']}, and its event is {o.get('event')}")
        if not o.get("event"):
            continue
        rows = f.events.get(o["event"], [])
        told = items(f, o["event"])
        if len(rows) != 1 or len(told) != 1 or rows[0]["first_seq"] != 1 or rows[0]["task"] != o["task"]:
            yield problem("I8", f"{at}: its event {o['event']} is in {len(rows)} rows with {len(told)} items")
            continue
        item = told[0]
        want = ("occurrence_" + o["decision"], o["rule"], o["n"], o["due"], o["until"])
        got = (item["type"], item.get("rule"), item.get("n"), stamp(item["due_at"]) if item.get("due_at") else None,
               stamp(item["until_at"]) if item.get("until_at") else None)
        if got != want:
            yield problem("I8", f"{at}: its event says {got}")


# All -----------------------------------------------------------------------------------------------


def check_schedules(f):
    outages, stops = windows(f, 3.0, OUTAGES), windows(f, 3.0)
    set_clock = set_back(f)
    rows, runs_of, plans = collections.defaultdict(list), collections.defaultdict(list), {}
    for o in f.occurrences:
        rows[o["task"]].append(o)
    for run_id, run in f.runs.items():
        runs_of[run["task"]].append(run_id)
    for task_id in f.tasks:
        plan = plan_of(f, task_id)
        if plan is None:
            continue
        plans[task_id] = plan
        since = plan.schedule.effective_from if plan.schedule.effective_from > 0 else f.tasks[task_id]["created"]
        if abs(plan.anchor - since) > ANCHOR_S:
            yield problem("I1", f"{f.tasks[task_id]['name']}: counts from {plan.anchor}, not from its making or beginning", task=task_id)
        d = Decisions(f, task_id, plan, sorted(rows[task_id], key=lambda o: (o["due"], o["decided"])))
        yield from check_due_times(d, outages)
        yield from check_passed_over(d)
        yield from check_catch_up(d, stops)
        yield from check_overlap(d, Runs(f, runs_of[task_id], set_clock))
    for o in f.occurrences:
        yield from _check_row(f, o, plans)
    yield from _check_runs(f)
    yield from check_replaced(f, plans)
    yield from check_start_deadlines(f, plans, outages, set_clock)
    yield from check_decision_events(f)


def counts(f):
    """Of each task with a schedule: how many due times there were and what became of them, and of times that were none."""
    found = {}
    for task_id, task in f.tasks.items():
        plan = plan_of(f, task_id)
        if plan is None:
            continue
        d = Decisions(f, task_id, plan, [o for o in f.occurrences if o["task"] == task_id])
        due = d.between(d.due, task["created"] + EDGE_S, f.due_until - plan.jitter_off)
        by, known = collections.Counter(), set(due)
        for o in d.rows:
            n = len(known.intersection(d.covered(o, due)))
            by[o["decision"]] += n
            by[o["rule"]] += n
        found[d.name] = {"due": len(due), **{what: by[what] for what in ("fired", "skipped", "missed")},
                         "passed_over": sum(o["n"] for o in d.over_rows), "jitter_s": plan.jitter_off,
                         "states": dict(collections.Counter(r["state"] or "live" for r in f.runs.values() if r["task"] == task_id)),
                         "rules": {rule: n for rule, n in by.items() if "." in rule}}
    return dict(sorted(found.items()))


def _check_row(f, o, plans):
    name = f"{f.tasks.get(o['task'], {}).get('name', o['task'])} at {o['due']}"
    if o["task"] not in plans:
        yield problem("I1", f"{name}: a decision about a task without due times")
    if o["decision"] == "fired":
        run = f.runs.get(o["run"])
        if run is None:
            yield problem("I1", f"{name}: fired, its run {o['run']} is gone", run=o["run"])
        elif run["due"] != o["due"] or run["task"] != o["task"]:
            yield problem("I1", f"{name}: its run {o['run']} is another's", run=o["run"])
        if o["rule"] != "due":
            yield problem("I1", f"{name}: fired by {o['rule']}")
    elif o["rule"] not in (*CATCH_UP, *OVERLAP_RULES, *PASSED_OVER):
        yield problem("I1", f"{name}: {o['decision']} without a known reason ({o['rule']})")


def _check_runs(f):
    fired = {o["run"] for o in f.occurrences if o["run"]}
    for run_id, run in f.runs.items():
        if run["trigger"] == "schedule":
            if run_id not in fired:
                yield problem("I1", f"run {run_id}: made for {run['due']} without a decision", run=run_id)
            if run["created"] < run["due"] - SKEW_S:
                yield problem("I3", f"run {run_id}: made {run['due'] - run['created']:.3f} s early", run=run_id)


def punctuality(f):
    """Percentiles of decision minus due time, of the due times outside outages."""
    spans = windows(f, 3.0, OUTAGES)
    late = sorted(o["decided"] - o["due"] for o in f.occurrences
                  if o["until"] is None and excused(spans, o["due"], 1) == o["due"] + 1)
    return {p: round(late[min(len(late) - 1, int(len(late) * p / 100))], 3) for p in (50, 95, 99, 100)} if late else {}
