# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Says what is wrong, each problem with the invariant it breaks: [{"invariant": "I7", "what": "..."}].

Stricter than a matching of runs to windows: due times and decisions match exactly, extras are failures,
everything that is incomplete needs a reason. Works on Facts only (facts.py), so it can be fed wrong ones.
The invariants are those of the reliability plan: I1 one decision a due time, I2 punctual, and late only as the catch-up
policy says, I3 never early, I4 overlap, I5 acknowledged is durable, I6 one accepted outcome, I7 one live attempt,
I8 history, I9 attempts, I10 no survivors, I11 no stray kill, I12 adopted without a gap, I13 results survive, I14 cancel,
I15 retry, I17 start deadlines, I18 converges, I19 blast radius, I22 streams. I1 to I4 and I17 are checked in decisions.py.
"""
import collections
import pathlib
import re

from common import SKEW_S, excused, items, problem, set_back, stamp, windows
from decisions import check_schedules, event_ids, punctuality  # noqa: F401 (punctuality: of the campaigns)

_DEF = (pathlib.Path(__file__).resolve().parents[2] / "lib/task/states.def").read_text(encoding="utf-8")
STATES = {name: last == "1" for name, last in re.findall(r"^STATE\((\w+), ([01])\)", _DEF, re.M)}
MOVES = set(re.findall(r"^MOVE\((\w+), (\w+)\)", _DEF, re.M))
_RC = (pathlib.Path(__file__).resolve().parents[2] / "lib/task/rc.def").read_text(encoding="utf-8")
RETRYABLE = {name for name, again in re.findall(r"^RC\((\w+), -?\d+, ([01])\)", _RC, re.M) if again == "1"}
TERMINAL_EVENTS = {"task_" + s for s, last in STATES.items() if last}

CANCEL_S = 40.0      # an acknowledged cancel to the run's end; a dead node's is decided after the rescue
GRACE_S = 10.0       # after a deadline
WITNESS = ("witness", "witness_change")
NO_RERUN = ("witness_change", "witness_each")  # recovery class fail
KILLED_ON_LEASE_LOSS = ("witness_change",)     # cap changes
LOST = ("takt.lost", "takt.lease_lost")


# One run's history ---------------------------------------------------------------------------------


def _moves(item):
    return "state" in item and (item["type"].startswith("task_") or item["type"] == "attempt_started")


def check_history(f):
    decisions = event_ids(f)
    for run_id in f.events:
        if run_id not in f.runs and run_id not in decisions:
            yield problem("I8", f"run {run_id}: events without a run", run=run_id)
    for run_id, run in f.runs.items():
        yield from _check_numbers(f, run_id, run)
        yield from _check_moves(f, run_id, run)


def _check_numbers(f, run_id, run):
    want = 1
    for row in f.events.get(run_id, []):
        if row["first_seq"] != want:
            yield problem("I8", f"run {run_id}: event {want} is followed by {row['first_seq']}", run=run_id)
        want = row["first_seq"] + len(row["items"])
    live = run["live"]
    if live and live["event_seq"] != want - 1:
        yield problem("I8", f"run {run_id}: {want - 1} events, the live row counts {live['event_seq']}", run=run_id)


def _check_moves(f, run_id, run):
    state, told = None, items(f, run_id)
    for item in told:
        if not _moves(item):
            continue
        if state is None and item["state"] != "queued":
            yield problem("I8", f"run {run_id}: begins as {item['state']}", run=run_id)
        elif state is not None and (state, item["state"]) not in MOVES:
            yield problem("I8", f"run {run_id}: {item['type']} moves {state} -> {item['state']}", run=run_id)
        state = item["state"]
    live = run["live"]
    if bool(live) == bool(run["state"]):
        yield problem("I8", f"run {run_id}: live as {live and live['state']} and finished as {run['state']}", run=run_id)
    row = live["state"] if live else run["state"]
    if state != row:
        yield problem("I8", f"run {run_id}: its events say {state}, its row {row}", run=run_id)
    ends = sum(item["type"] in TERMINAL_EVENTS for item in told)
    if ends > 1:
        yield problem("I6", f"run {run_id}: {ends} terminal events", run=run_id)
    elif ends != (0 if live else 1):
        yield problem("I8", f"run {run_id}: {ends} terminal events, live: {bool(live)}", run=run_id)
    if ends and told[-1]["type"] not in TERMINAL_EVENTS:
        yield problem("I8", f"run {run_id}: {told[-1]['type']} after the end", run=run_id)


def check_attempts(f):
    for run_id in f.attempts:
        if run_id not in f.runs:
            yield problem("I8", f"run {run_id}: attempts without a run", run=run_id)
    for run_id, run in f.runs.items():
        attempts = f.attempts.get(run_id, [])
        numbers = [a["no"] for a in attempts]
        if numbers != list(range(1, len(numbers) + 1)):
            yield problem("I9", f"run {run_id}: attempts {numbers}", run=run_id)
        limit = run["policy"].get("max_retries", 0) + 1
        if len(numbers) > limit:
            yield problem("I9", f"run {run_id}: {len(numbers)} attempts, {limit} allowed", run=run_id)
        if run["state"] and run["attempts"] != len(numbers):
            yield problem("I9", f"run {run_id}: counts {run['attempts']} attempts, there are {len(numbers)}", run=run_id)
        epochs = [a["epoch"] for a in attempts]
        if any(b <= a for a, b in zip(epochs, epochs[1:])):
            yield problem("I6", f"run {run_id}: epochs {epochs}", run=run_id)
        if run["live"] and epochs and run["live"]["epoch"] != epochs[-1]:
            yield problem("I6", f"run {run_id}: epoch {run['live']['epoch']}, its attempt has {epochs[-1]}", run=run_id)
        told = [i["epoch"] for i in items(f, run_id) if i["type"] in ("task_dispatched", "attempt_taken_over") and "epoch" in i]
        if any(b <= a for a, b in zip(told, told[1:])):
            yield problem("I6", f"run {run_id}: epochs told {told}", run=run_id)
        yield from _check_retries(f, run_id, run, attempts)


def _check_retries(f, run_id, run, attempts):
    delay = run["policy"].get("retry_delay_seconds", 0)
    for a, b in zip(attempts, attempts[1:]):
        if a["finished"] is None or a["state"] in ("dispatched", "running"):
            yield problem("I7", f"run {run_id}: attempt {b['no']} beside attempt {a['no']}, which is {a['state']}", run=run_id)
        elif b["opened"] < a["finished"] + delay - 0.05 and not any(x <= a["finished"] <= y for x, y in set_back(f)):
            yield problem("I15", f"run {run_id}: attempt {b['no']} {b['opened'] - a['finished']:.3f} s after the one "
                          f"before, the delay is {delay} s", run=run_id)
        if a["class"] and a["class"] not in RETRYABLE:
            yield problem("I15", f"run {run_id}: a {a['class']} failure was tried again", run=run_id)
    if run["state"] and attempts:
        last = attempts[-1]
        if last["state"] in ("dispatched", "running"):
            yield problem("I8", f"run {run_id}: {run['state']}, attempt {last['no']} is {last['state']}", run=run_id)
        if run["state"] in ("failed", "timed_out") and last["class"] in RETRYABLE and \
                last["no"] <= run["policy"].get("max_retries", 0) and not _is_cancelled(f, run_id):
            yield problem("I15", f"run {run_id}: {run['state']} after attempt {last['no']} of "
                          f"{run['policy']['max_retries'] + 1} that could be tried again", run=run_id)


def _is_cancelled(f, run_id):
    return any(i["type"] in ("task_cancelling", "task_cancelled") for i in items(f, run_id))


# Units: the witness, output, reasons ---------------------------------------------------------------


def expected_output(policy, steps):
    """What the witness prints in that many steps."""
    p = policy["parameters"]
    filler, label = p.get("output_b", 0), p.get("label", "unit")
    return "".join(f"{label} step {n} " + "".join(chr(97 + (n * 7 + i) % 26) for i in range(filler)) + "\n"
                   for n in range(1, steps + 1)).encode()


def by_unit(f):
    """unit -> its witness lines, in order."""
    found = collections.defaultdict(list)
    for line in f.witness:
        found[f"{line['run']}.{line['attempt']}.{line['unit']}"].append(line)
    return found


def reason(f, unit_id, unit, hit=None):
    """Why this unit need not have passed; None if there is no reason."""
    run_id, attempt, _ = unit_id.split(".")
    run = f.runs[run_id]
    code = (unit.get("error") or {}).get("code", "")
    if unit_id in (hit if hit is not None else units_hit(f)):
        return "hit"
    if _is_cancelled(f, run_id):
        return "cancelled"
    if code == "witness.failed" and "fail" in run["policy"]["parameters"]:
        return "asked"
    # The deadline is the attempt's: a unit that had to wait for its start has less.
    opened = next((a["opened"] for a in f.attempts.get(run_id, []) if a["no"] == int(attempt)), unit["started"])
    if unit.get("class") == "timeout" and opened and unit["finished"] and \
            unit["finished"] - opened > run["policy"]["timeout_seconds"] - 1:
        return "deadline"
    if any(i["type"] == "attempt_taken_over" and i.get("attempt", int(attempt)) == int(attempt) for i in items(f, run_id)):
        return "taken over"
    if code == "takt.lease_lost" and any(until - start > 15 for start, until in windows(f)):
        return "lease lost"
    return None


def units_hit(f):
    return {u for fault in f.faults for u in fault.get("units_hit", [])}


def check_units(f):
    seen, hit = by_unit(f), units_hit(f)
    for unit_id, lines in seen.items():
        run_id, unit = lines[0]["run"], f.units.get(unit_id)
        if run_id not in f.runs or unit is None:
            yield problem("I7", f"unit {unit_id} ran, the database does not know it", run=run_id)
            continue
        yield from _check_process(f, unit_id, unit, lines)
    for unit_id, unit in f.units.items():
        run = f.runs.get(unit_id.split(".")[0])
        if run is None:
            yield problem("I8", f"unit {unit_id} without a run")
            continue
        if run["state"] and unit["state"] in ("pending", "running"):
            yield problem("I8", f"unit {unit_id} is {unit['state']}, its run {run['state']}", run=unit_id[:36])
        if run["type"] in WITNESS:
            yield from _check_outcome(f, unit_id, unit, run, seen.get(unit_id, []), hit)


def _check_process(f, unit_id, unit, lines):
    run = f.runs[lines[0]["run"]]
    pids = {line["pid"] for line in lines}
    if len(pids) > 1:
        yield problem("I7", f"unit {unit_id} ran in {len(pids)} processes", run=lines[0]["run"])
        return
    steps = [line["step"] for line in lines if line["phase"] == "step"]
    if [line["phase"] for line in lines].count("start") != 1 or steps != list(range(1, len(steps) + 1)):
        yield problem("I12", f"unit {unit_id}: starts and steps {steps}", run=lines[0]["run"])
    due = run.get("due")
    if due and lines[0]["at"] / 1e6 < due - SKEW_S:
        yield problem("I3", f"unit {unit_id} began before its due time", run=lines[0]["run"])
    deadline = lines[0]["at"] / 1e6 + run["policy"]["timeout_seconds"] + GRACE_S + 5
    if lines[-1]["at"] / 1e6 > deadline:
        yield problem("I10", f"unit {unit_id} was seen {lines[-1]['at'] / 1e6 - deadline:.1f} s after its last moment",
                      run=lines[0]["run"])
    if unit["state"] == "passed" and lines[0]["epoch"] != unit["epoch"]:
        yield problem("I6", f"unit {unit_id}: the result of epoch {lines[0]['epoch']} was taken as {unit['epoch']}'s",
                      run=lines[0]["run"])


def _check_outcome(f, unit_id, unit, run, lines, hit):
    phases = [line["phase"] for line in lines]
    steps = phases.count("step")
    got = _joined(f.output.get(unit_id, []))
    want = expected_output(run["policy"], steps)
    if got is None:
        yield problem("I12", f"unit {unit_id}: its output has a gap or a repeat", run=unit_id[:36])
    if unit["state"] == "passed":
        if "end" not in phases:
            yield problem("I6", f"unit {unit_id} passed, the witness saw no end", run=unit_id[:36])
        if "until_file" not in run["policy"]["parameters"] and steps != run["policy"]["parameters"].get("steps", 1):
            yield problem("I6", f"unit {unit_id} passed after {steps} steps", run=unit_id[:36])
        if got is not None and got != want:
            yield problem("I12", f"unit {unit_id}: {len(got)} bytes of output, {len(want)} were printed", run=unit_id[:36])
        return
    if got is not None and got != want[:len(got)]:
        yield problem("I12", f"unit {unit_id}: its output is not what was printed", run=unit_id[:36])
    if unit["state"] in ("pending", "running") or not run["state"] and not unit["finished"]:
        return
    why = reason(f, unit_id, unit, hit)
    if why is None:
        ended = "end" in phases
        yield problem("I13" if ended else "I12", f"unit {unit_id} is {unit['state']} "
                      f"({(unit.get('error') or {}).get('code')}: {(unit.get('error') or {}).get('message')}) without a reason; "
                      f"the witness saw {'its end' if ended else f'{steps} steps'}", run=unit_id[:36])


def _joined(chunks):
    whole = b""
    for off, data in chunks:
        if off != len(whole):
            return None
        whole += data
    return whole


def check_accepted(f):
    """What a run says of itself is what its units' last attempts say."""
    last = {}
    for unit_id, unit in f.units.items():
        run_id, attempt, no = unit_id.split(".")
        if int(attempt) > last.get((run_id, no), (0, None))[0]:
            last[run_id, no] = int(attempt), unit
    failed = {run_id for (run_id, _), (_, unit) in last.items() if unit["state"] not in ("passed", "skipped")}
    has_units = {run_id for run_id, _ in last}
    for run_id, run in f.runs.items():
        if run["state"] == "completed" and (run_id in failed or run_id not in has_units):
            yield problem("I6", f"run {run_id} is completed, not all of its units passed", run=run_id)
        if run["state"] in ("failed", "timed_out") and run_id in has_units and run_id not in failed:
            yield problem("I6", f"run {run_id} is {run['state']}, all of its units passed", run=run_id)


