# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Does the judge bite? Facts of a small clean world, then one lie each: it must go red, by the right invariant."""
import copy
import pathlib
import sys
from datetime import datetime, timezone

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import judge  # noqa: E402
import oracle  # noqa: E402
from facts import Facts  # noqa: E402

T0 = 1795370400.0  # a whole minute
A, B, C, D = (f"00000000-0000-7000-8000-00000000000{c}" for c in "abcd")
CRON, SLOW, CHANGE = "cron", "slow", "change"
PARAMETERS = {"label": "w", "steps": 3, "step_ms": 100, "output_b": 5}


def stamp(t):
    return datetime.fromtimestamp(t, timezone.utc).isoformat(timespec="microseconds")


class World:
    """Builds facts run by run; feed numbers go up as events are added."""

    def __init__(self):
        self.f = Facts(is_final=True, due_until=T0 + 20)
        self.feed = 0
        self.f.nodes = {"node-1": {"name": "n1", "no": 1}, "node-2": {"name": "n2", "no": 2}}
        for name, kind, cron in ((CRON, "witness", "*/5 * * * * *"), (SLOW, "witness", None), (CHANGE, "witness_change", None)):
            self.f.tasks[name] = {"name": name, "type": kind, "enabled": True, "created": T0 + 0.5, "definition": {
                "name": name, "cron_expression": cron, "timezone": "UTC", "dst_gap": "run_at_gap_end", "dst_fold": "first"}}
        self.f.readers = {"reader-feed": [{"kind": "feed"}],
                          "reader-socket1": [{"kind": "joined", "task": t, "gap": False} for t in self.f.tasks]}

    def events(self, run, *items, at):
        rows = self.f.events.setdefault(run, [])
        first = rows[-1]["first_seq"] + len(rows[-1]["items"]) if rows else 1
        self.feed += 1
        rows.append({"first_seq": first, "task": self.f.runs[run]["task"], "node": 1, "incarnation": 1, "feed": self.feed,
                     "items": [{"at": stamp(at), "severity": "info", **i} for i in items]})
        self.f.readers["reader-feed"].append({"run": run, "first_seq": first, "node": 1, "incarnation": 1, "feed": self.feed,
                                              "n": len(items)})
        self.f.readers["reader-socket1"] += [{"kind": "event", "run": run, "seq": first + n} for n in range(len(items))]

    def run(self, run, task, at, trigger="manual", retries=1):
        kind = self.f.tasks[task]["type"]
        self.f.runs[run] = {"task": task, "type": kind, "trigger": trigger, "due": at if trigger == "schedule" else None,
                            "created": at + 0.01, "state": None, "attempts": None, "started": None, "finished": None, "live": None,
                            "policy": {"max_retries": retries, "retry_delay_seconds": 1, "timeout_seconds": 60,
                                       "parameters": dict(PARAMETERS)}}
        self.events(run, {"type": "task_created", "state": "queued"}, at=at + 0.01)
        if trigger == "schedule":
            self.f.occurrences.append({"task": task, "due": at, "decision": "fired", "rule": "due", "run": run, "until": None, "n": 1,
                                       "decided": at + 0.01})
        else:
            key = f"key-{run}"
            self.f.commands.append({"key": key, "kind": "run.create", "run": run, "created": at, "decided": at, "status": 201})
            self.f.client += [{"what": "sent", "kind": "run.create", "key": key, "at": at},
                              {"what": "answer", "kind": "run.create", "key": key, "at": at, "status": 201, "run": run}]

    def attempt(self, run, no, at, state="passed", code=None, steps=3):
        """One attempt of 1 s with one unit; lost ones are seen for their steps only."""
        r, unit, passed = self.f.runs[run], f"{run}.{no}.0", state == "passed"
        error, kind = ({"code": code, "message": ""}, "transient") if not passed else (None, None)
        self.events(run, {"type": "task_dispatched", "state": "dispatched", "attempt": no, "epoch": no}, at=at)
        self.events(run, {"type": "attempt_started", "state": "running", "attempt": no, "epoch": no}, at=at + 0.1)
        self.f.attempts.setdefault(run, []).append({
            "no": no, "epoch": no, "node": "node-1", "state": state, "opened": at, "started": at + 0.1, "finished": at + 1,
            "timeout": 60, "class": kind, "error": error})
        self.f.units[unit] = {"attempt": no, "no": 0, "epoch": no, "state": "passed" if passed else "failed", "started": at + 0.1,
                              "finished": at + 1, "class": kind, "error": error, "cut": 0}
        phases = [("start", 0)] + [("step", n + 1) for n in range(steps)] + ([("end", 0)] if passed else [])
        self.f.witness += [{"label": "w", "run": run, "attempt": no, "epoch": no, "unit": 0, "pid": 100 + no, "phase": p, "step": s,
                            "at": int((at + 0.1 + i / 10) * 1e6)} for i, (p, s) in enumerate(phases)]
        out = judge.expected_output(r["policy"], steps)
        self.f.output[unit] = [(0, out[:7]), (7, out[7:])]
        self.events(run, {"type": "unit_finished", "state": "passed"}, {"type": "attempt_success" if passed else "attempt_lost"},
                    at=at + 1)

    def end(self, run, state, at):
        self.f.runs[run].update(state=state, finished=at, attempts=len(self.f.attempts.get(run, [])))
        self.events(run, {"type": f"task_{state}", "state": state}, at=at)

    def cancel(self, run, at):
        key = f"cancel-{run}"
        self.f.commands.append({"key": key, "kind": "run.cancel", "run": run, "created": at, "decided": at, "status": 202})
        self.f.client += [{"what": "sent", "kind": "run.cancel", "key": key, "at": at},
                          {"what": "answer", "kind": "run.cancel", "key": key, "at": at, "status": 202, "run": run, "state": "cancelling"}]
        self.events(run, {"type": "task_cancelling", "state": "cancelling"}, at=at)


