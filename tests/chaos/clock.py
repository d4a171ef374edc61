#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Steps of the wall clock by libfaketime, on a node, on PostgreSQL and on both; and everything stopped for a while.

MONOTONIC and BOOTTIME stay real. A server or node reads its offset from a file, each process once a second (at every look
it would open the file in PostgreSQL's signal handlers, and that ended a server now and then), so a step is one rename. All
clocks begin in a night in which clocks go forward (policies.py). A clock that was set back is set forward again; one that was
set forward stays: the database's clock never ends behind what it has shown, else its schedules would be silent for as long. A node's clock is taktd's and the
executor's; keepers have the real one (an absolute BOOTTIME timer of theirs is refused under libfaketime).
All times of faults are the database's: `at` before the step, `healed` after it (or after the clock is right again).
"""
import glob
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from datetime import timedelta

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import decisions  # noqa: E402
import judge  # noqa: E402
import policies  # noqa: E402
from rig import alive, processes  # noqa: E402
from scene import Scene, campaign  # noqa: E402
from verdict import Campaign  # noqa: E402

DAY_S = 86400
TIMEOUT_S = 3          # of the task "deadline"
RIGHT_WITHIN_S = 1.0
BACK_S = 10.0          # from the end of a stop to all nodes at work
READ_S = 2.5           # until every process has read its clock's file again: whole seconds count
CPU_MAX = 0.8          # of one processor, while a clock is wrong
KINDS = ("zygote", "keeper", "plugin", "executor", "engine", "gateway", "taktd")


class FakeClock:
    """An offset that processes with `env` add to the wall clock."""

    def __init__(self, directory, name, offset=0.0):
        library = sorted(glob.glob("/usr/lib/*/faketime/libfaketime.so.1"))
        if not library:
            raise RuntimeError("libfaketime is not there: apt-get install faketime")
        self.path = directory / name
        self.set(offset)
        self.env = {"LD_PRELOAD": library[0], "FAKETIME_TIMESTAMP_FILE": str(self.path), "FAKETIME_CACHE_DURATION": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}

    def set(self, offset):
        self.offset = offset
        new = self.path.with_suffix(".new")
        new.write_text(f"{offset:+.3f}\n")
        new.chmod(0o644)
        new.rename(self.path)


class Clocks:
    """Of the server and of each node, in a directory that all of them can read. They begin at `begin`. is_sanitized: libfaketime
    cannot come before the sanitizer's library, so only the server has one."""

    def __init__(self, nodes=3, is_sanitized=False, begin=policies.GAP - timedelta(minutes=4)):
        self.begin, self.base = begin, begin.timestamp() - time.time()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="tclk-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.pg = FakeClock(self.directory, "pg", self.base)
        self.nodes = {f"n{i + 1}": FakeClock(self.directory, f"n{i + 1}", self.base) for i in range(0 if is_sanitized else nodes)}

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        for path in pathlib.Path("/dev/shm").glob("*faketime_s*_*"):  # of processes that were killed
            pid = path.name.rpartition("_")[2]
            if pid.isdigit() and not alive(int(pid)):
                path.unlink(missing_ok=True)


class Deadlines(threading.Thread):
    """How long units with a deadline ran, by the stamps of the plugin, whose clock nobody sets."""

    def __init__(self, path, label="deadline"):
        super().__init__(daemon=True)
        self.path, self.label, self.stopping = path, label, threading.Event()
        self.spans, self.open = {}, {}  # unit -> seconds; unit -> its first stamp

    def run(self):
        at, rest = 0, b""
        while not self.stopping.wait(0.5):
            if not self.path.exists():
                continue
            with open(self.path, "rb") as f:
                f.seek(at)
                data = f.read()
            at += len(data)
            *whole, rest = (rest + data).split(b"\n")
            for line in map(json.loads, whole):
                unit = f"{line['run']}.{line['attempt']}.{line['unit']}"
                if line["label"] != self.label:
                    continue
                if line["phase"] == "start":
                    self.open[unit] = line["at"]
                elif line["phase"] == "cancelled" and unit in self.open:
                    self.spans[unit] = (line["at"] - self.open.pop(unit)) / 1e6


def make_plan(seed, steps, stop_s, stops=1, nodes=3):
    """Steps log-uniform from 1 s to 24 h, back and forward, of a node, the server and both; the extremes first."""
    rng = random.Random(seed)
    on, plan = ("node", "server", "both"), []
    for i in range(steps):
        size = DAY_S if i < 6 else DAY_S ** rng.random()
        sign = -1 if i // 3 % 2 == 0 else 1
        where = on[i % 3]
        plan.append({"kind": "clock" if where == "node" else "outage", "on": where, "node": f"n{1 + i // 3 % nodes}" if where == "node" else None,
                     "step_s": round(sign * max(1.0, size), 1), "hold_s": round(rng.uniform(4, 10), 1)})
    rng.shuffle(plan)
    # At last to the night in which clocks go back, and through it.
    plan.append({"kind": "outage", "on": "both", "node": None, "to": policies.FOLD.timestamp() - 60, "hold_s": 120.0})
    plan += [{"kind": "outage", "on": "stop", "node": None, "step_s": 0, "hold_s": stop_s}] * stops
    return [{"no": n + 1, **fault} for n, fault in enumerate(plan)]


def _without(check, *phrases):
    """Problems that compare a node's stamps with the server's mean nothing here."""
    def run(f):
        return [p for p in check(f) if not any(phrase in p["what"] for phrase in phrases)]
    return run


# The deadlines are measured, takeovers are counted; stamps from before and after a step are not compared.
_units = _without(judge.check_units, "began before its due time", "after its last moment", "(unit.deadline")
_clients = _without(judge.check_clients, "it went on for more than")


class Clock(Scene):
    checks = (judge.check_schedules, judge.check_history, judge.check_attempts, _units, judge.check_accepted, _clients,
              judge.check_feed, judge.check_readers, judge.check_end)
    per_run = (judge.check_history, judge.check_attempts, _units, judge.check_accepted)

    def __init__(self, c, plan, clocks, is_short=False, **more):
        self.clocks = clocks
        work = {"schedules": policies.schedules(clocks.begin, is_short), "calendars": policies.calendars(clocks.begin)}
        super().__init__(c, plan, pg_env=clocks.pg.env, max_units=20, work=work, **more)

    def prepare(self):
        for node in self.rig.nodes:
            if node.name in self.clocks.nodes:
                node.env.update(self.clocks.nodes[node.name].env)
                node.executor_env.update(self.clocks.nodes[node.name].env)
        self.deadlines = Deadlines(self.rig.journals / "witness.jsonl")
        self.deadlines.start()
        self.measured = {}  # unit -> seconds off

    def make(self, fault):
        self.load._run("deadline")
        time.sleep(0.5)
        real, before = time.time(), self.now()
        if abs(before - real - self.clocks.pg.offset) > 0.5:
            raise RuntimeError("the server does not follow its clock")
        if "to" in fault:
            fault["step_s"] = round(max(0.0, fault["to"] - before), 1)
        fault["judged_before"] = min(before, before + fault["step_s"]) - 1
        text = self.stop_all(fault) if fault["on"] == "stop" else self.step(fault)
        fault["taken_over"] = len(self.taken_over(fault["judged_before"]))
        return text

    def step(self, fault):
        step, clocks = fault["step_s"], self.clocks
        nodes = {"node": [fault["node"]], "server": [], "both": list(clocks.nodes)}[fault["on"]]
        ours = [clocks.nodes[n] for n in nodes] + ([clocks.pg] if fault["on"] != "node" else [])
        base = {clock: clock.offset for clock in ours}
        fault["at"] = self.now()
        for clock in ours:
            clock.set(base[clock] + step)
        time.sleep(READ_S)
        fault["healed"] = self.now()
        if fault["on"] != "node" and abs(fault["healed"] - fault["at"] - step - READ_S) > 1.5:
            raise RuntimeError("the server does not follow its clock")
        busy = self._cpu()
        for _ in range(2):
            self.load._run("deadline")
        time.sleep(fault["hold_s"])
        fault["cpu"] = round(max([(self._cpu().get(pid, t) - t) / fault["hold_s"] for pid, t in busy.items()], default=0), 2)
        if step < 0 or fault["on"] == "node":
            for clock in ours:
                clock.set(base[clock])
            time.sleep(READ_S)
            fault["healed"] = self.now()
        return f"{fault['on']} {step:+.1f} s, held {fault['hold_s']} s, cpu {fault['cpu']}"

    def _cpu(self):
        """engine's pid -> seconds of processor."""
        tick = os.sysconf("SC_CLK_TCK")
        found = {}
        for pid in self.rig.pids("engine"):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[pid] = (int(fields[11]) + int(fields[12])) / tick
        return found

    def stop_all(self, fault):
        """Every process of every node and of PostgreSQL stands still."""
        server = self.rig.pids("postgres")
        pids = [pid for kind in KINDS for pid in self.rig.pids(kind)]
        pids += [p.pid for p in processes().values() if [p.ppid] == server] + server
        fault["at"] = self.now()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                pass
        time.sleep(fault["hold_s"])
        for pid in reversed(pids):
            if alive(pid):
                os.kill(pid, signal.SIGCONT)
        fault["healed"], began = self.now(), time.monotonic()
        while time.monotonic() < began + 60 and not all(n.has_lease() and self.worked(n, fault["healed"]) for n in self.rig.nodes):
            time.sleep(0.1)
        fault["back_s"] = round(time.monotonic() - began, 1)
        return f"everything stopped for {fault['hold_s']} s, back in {fault['back_s']} s"

    def problems_of(self, fault):
        found = self.wrong_deadlines()
        if fault["taken_over"]:
            found.append(judge.problem("I7", f"{fault['taken_over']} runs of living nodes were taken over"))
        if fault.get("cpu", 0) > CPU_MAX:
            found.append(judge.problem("I18", f"an engine used {fault['cpu']} of a processor while a clock was wrong"))
        if fault.get("back_s", 0) > BACK_S:
            found.append(judge.problem("I18", f"{fault['back_s']} s from the end of the stop until all nodes worked"))
        return found

    def wrong_deadlines(self):
        """Units stopped at their deadline: the time they were given, which is what the attempt had left, against our clock."""
        given = {unit: int(ms) / 1000 for unit, ms in self.rig.query(
            "select u.run_id || '.' || u.attempt || '.' || u.no, substring(u.error ->> 'message' from 'deadline of ([0-9]+) ms') "
            "from takt.unit u where u.error ->> 'code' = 'unit.deadline'") if ms}
        stops = [x["hold_s"] for x in self.done if x["on"] == "stop"]
        found = []
        for unit in set(self.deadlines.spans) & set(given) - self.measured.keys():
            span, want = self.deadlines.spans[unit], given[unit]
            self.measured[unit] = span - want
            # What stood still could not be stopped in time.
            if abs(span - want) > RIGHT_WITHIN_S and not any(abs(span - want - s) < want + RIGHT_WITHIN_S for s in stops):
                found.append(judge.problem("I17", f"unit {unit} had a deadline of {want} s and was stopped after {span:.2f} s"))
            if want > TIMEOUT_S + 0.01:
                found.append(judge.problem("I17", f"unit {unit} was given {want} s, its task {TIMEOUT_S} s"))
        return found

    def summary(self, f):
        off = sorted(self.measured.values())
        missed = [o for o in f.occurrences if o["decision"] == "missed"]
        return {"deadlines": len(off), "deadlines_off_s": [round(off[0], 2), round(off[-1], 2)] if off else [],
                "database_ahead_s": round(self.clocks.pg.offset - self.clocks.base, 1), "missed_ranges": len(missed),
                "missed_due_times": sum(o["n"] for o in missed), "schedules": decisions.counts(f),
                "taken_over": sum(x["taken_over"] for x in self.done), "cpu_max": max([x.get("cpu", 0) for x in self.done], default=0),
                "back_s": [x["back_s"] for x in self.done if "back_s" in x]}

    def close(self):
        if hasattr(self, "deadlines"):
            self.deadlines.stopping.set()
        super().close()
        self.clocks.close()


def main():
    c = Campaign("clock", faults=30, minutes=40, options=[
        ("--stop", {"type": float, "default": 600.0, "help": "seconds for which everything is stopped"})])
    return campaign(c, make_plan(c.seed, c.args.faults, c.args.stop), Clock, clocks=Clocks())


if __name__ == "__main__":
    sys.exit(main())