def check_once(f):
    """A unit's start is told once; one that changes something is not started again after it was lost."""
    for run_id, run in f.runs.items():
        attempt, told = 0, collections.Counter()
        for item in items(f, run_id):
            if item["type"] == "task_dispatched":
                attempt = item.get("attempt", attempt + 1)
            elif item["type"] == "unit_started":
                told[attempt, item.get("unit")] += 1
        for (no, unit), n in told.items():
            if n > 1:
                yield problem("I12", f"unit {run_id}.{no}.{unit}: its start is told {n} times", run=run_id)
    for unit_id, lines in by_unit(f).items():
        run_id, attempt, no = unit_id.split(".")
        again = f"{run_id}.{int(attempt) + 1}.{no}"
        code = ((f.units.get(unit_id) or {}).get("error") or {}).get("code")
        if run_id in f.runs and f.runs[run_id]["type"] in NO_RERUN and code in LOST and again in f.units:
            yield problem("I9", f"unit {unit_id} had begun and was lost ({code}); {again} repeats what must not be repeated",
                          run=run_id)


def check_at_once(f):
    """No two processes of a kill type at one instant, by the witness's stamps, and none after a takeover."""
    for unit_id, lines in by_unit(f).items():
        run_id = unit_id.split(".")[0]
        if run_id not in f.runs or f.runs[run_id]["type"] not in KILLED_ON_LEASE_LOSS:
            continue
        taken = [stamp(i["at"]) for i in items(f, run_id)
                 if i["type"] == "attempt_taken_over" and i.get("epoch", 0) > lines[0]["epoch"]]
        if taken and lines[-1]["at"] / 1e6 > min(taken):
            yield problem("I7", f"unit {unit_id} was alive {lines[-1]['at'] / 1e6 - min(taken):.1f} s after its run was taken over",
                          run=run_id)
    spans = collections.defaultdict(list)
    for unit_id, lines in by_unit(f).items():
        run_id, _, no = unit_id.split(".")
        if run_id in f.runs and f.runs[run_id]["type"] in KILLED_ON_LEASE_LOSS:
            spans[run_id, no].append((lines[0]["at"], lines[-1]["at"], unit_id))
    for (run_id, _), found in spans.items():
        found.sort()
        for (_, end, one), (start, _, two) in zip(found, found[1:]):
            if start <= end:
                yield problem("I7", f"{one} and {two} were alive at one instant", run=run_id)