def clean():
    w = World()
    for n, due in enumerate((T0 + 5, T0 + 10, T0 + 15, T0 + 20)):
        run = f"00000000-0000-7000-8000-00000000001{n}"
        w.run(run, CRON, due, "schedule")
        w.attempt(run, 1, due + 0.1)
        w.end(run, "completed", due + 1.2)
    w.run(A, SLOW, T0 + 2)
    w.attempt(A, 1, T0 + 3, "lost", "takt.lost", steps=2)
    w.events(A, {"type": "task_retried", "state": "retry_wait"}, at=T0 + 4)
    w.events(A, {"type": "task_queued", "state": "queued"}, at=T0 + 5.1)
    w.attempt(A, 2, T0 + 5.2)
    w.end(A, "completed", T0 + 6.3)
    w.f.faults.append({"no": 1, "kind": "keeper", "node": "n1", "at": T0 + 3.5, "healed": T0 + 4, "units_hit": [f"{A}.1.0"]})
    w.run(B, CHANGE, T0 + 2)
    w.f.runs[B]["policy"]["parameters"]["fail"] = "not yet"
    w.attempt(B, 1, T0 + 3, "failed", "witness.failed", steps=2)
    w.events(B, {"type": "task_retried", "state": "retry_wait"}, at=T0 + 4)
    w.events(B, {"type": "task_queued", "state": "queued"}, at=T0 + 5)
    w.attempt(B, 2, T0 + 5.2)
    w.end(B, "completed", T0 + 6.3)
    w.f.faults.append({"no": 2, "kind": "taktd", "node": "n1", "at": T0 - 20, "healed": T0 + 5, "units_hit": []})
    w.run(C, SLOW, T0 + 8)
    w.attempt(C, 1, T0 + 8.1, "cancelled", "takt.cancelled", steps=1)
    w.f.units[f"{C}.1.0"].update(state="cancelled")
    w.f.attempts[C][0]["class"] = w.f.units[f"{C}.1.0"]["class"] = "cancelled"
    w.cancel(C, T0 + 9.2)
    w.end(C, "cancelled", T0 + 9.3)
    return w.f


CLEAN = clean()


def test_a_clean_world_is_clean():
    assert judge.judge(CLEAN) == []


def occurrence(f, n):
    return [o for o in f.occurrences if o["task"] == CRON][n]


