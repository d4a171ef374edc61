# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Says what is wrong with the tables after a test; an empty list is good.

Events are numbered 1..n without gaps; folding them by lib/task/states.def gives the row's state by
legal moves and one terminal event; feed numbers have no gap per node and incarnation; nothing
finished is live; attempts and units of finished runs have ended; output has neither gap nor overlap.
"""
import pathlib
import re

_DEF = pathlib.Path(__file__).resolve().parents[2] / "lib/task/states.def"
_TEXT = _DEF.read_text(encoding="utf-8")
STATES = {name: last == "1" for name, last in re.findall(r"^STATE\((\w+), ([01])\)", _TEXT, re.M)}
MOVES = set(re.findall(r"^MOVE\((\w+), (\w+)\)", _TEXT, re.M))
TERMINAL_EVENTS = {"task_completed", "task_failed", "task_timed_out", "task_cancelled", "task_expired"}


def moves_run(item):
    """`state` of task_* and attempt_started is the run's; of unit_* it is the unit's."""
    return "state" in item and (item["type"].startswith("task_") or item["type"] == "attempt_started")


def fold(run, items, problems):
    state = None
    for item in items:
        if not moves_run(item):
            continue
        new = item["state"]
        if new not in STATES:
            problems.append(f"run {run}: {item['type']} leads to the unknown state {new}")
        elif state is None:
            if new != "queued":
                problems.append(f"run {run}: begins as {new}")
        elif (state, new) not in MOVES:
            problems.append(f"run {run}: {item['type']} moves {state} -> {new}")
        state = new
    return state


def check_run(run, rows, state, is_live, problems):
    seq = 1
    items = []
    for first, row_items in rows:
        if first != seq:
            problems.append(f"run {run}: event {seq} is followed by {first}")
        seq = first + len(row_items)
        items += row_items
    if not items or items[0]["type"] != "task_created":
        problems.append(f"run {run}: does not begin with task_created")
    folded = fold(run, items, problems)
    if folded != state:
        problems.append(f"run {run}: events say {folded}, the row says {state}")
    ends = sum(i["type"] in TERMINAL_EVENTS for i in items)
    if ends != (0 if is_live else 1):
        problems.append(f"run {run}: {ends} terminal events, live: {is_live}")
    if ends and items[-1]["type"] not in TERMINAL_EVENTS:
        problems.append(f"run {run}: {items[-1]['type']} comes after the end")
    for item in items:
        for member in ("type", "severity", "at"):
            if not isinstance(item.get(member), str):
                problems.append(f"run {run}: an event has no {member}: {item}")
    return seq - 1


def check(connection, may_be_live=False):
    problems = []

    def rows(text):
        return connection.execute(text).fetchall()

    events = {}
    for run, first, items in rows("select run_id, first_seq, items from takt.event order by run_id, first_seq"):
        events.setdefault(run, []).append((first, items))
    for run, state, live_state, event_seq in rows(
            "select r.id, r.state, l.state, l.event_seq from takt.run r left join takt.live l on l.run_id = r.id"):
        if state and live_state:
            problems.append(f"run {run}: finished as {state} and live as {live_state}")
        if not state and not live_state:
            problems.append(f"run {run}: neither finished nor live")
        if live_state and not may_be_live:
            problems.append(f"run {run}: still live as {live_state}")
        last = check_run(run, events.pop(run, []), state or live_state, live_state is not None, problems)
        if live_state and last != event_seq:
            problems.append(f"run {run}: {last} events, the live row counts {event_seq}")
    for task, decision, rule, event in rows("select task_id, decision, rule, event_id from takt.occurrence where event_id is not null"):
        told = [i for _, items in events.pop(event, []) for i in items]
        if [(i["type"], i["rule"]) for i in told] != [(f"occurrence_{decision}", rule)]:
            problems.append(f"task {task}: {decision} by {rule} is told as {told}")
    problems += [f"run {run}: events without a run" for run in events]
    feed = {}
    for node, incarnation, number in rows(
            "select node_no, incarnation, feed_seq from takt.event order by node_no, incarnation, feed_seq"):
        want = feed.get((node, incarnation), 0) + 1
        if number != want:
            problems.append(f"feed {node}-{incarnation}: {want} is followed by {number}")
        feed[node, incarnation] = number
    for run, no, state in rows("select a.run_id, a.no, a.state from takt.attempt a join takt.run r on r.id = a.run_id "
                               "where r.state is not null and a.state in ('dispatched', 'running')"):
        problems.append(f"run {run}: attempt {no} is still {state}")
    for run, no, state in rows("select u.run_id, u.no, u.state from takt.unit u join takt.run r on r.id = u.run_id "
                               "where r.state is not null and u.state in ('pending', 'running')"):
        problems.append(f"run {run}: unit {no} is still {state}")
    for run, n, top in rows("select run_id, count(*), max(no) from takt.attempt group by run_id"):
        if n != top:
            problems.append(f"run {run}: {n} attempts, the last is number {top}")
    problems += check_output(rows)
    for task, n in rows("select task_id, count(*) from takt.live where queue_depth and attempt > 0 "
                        "group by task_id having count(*) > 1"):
        problems.append(f"task {task}: {n} started runs at once")
    return problems


def check_output(rows):
    problems = []
    ends = {}
    for run, attempt, unit, off, raw_b in rows("select run_id, attempt, unit_no, off, raw_b from takt.output "
                                               "order by run_id, attempt, unit_no, off"):
        key = (run, attempt, unit)
        if off < ends.get(key, 0):
            problems.append(f"run {run} unit {unit}: output at {off} overlaps what ends at {ends[key]}")
        ends[key] = off + raw_b
    return problems


def check_witness(lines, steps):
    """Each (run, unit) started once per attempt and took each step once."""
    problems = []
    seen = {}
    for line in lines:
        key = (line["run"], line["attempt"], line["unit"], line["phase"], line["step"])
        seen[key] = seen.get(key, 0) + 1
    problems += [f"witnessed {n} times: {key}" for key, n in seen.items() if n != 1]
    for run, attempt, unit in {k[:3] for k in seen}:
        for step in range(1, steps + 1):
            if (run, attempt, unit, "step", step) not in seen:
                problems.append(f"run {run} unit {unit}: step {step} was not witnessed")
    return problems