# Clients, streams, the end -------------------------------------------------------------------------


def check_clients(f):
    if not f.client and not f.commands:
        return
    by_key, runs_of = collections.defaultdict(list), collections.defaultdict(set)
    for c in f.commands:
        if c.get("actor") != "schedule":  # those are decisions.py's
            by_key[c["key"]].append(c)
    sent = {line["key"]: line for line in f.client if line["what"] == "sent"}
    for line in f.client:
        if line["what"] == "answer" and line["kind"] == "run.create" and line["status"] in (201, 202) and line.get("run"):
            runs_of[line["key"]].add(line["run"])
            if line["status"] == 201 and line["run"] not in f.runs:
                yield problem("I5", f"run {line['run']} was acknowledged and is gone", key=line["key"])
        if line["what"] == "answer" and line["status"] in (200, 201, 202) and not by_key[line["key"]]:
            yield problem("I5", f"an acknowledged command is gone: {line['key']}", key=line["key"])
    for key, found in by_key.items():
        if len(found) > 1:
            yield problem("I5", f"{len(found)} commands of one key {key}", key=key)
        if key not in sent:
            yield problem("I5", f"a command that nobody sent: {key}", key=key)
        if len(runs_of[key] | {c["run"] for c in found}) > 1:
            yield problem("I5", f"key {key} got more than one run", key=key)
    ordered = collections.Counter(c["run"] for c in f.commands if c["kind"] == "run.create")
    for run_id, run in f.runs.items():
        if run["trigger"] == "manual" and ordered[run_id] != 1:
            yield problem("I5", f"run {run_id}: {ordered[run_id]} commands made it", run=run_id)
    for c in f.commands:
        if c["decided"] is None and f.is_final:
            yield problem("I18", f"command {c['key']} was never decided", key=c["key"])
        if c["kind"] == "run.create" and c["status"] == 201 and c["run"] not in f.runs:
            yield problem("I5", f"command {c['key']}: its run {c['run']} is gone", key=c["key"])
    yield from _check_cancels(f, sent)