def drop_run(f, run):
    for table in (f.runs, f.attempts, f.events):
        table.pop(run, None)
    f.units = {k: v for k, v in f.units.items() if not k.startswith(run)}
    f.witness = [w for w in f.witness if w["run"] != run]
    for name in f.readers:
        f.readers[name] = [line for line in f.readers[name] if line.get("run") != run]


LIES = []


def lie(invariant):
    def add(change):
        LIES.append(pytest.param(invariant, change, id=f"{invariant}-{change.__name__}"))
        return change
    return add


@lie("I1")
def a_decision_is_deleted(f):
    run = f.occurrences.pop(1)["run"]
    drop_run(f, run)


@lie("I1")
def a_decision_is_doubled(f):
    f.occurrences.append({**occurrence(f, 1)})


@lie("I1")
def a_decision_about_no_due_time(f):
    f.occurrences.append({**occurrence(f, 1), "due": T0 + 7, "decided": T0 + 7.1, "decision": "skipped", "rule": "catchup.latest",
                          "run": None})


@lie("I1")
def a_run_without_a_decision(f):
    f.occurrences.pop(3)


@lie("I1")
def a_skip_without_a_rule(f):
    drop_run(f, occurrence(f, 0)["run"])
    occurrence(f, 0).update(decision="skipped", rule="because", run=None)


@lie("I1")
def a_range_that_counts_wrong(f):
    for n in (0, 1):
        drop_run(f, occurrence(f, n)["run"])
    o = occurrence(f, 0)
    o.update(decision="skipped", rule="catchup.latest", run=None, until=T0 + 10, n=3, decided=T0 + 15.01)
    f.occurrences.remove(occurrence(f, 1))


@lie("I2")
def a_late_decision(f):
    occurrence(f, 1)["decided"] += 15


@lie("I3")
def an_early_decision(f):
    occurrence(f, 1)["decided"] -= 0.5


@lie("I3")
def an_early_run(f):
    f.runs[occurrence(f, 1)["run"]]["created"] -= 0.5


@lie("I3")
def an_early_process(f):
    for line in f.witness:
        if line["run"] == occurrence(f, 1)["run"]:
            line["at"] -= 2_000_000


@lie("I4")
def a_full_queue_that_was_empty(f):
    drop_run(f, occurrence(f, 1)["run"])
    occurrence(f, 1).update(decision="skipped", rule="overlap.queue_full", run=None)


@lie("I5")
def an_acknowledged_run_is_gone(f):
    drop_run(f, A)


@lie("I5")
def a_command_is_gone(f):
    f.commands = [c for c in f.commands if c["kind"] != "run.cancel"]


@lie("I5")
def a_key_with_two_runs(f):
    f.client.append({**next(c for c in f.client if c["what"] == "answer"), "run": B})


@lie("I5")
def a_doubled_command(f):
    f.commands.append({**f.commands[0], "run": B})


@lie("I5")
def a_run_nobody_ordered(f):
    f.runs[occurrence(f, 1)["run"]]["trigger"] = "manual"


@lie("I6")
def two_ends(f):
    f.events[A][-1]["items"] *= 2


@lie("I6")
def an_epoch_that_does_not_rise(f):
    f.attempts[A][1]["epoch"] = 1


@lie("I6")
def a_stale_result_is_taken(f):
    for line in f.witness:
        if line["run"] == A and line["attempt"] == 2:
            line["epoch"] = 1


@lie("I6")
def completed_with_a_failed_unit(f):
    f.units[f"{A}.2.0"].update(state="failed", error={"code": "takt.lost", "message": ""})


@lie("I6")
def passed_without_an_end(f):
    f.witness = [w for w in f.witness if not (w["run"] == A and w["phase"] == "end")]


@lie("I7")
def two_processes_of_a_unit(f):
    f.witness += [{**w, "pid": 999} for w in f.witness if w["run"] == A and w["attempt"] == 2]


@lie("I7")
def a_unit_nobody_knows(f):
    f.witness += [{**w, "attempt": 3} for w in f.witness if w["run"] == A and w["attempt"] == 2]


@lie("I7")
def two_attempts_at_one_instant(f):
    extra = [w for w in f.witness if w["run"] == B and w["attempt"] == 1][-1]
    f.witness.append({**extra, "step": extra["step"] + 1, "at": int((T0 + 5.35) * 1e6)})


@lie("I7")
def an_attempt_beside_an_open_one(f):
    f.attempts[A][0].update(state="running", finished=None)


@lie("I7")
def a_change_goes_on_after_its_takeover(f):
    f.events[B][2]["items"].append({"type": "attempt_taken_over", "severity": "info", "at": stamp(T0 + 3.05), "epoch": 2})


@lie("I9")
def a_lost_change_is_repeated(f):
    f.units[f"{B}.1.0"]["error"]["code"] = "takt.lost"
    f.faults[0]["units_hit"].append(f"{B}.1.0")


@lie("I12")
def a_start_is_told_twice(f):
    f.events[A][1]["items"] += [{"type": "unit_started", "severity": "info", "at": stamp(T0 + 3), "unit": 0}] * 2


@lie("I7")
def a_living_node_is_robbed(f):
    f.events[A][1]["items"].append({"type": "attempt_taken_over", "severity": "info", "at": stamp(T0 + 60), "from": "n2", "to": "n1"})


@lie("I8")
def an_event_is_deleted(f):
    f.events[A].pop(3)


@lie("I8")
def events_are_reordered(f):
    rows = f.events[A]
    rows[1]["items"], rows[2]["items"] = rows[2]["items"], rows[1]["items"]


@lie("I8")
def an_illegal_move(f):
    f.events[A][1]["items"][0]["state"] = "retry_wait"


@lie("I8")
def a_row_that_is_not_its_events(f):
    f.runs[A]["state"] = "failed"


@lie("I8")
def events_of_no_run(f):
    f.events[D] = copy.deepcopy(f.events[A])


@lie("I8")
def an_event_after_the_end(f):
    f.events[A][-1]["items"].append({"type": "progress", "severity": "info", "at": stamp(T0 + 7)})


@lie("I8")
def a_unit_still_running(f):
    f.units[f"{A}.2.0"]["state"] = "running"


@lie("I9")
def a_missing_attempt(f):
    f.attempts[A][1]["no"] = 3


@lie("I9")
def too_many_attempts(f):
    f.runs[A]["policy"]["max_retries"] = 0


@lie("I10")
def a_process_is_left(f):
    f.leftovers.append({"pid": 1, "comm": "takt-keeper"})


@lie("I10")
def a_process_after_its_deadline(f):
    f.runs[A]["policy"]["timeout_seconds"] = 1
    f.witness.append({**[w for w in f.witness if w["run"] == A and w["attempt"] == 1][-1], "step": 3, "at": int((T0 + 60) * 1e6)})


@lie("I11")
def the_bystander_is_killed(f):
    f.unexpected.append({"node": "", "process": "bystander", "status": -9})


@lie("I12")
def an_output_byte_is_missing(f):
    f.output[f"{A}.2.0"][1] = (7, f.output[f"{A}.2.0"][1][1][:-1])


@lie("I12")
def an_output_byte_is_wrong(f):
    f.output[f"{A}.1.0"][0] = (0, b"X" + f.output[f"{A}.1.0"][0][1][1:])


@lie("I12")
def output_is_repeated(f):
    f.output[f"{A}.2.0"].append(f.output[f"{A}.2.0"][0])


@lie("I12")
def a_step_is_missing(f):
    f.witness = [w for w in f.witness if not (w["run"] == A and w["attempt"] == 2 and w["step"] == 2)]


@lie("I12")
def lost_without_a_reason(f):
    f.faults[0]["units_hit"] = []


@lie("I12")
def a_lease_lost_without_an_outage(f):
    f.units[f"{A}.1.0"]["error"]["code"] = "takt.lease_lost"
    f.faults[0]["units_hit"] = []
    assert judge.judge(f) == []  # the node was down for long
    f.faults[1]["at"] = T0 + 4


@lie("I13")
def a_result_is_lost(f):
    f.faults[0]["units_hit"] = []
    f.witness.append({**[w for w in f.witness if w["run"] == A and w["attempt"] == 1][-1], "phase": "end"})


@lie("I14")
def a_cancel_is_forgotten(f):
    f.runs[C]["finished"] += 100


@lie("I14")
def a_cancelled_run_completes(f):
    f.client[-1].update(status=200, state="cancelled")
    f.runs[C]["state"] = "completed"