def _check_cancels(f, sent):
    spans = windows(f, 5.0)
    for line in f.client:
        if line["what"] != "answer" or line["kind"] != "run.cancel" or line["status"] not in (200, 202):
            continue
        run = f.runs.get(line["run"])
        if run is None:
            continue
        if line["status"] == 200 and line.get("state") == "cancelled" and run["state"] != "cancelled":
            yield problem("I14", f"run {line['run']}: acknowledged as cancelled, it is {run['state']}", run=line["run"])
        limit = excused(spans, line["at"], CANCEL_S)
        if (run["finished"] or (float("inf") if f.is_final else 0)) > limit:
            yield problem("I14", f"run {line['run']}: cancelled, it went on for more than {limit - line['at']:.0f} s",
                          run=line["run"])


def check_feed(f):
    """Feed numbers per node and incarnation have no hole."""
    numbers = collections.defaultdict(list)
    for rows in f.events.values():
        for row in rows:
            numbers[row["node"], row["incarnation"]].append(row["feed"])
    for (node, incarnation), found in numbers.items():
        found.sort()
        if found != list(range(1, len(found) + 1)):
            holes = sorted(set(range(1, found[-1] + 1)) - set(found))[:5]
            yield problem("I22", f"feed {node}-{incarnation}: {len(found)} rows up to {found[-1]}, missing {holes}")