@lie("I15")
def a_retry_too_soon(f):
    f.attempts[A][1]["opened"] = f.attempts[A][0]["finished"] + 0.5


@lie("I15")
def a_permanent_failure_is_tried_again(f):
    f.attempts[A][0]["class"] = "permanent"


@lie("I15")
def a_retry_is_forgotten(f):
    last = f.attempts[A].pop()
    assert last["no"] == 2
    f.runs[A].update(state="failed", attempts=1)


@lie("I18")
def a_run_is_stuck(f):
    f.runs[A].update(state=None, finished=None, live={"state": "running", "epoch": 2, "attempt": 2, "event_seq": 14, "node": "node-1"})


@lie("I18")
def a_command_is_undecided(f):
    f.commands[0].update(decided=None, status=None)


@lie("I18")
def a_slow_takeover(f):
    f.faults.append({"no": 9, "kind": "dead", "node": "n2", "at": T0, "healed": T0 + 60, "taken_over_s": 55.0, "limit_s": 40.0})


@lie("I19")
def an_executor_that_died(f):
    f.unexpected.append({"node": "n1", "process": "executor", "status": -11})


@lie("I22")
def a_hole_in_the_feed(f):
    for row in f.events[A][-1:]:
        row["feed"] += 1000


@lie("I22")
def a_reader_that_missed(f):
    f.readers["reader-feed"].pop()


@lie("I22")
def a_reader_that_got_one_twice(f):
    f.readers["reader-feed"].append(f.readers["reader-feed"][-1])


@lie("I22")
def a_reader_out_of_order(f):
    lines = f.readers["reader-feed"]
    lines[3], lines[4] = lines[4], lines[3]


@lie("I22")
def a_socket_that_missed(f):
    f.readers["reader-socket1"].pop(10)


@lie("I22")
def a_socket_that_got_one_twice(f):
    f.readers["reader-socket1"].insert(10, f.readers["reader-socket1"][10])


@lie("I22")
def a_socket_that_was_told_of_a_gap(f):
    f.readers["reader-socket1"][0]["gap"] = True


@lie("I9")
def verify_has_found_something(f):
    f.verify.append({"name": "attempt_numbers", "invariant": "I9", "title": "attempts have numbers", "details": ["run 1: 3 after 1"]})


@lie("I8")
def an_event_changed_after_it_was_read(f):
    f.readers["reader-feed"][5]["n"] += 1


@pytest.mark.parametrize("invariant, change", LIES)
def test_a_lie_is_seen(invariant, change):
    f = copy.deepcopy(CLEAN)
    change(f)
    found = judge.judge(f)
    assert invariant in {p["invariant"] for p in found}, found


def test_every_check_is_lied_to():
    """A check that no lie reaches could be empty."""
    silent = {check.__name__ for check in judge.CHECKS}
    for parameters in LIES:
        f = copy.deepcopy(CLEAN)
        parameters.values[1](f)
        silent -= {check.__name__ for check in judge.CHECKS if list(check(f))}
    assert silent == set()


def seconds(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())


@pytest.mark.parametrize("expression, zone, day, more, want", [
    ("*/20 * * * * *", "UTC", "2026-11-22T10:00:00", {}, ["10:00:20", "10:00:40", "10:01:00"]),
    ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00", {}, ["01:00:00"]),                   # the gap's end
    ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00", {"gap": "skip"}, []),
    ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00", {}, ["00:30:00"]),                   # the fold's first
    ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00", {"fold": "second"}, ["01:30:00"]),
    ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00", {"fold": "both"}, ["00:30:00", "01:30:00"]),
    ("0 */2 * * *", "America/New_York", "2026-11-01T04:00:00", {}, ["07:00:00"]),                # the wall clock's
    ("0 12 13 * FRI", "UTC", "2026-11-13T11:00:00", {}, ["12:00:00"]),                            # either day
])
def test_oracle_by_hand(expression, zone, day, more, want):
    start = seconds(day)
    length = 60 if len(expression.split()) == 6 else 4 * 3600
    found = oracle.due_times(expression, zone, start, start + length, **more)
    assert [datetime.fromtimestamp(s, timezone.utc).strftime("%H:%M:%S") for s in found] == want