def check_readers(f):
    rows = {(run, row["first_seq"]): row for run, found in f.events.items() for row in found}
    for name, lines in f.readers.items():
        if lines and lines[0].get("kind") == "feed":
            yield from _check_feed_reader(f, name, lines[1:], rows)
        elif lines:
            yield from _check_socket_reader(f, name, lines)


def _check_feed_reader(f, name, lines, rows):
    got, at = collections.Counter(), {}
    for line in lines:
        key = line["run"], line["first_seq"]
        got[key] += 1
        row = rows.get(key)
        if row is None or len(row["items"]) != line["n"]:
            yield problem("I8", f"{name}: event {key} was read and is gone or changed", run=line["run"])
        stream, number = line["node"], (line["incarnation"], line["feed"])
        if number <= at.get(stream, (0, 0)):
            yield problem("I22", f"{name}: {number} of node {stream} came after {at[stream]}")
        at[stream] = max(number, at.get(stream, (0, 0)))
    for key, n in got.items():
        if n > 1:
            yield problem("I22", f"{name}: event {key} was read {n} times", run=key[0])
    missed = [key for key in rows if key not in got] if f.is_final else []
    for key in missed[:20]:
        yield problem("I22", f"{name}: event {key} was never read ({len(missed)} missed)", run=key[0])


def _check_socket_reader(f, name, lines):
    """A topic joined before its first run: everything of the task, each once, in each run's order."""
    topics, last = set(), collections.defaultdict(int)
    for line in lines:
        if line["kind"] == "joined":
            topics.add(line["task"])
            if line["gap"]:
                yield problem("I22", f"{name}: a gap was told for task {line['task']}")
        elif line["kind"] == "event":
            if line["seq"] <= last[line["run"]]:
                yield problem("I22", f"{name}: event {line['seq']} of run {line['run']} came after {last[line['run']]}",
                              run=line["run"])
            elif line["seq"] != last[line["run"]] + 1:
                yield problem("I22", f"{name}: event {last[line['run']] + 1} of run {line['run']} is followed by {line['seq']}",
                              run=line["run"])
            last[line["run"]] = max(line["seq"], last[line["run"]])
    for run_id, run in f.runs.items():
        if f.is_final and run["task"] in topics:
            have = len(items(f, run_id))
            if last[run_id] < have:
                yield problem("I22", f"{name}: run {run_id} has {have} events, {last[run_id]} came", run=run_id)
    for o in f.occurrences:
        if f.is_final and o.get("event") and o["task"] in topics and last[o["event"]] != 1:
            yield problem("I22", f"{name}: the event of a decision about {o['due']} did not come", run=o["event"])


def check_takeovers(f):
    """A dead node's runs are taken over in time, and nobody else's."""
    names = {node["name"] for node in f.nodes.values()}
    for run_id in f.runs:
        for item in items(f, run_id):
            if item["type"] != "attempt_taken_over":
                continue
            at, giver = stamp(item["at"]), item.get("from")
            long_ago = [x for x in f.faults if x.get("node") in (giver, None) and x["at"] + 30 <= at <= (x.get("healed") or at) + 60]
            if giver in names and not long_ago:
                yield problem("I7", f"run {run_id} was taken from {giver}, which was not dead", run=run_id)
    for fault in f.faults:
        if fault["kind"] == "dead" and fault.get("taken_over_s") is not None and fault["taken_over_s"] > fault["limit_s"]:
            yield problem("I18", f"{fault['node']} was dead for {fault['taken_over_s']:.1f} s before its runs were taken over")


def check_verify(f):
    for check in f.verify:
        for detail in check["details"] or [""]:
            yield problem(check["invariant"].split()[0].rstrip(","), f"takt verify, {check['title']}: {detail}")


def check_end(f):
    for p in f.leftovers:
        yield problem("I10", f"left behind: {p}")
    for end in f.unexpected:
        invariant = "I11" if end["process"] == "bystander" else "I19"
        yield problem(invariant, f"{end['node']} {end['process']} ended by itself: {end['status']}")
    for run_id, run in f.runs.items():
        if f.is_final and run["live"]:
            yield problem("I18", f"run {run_id} is still {run['live']['state']}", run=run_id)


PER_RUN = (check_history, check_attempts, check_units, check_accepted, check_once, check_at_once)
CHECKS = (check_schedules, *PER_RUN, check_clients, check_feed, check_readers, check_takeovers, check_verify, check_end)


def judge(f, checks=CHECKS):
    """All problems; none is good."""
    return [p for check in checks for p in check(f)]


def adopted(f, fault):
    """Of the units that ran when a fault struck and that it spared: (went on in their process, all)."""
    seen, went_on, all_of = by_unit(f), 0, 0
    hit = units_hit(f)
    for unit_id, pid in fault.get("running", {}).items():
        unit = f.units.get(unit_id)
        if unit is None or unit_id in fault.get("units_hit", []):
            continue
        if unit["state"] != "passed" and reason(f, unit_id, unit, hit):
            continue  # a later fault, a cancel
        all_of += 1
        went_on += unit["state"] == "passed" and {line["pid"] for line in seen[unit_id]} == {pid}
    return went_on, all_of
