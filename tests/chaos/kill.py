#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""kill -9 of an engine, all of a taktd, an executor, a keeper, a plugin's process and PostgreSQL, at random and at every
failpoint, beside a load of schedules, slowed units and commands; nodes left dead until others take over.

Each node is a lane of its own, PostgreSQL one more: their faults overlap. A fault strikes only when at least
five slowed units run (of that node, for what belongs to a node), by the witness's stamps. While a node is
left dead no other fault is made, so that the takeover can be measured.
"""
import collections
import os
import random
import re
import signal
import sys
import time

import psycopg
import requests

import facts
import judge
from load import Journal, Load
from rig import SOURCE, Process, Rig, alive, processes
from verdict import Campaign

NODES = 3
AT_LEAST = 5
OF_A_NODE = ("engine", "taktd", "executor", "keeper", "plugin")
SPARING = ("engine", "taktd", "executor", "postgres", "backend", "failpoint")  # units go on
DOWN_MAX_S = 20.0
LOST_S = 5.0         # a killed keeper or plugin process to the unit's end in the table
TAKEOVER_S = 40.0
UP_S = 60.0          # a part that was started again to a node that works
FIRED_S = 45.0       # an armed failpoint to its firing
BUSY_S = 300.0       # to enough running units, and until nobody wants to be alone
AGAIN = 3            # how often a node is left dead once more for points that were not passed
EVERY = 40           # faults between two full judgements
FAILPOINTS = re.compile(r'^FAILPOINT_ROW\("([\w.]+)", (\w+),', re.M)
# Points that are passed only at a restart, or only beside a dead node.
AT_RESTART, BESIDE_DEAD = ("recover.", "node_enter."), ("rescue.", "fenced.")


def failpoints():
    """[(name, process)] of lib/base/failpoints.def."""
    path = SOURCE / "lib/base/failpoints.def"
    return FAILPOINTS.findall(path.read_text(encoding="utf-8")) if path.exists() else []


def is_built_with_failpoints(build):
    return b"TAKT_FAILPOINTS" in (build / "taktd").read_bytes()


def make_plan(seed, each, nodes, points, dead):
    """The faults, numbered; which strikes where and how long it stays down follows from the seed."""
    rng = random.Random(seed)

    def down():
        return round(DOWN_MAX_S * rng.random() ** 3, 2)  # 0 to 20 s, most of them short
    plan = [{"kind": kind, "node": f"n{1 + (i + at) % nodes}", "down_s": down()} for at, kind in enumerate(OF_A_NODE)
            for i in range(each)]
    plan += [{"kind": "failpoint", "node": f"n{1 + i % nodes}", "point": name, "process": process, "down_s": down() / 4}
             for i, (name, process) in enumerate(p for p in points if not p[0].startswith(BESIDE_DEAD))]
    beside = [name for name, _ in points if name.startswith(BESIDE_DEAD)]
    steps = sorted({name.split(".")[1] for name in beside}, reverse=True) or [None]
    plan += [{"kind": "dead", "node": f"n{1 + i % nodes}", "machine": not beside and i % 2 == 1 or i >= len(steps) and bool(beside),
              "points": [n for n in beside if n.endswith(f".{steps[i]}")] if beside and i < len(steps) else []} for i in range(dead)]
    rng.shuffle(plan)
    of_pg = [{"kind": "postgres" if i % 2 == 0 else "backend", "node": None, "down_s": down()} for i in range(each)]
    # PostgreSQL's are spread over the others.
    for i, fault in enumerate(of_pg):
        plan.insert((i + 1) * len(plan) // (len(of_pg) + 1), fault)
    return [{"no": n + 1, **fault} for n, fault in enumerate(plan)]


class Late(Exception):
    pass


class Kill:
    def __init__(self, campaign, plan, nodes=NODES, build=None, busy=None, lost_s=LOST_S):
        self.c, self.plan, self.lost_s = campaign, plan, lost_s
        self.rng = random.Random(campaign.seed + campaign.segment)
        self.rig = Rig(seed=campaign.seed, nodes=nodes, build=build or campaign.args.build, journals=campaign.journals)
        self.journal = Journal(self.rig.journals / "faults.jsonl", sync=True)
        self.load = Load(self.rig, seed=self.rng.random(), busy=busy)
        self.alone = None            # the lane that nobody may strike beside
        self.open = {}               # lane -> fault that is being made
        self.judged_runs, self.done, self.judged_faults = set(), [], 0
        self.figures = collections.defaultdict(list)
        self.missing = []
        self.not_reached, self.fired_beside, self.extra, self.replans = [], set(), 0, 0

    # small helpers ----------------------------------------------------------------------------

    def node(self, fault):
        return next((n for n in self.rig.nodes if n.name == fault["node"]), None)

    def wait(self, condition, limit_s, what):
        """For `yield from`: until it is true; errors of a dead server or gateway count as not yet."""
        end = time.monotonic() + limit_s
        while True:
            try:
                value = condition()
            except (psycopg.Error, requests.RequestException, OSError):
                value = None
            if value:
                return value
            if time.monotonic() > end:
                raise Late(what)
            yield

    def pause(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield

    def running_at(self, fault):
        """Units that run by their own stamps, of the node that is hit or of all."""
        found = self.load.running()
        name = fault["node"] if fault["kind"] not in ("keeper", "plugin") else None
        return {unit: pid for unit, (node, pid) in found.items() if name in (None, node)}

    def record(self, fault, **more):
        fault.update(more)
        self.journal.write(**fault)

    # faults: each strikes, waits for its end; returns a text for the line --------------------------

    def strike_engine(self, fault):
        self.node(fault).kill("engine")
        return ()

    def strike_taktd(self, fault):
        node = self.node(fault)
        node.kill("taktd")
        yield from self.pause(fault["down_s"])
        node.start_taktd()

    def strike_executor(self, fault):
        node = self.node(fault)
        node.kill("executor")
        yield from self.pause(fault["down_s"])
        node.start_executor()

    def strike_postgres(self, fault):
        self.rig.kill_postgres()
        yield from self.pause(fault["down_s"])
        self.rig.start_postgres()

    def strike_backend(self, fault):
        pid = self.rng.choice(self.rig.pids("backend") or [0])
        if pid:
            os.kill(pid, signal.SIGKILL)
        yield from self.wait(lambda: pid and not alive(pid), 10, "a backend to kill")

    def _strike_unit(self, fault, kind):
        node = self.node(fault)
        unit = fault["units_hit"][0]
        own = [p for p in (node.keepers().get(unit), node.plugins().get(unit)) if p]
        struck = (node.keepers() if kind == "keeper" else node.plugins()).get(unit)
        if struck:
            os.kill(struck, signal.SIGKILL)
        at = time.monotonic()
        run, attempt, no = unit.split(".")
        over = ("select 1 from takt.unit u where u.run_id = %s and u.attempt = %s and u.no = %s and "
                "u.state not in ('pending', 'running')")
        yield from self.wait(lambda: self.rig.query(over, run, attempt, no), UP_S, f"unit {unit} to end after its {kind} was killed")
        took = time.monotonic() - at
        fault["lost_s"] = round(took, 2)
        if took > self.lost_s and not self._overlaps(fault):
            fault["problems"].append(judge.problem("I10", f"unit {unit} ended {took:.1f} s after its {kind} was killed"))
        left = [p for p in own if alive(p)]
        if left:
            fault["problems"].append(judge.problem("I10", f"processes {left} of unit {unit} outlived its {kind}"))

    def strike_keeper(self, fault):
        return self._strike_unit(fault, "keeper")

    def strike_plugin(self, fault):
        return self._strike_unit(fault, "plugin")

    def _overlaps(self, fault):
        """Another fault on the way of the report: the same node's engine or the server was down meanwhile."""
        since = fault["at"]
        return any(x is not fault and x["node"] in (None, fault["node"]) and (x.get("healed") or since) >= since
                   for x in [*self.open.values(), *self.done])

    # failpoints ---------------------------------------------------------------------------------

    def arm(self, node, point):
        path = node.root / "fp" / f"{point}.arm"
        (node.root / "fp" / point).unlink(missing_ok=True)
        path.with_suffix(".tmp").write_text("crash")
        path.with_suffix(".tmp").rename(path)

    def has_fired(self, node, point):
        return (node.root / "fp" / point).exists()

    def disarm(self, node, point):
        """True if it had not fired."""
        try:
            (node.root / "fp" / f"{point}.arm").unlink()
        except FileNotFoundError:
            return False
        return True

    def strike_failpoint(self, fault):
        node, point = self.node(fault), fault["point"]
        if fault["process"] == "executor":
            node.expected_down.add("executor")
        self.arm(node, point)
        if point.startswith(AT_RESTART):
            node.kill("engine")
        try:
            yield from self.wait(lambda: self.has_fired(node, point) or self._nudge(point), FIRED_S, point)
        except Late:
            if self.disarm(node, point):
                fault["fired"] = False
                if fault.get("again", 0) < AGAIN:
                    fault.update(again=fault.get("again", 0) + 1, repeat=True)
                else:
                    self.not_reached.append(point)
                return
        fault["fired"] = True
        if fault["process"] == "executor":
            yield from self.wait(lambda: not node.pids("executor"), 10, "the executor's end")
            yield from self.pause(fault["down_s"])
            node.start_executor()
        elif fault["process"] == "keeper":
            yield from self._find_hit(fault)

    def _nudge(self, point):
        """Something to be planned anew, which the load never has by itself; any node may take it."""
        if point.startswith("replan."):
            self.replans += 1
            self.load.replan(self.replans)

    def _find_hit(self, fault):
        """The unit whose keeper died at its failpoint: the one of this node that is lost now and that nobody else hit."""
        text = ("select u.run_id || '.' || u.attempt || '.' || u.no from takt.unit u join takt.attempt a on a.run_id = u.run_id and "
                "a.no = u.attempt join takt.node n on n.id = a.node_id where n.name = %s and u.error ->> 'code' = 'takt.lost' and "
                "u.finished_at > to_timestamp(%s)")

        def hit():
            known = {u for x in [*self.open.values(), *self.done] for u in x.get("units_hit", [])}
            return [u for (u,) in self.rig.query(text, self.node(fault).name, fault["at"]) if u not in known]
        at = time.monotonic()
        try:
            fault["units_hit"] = (yield from self.wait(hit, 12, "the unit"))[:1]
            fault["lost_s"] = round(time.monotonic() - at, 2)
        except Late:
            return  # its result was durable already: it is no loss
        if fault["lost_s"] > self.lost_s and not self._overlaps(fault):
            fault["problems"].append(judge.problem("I10", f"{fault['units_hit']} was lost {fault['lost_s']} s after {fault['point']}"))

    # a dead node ----------------------------------------------------------------------------------

    def strike_dead(self, fault):
        node = self.node(fault)
        others = [n for n in self.rig.nodes if n is not node]
        rescue = [p for p in fault["points"] if p.startswith("rescue.")]
        held = "select run_id::text from takt.live where node_id = (select id from takt.node where name = %s)"
        # In one of them: the other has watched, too, and goes on. Who rescues first is chance: another time it is the other's turn.
        armed = others[fault.get("again", 0) % len(others)]
        for point in rescue:
            self.arm(armed, point)
        node.kill("taktd")
        died, fault["at"] = time.monotonic(), time.time()
        if fault["machine"]:
            fault["units_hit"] = sorted(node.keepers())
            self.record(fault)
            self._end_machine(node)
        runs = [r for (r,) in self.rig.query(held, node.name)]
        taken = ("select count(*), max(extract(epoch from e.at)::float8) from takt.event_item e where e.run_id = any(%s::uuid[]) and "
                 "e.item ->> 'type' = 'attempt_taken_over' and e.item ->> 'from' = %s and e.at > to_timestamp(%s)")
        yield from self.wait(lambda: not self.rig.query(held, node.name), 90, f"all of {node.name}'s runs to be taken over")
        fault["seen_s"] = round(time.monotonic() - died, 1)
        n, last = self.rig.query(taken, runs, node.name, fault["at"])[0]
        fault.update(held=len(runs), taken=n, limit_s=TAKEOVER_S,
                     taken_over_s=round(last - fault["at"], 1) if last else None)
        self.figures["takeover_s"].append(fault["taken_over_s"])
        fault["fired_beside"] = [p for p in rescue if not self.disarm(armed, p)]
        fenced = [p for p in fault["points"] if p.startswith("fenced.")]
        for point in fenced:
            self.arm(node, point)
        yield from self.pause(5)
        node.start()
        try:
            yield from self.wait(lambda: all(self.has_fired(node, p) for p in fenced), FIRED_S / 2, "fenced")
        except Late:
            for point in fenced:
                self.disarm(node, point)
        fault["fired_beside"] += [p for p in fenced if self.has_fired(node, p)]
        self.fired_beside |= set(fault["fired_beside"])
        missed = [p for p in fault["points"] if p not in fault["fired_beside"]]
        if missed and fault.get("again", 0) < AGAIN:
            fault.update(again=fault.get("again", 0) + 1, repeat=True, points=missed)  # the numbers of this one stay as they are
        else:
            self.not_reached += missed

    def _end_machine(self, node):
        """As if its power went: keepers and plugins' processes, too."""
        pids = node.pids("plugin") + node.pids("keeper")
        node.kill("executor")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    # one fault, one lane -----------------------------------------------------------------------------

    def may_strike(self, lane, fault):
        if self.alone not in (None, lane):
            return False
        if fault["kind"] == "dead":
            self.alone = lane
            if self.open:  # they come to their end first
                return False
        running = self.running_at(fault)
        if len(running) < AT_LEAST:
            return None
        if fault["kind"] in ("keeper", "plugin") and not set(running) & set(self.node(fault).plugins(0.2)):
            return None
        nodes = [self.node(fault)] if fault["node"] and fault["kind"] != "dead" else self.rig.nodes
        return running if all(n.is_up() for n in nodes) else None

    def make(self, lane, fault):
        try:
            running = yield from self.wait(lambda: self.may_strike(lane, fault), BUSY_S,
                                           f"{AT_LEAST} running units before {fault['kind']}")
        except Late as late:
            self.missing.append({**fault, "why": str(late)})
            self.alone = None if self.alone == lane else self.alone
            return
        fault.update(problems=[], running=running, units_hit=[])
        if fault["kind"] in ("keeper", "plugin"):
            mine = sorted(u for u in running if u in self.node(fault).plugins())
            if not mine:
                fault["repeat"] = True
                return
            fault["units_hit"] = [self.rng.choice(mine)]
        self.open[lane] = fault
        self.record(fault, at=time.time())
        try:
            yield from getattr(self, "strike_" + fault["kind"])(fault)
            began = time.monotonic()
            nodes = [self.node(fault)] if fault["node"] else self.rig.nodes
            yield from self.wait(lambda: all(n.is_up() for n in nodes), UP_S, f"{fault['node'] or 'all nodes'} to be up again")
            fault["up_s"] = round(time.monotonic() - began, 2)
        except Late as late:
            fault["problems"].append(judge.problem("I18", f"waited in vain for {late}"))
        yield from self._check_survivors(fault)
        self.record(fault, healed=time.time())
        del self.open[lane]
        if self.alone == lane:
            self.alone = None
        self.done.append(fault)
        self._told(fault)

    def _check_survivors(self, fault):
        """Right away, without the tables: who was not hit is alive or ended by itself."""
        yield from self.pause(0.2)
        if fault["kind"] not in SPARING or fault.get("process") == "keeper":
            return
        self.load.witness.read()
        known = {u for x in [*self.open.values(), *self.done] for u in x.get("units_hit", [])}
        for unit, pid in fault["running"].items():
            if unit in self.load.witness.units and not alive(pid) and unit not in known and not self._was_stopped(unit):
                fault["problems"].append(judge.problem("I12", f"unit {unit} ended with the {fault['kind']}"))

    def _was_stopped(self, unit):
        """A cancel, a lost lease: the witness's last line need not be an end."""
        run, attempt, no = unit.split(".")
        try:
            rows = self.rig.query("select coalesce(u.error ->> 'code', '') from takt.unit u where u.run_id = %s and u.attempt = %s and "
                                  "u.no = %s", run, attempt, no)
        except psycopg.Error:
            return True  # the judge will say
        return not rows or rows[0][0] != "takt.lost"

    def _told(self, fault):
        problems = fault.pop("problems")
        problems += self.quick()
        self.figures["up_s"].append(fault.get("up_s"))
        text = f"running {len(fault['running']):2}" + "".join(f", {k[:-2]} {fault[k]} s" for k in ("down_s", "up_s", "lost_s", "taken_over_s")
                                                             if fault.get(k) is not None)
        text += "".join(f", {fault[k]}" for k in ("point",) if k in fault) + (", not reached" if fault.get("fired") is False else "")
        self.c.fault(fault, problems, text)

    # judging -------------------------------------------------------------------------------------------

    def quick(self):
        """The runs that ended since the last look, before any fault that is still being made."""
        horizon = min([x["at"] for x in self.open.values()] + [time.time() - 1])
        try:
            ended = {r for (r,) in self.rig.query("select id::text from takt.run where finished_at < to_timestamp(%s)", horizon)}
            new = sorted(ended - self.judged_runs)
            found = judge.judge(facts.collect(self.rig, runs=new), judge.PER_RUN) if new else []
        except psycopg.Error:
            return []
        self.judged_runs |= set(new)
        return found + [judge.problem("I19", f"{x['node']} {x['process']} ended by itself") for x in self.rig.watch()]

    def lane(self, name, faults):
        for fault in faults:
            if self.c.is_over():
                self.missing.append({**fault, "why": "out of time"})
                continue
            yield from self.make(name, fault)
            while fault.pop("repeat", False):
                self.extra += 1
                again = {k: fault[k] for k in ("kind", "node", "down_s", "point", "process", "machine", "points", "again") if k in fault}
                fault = {"no": 900 + self.extra, **again}
                yield from self.make(name, fault)

    def run(self):
        for node in self.rig.nodes:
            (node.root / "fp").mkdir()
            (node.root / "fp").chmod(0o777)
            node.env["TAKT_FAILPOINTS_DIR"] = node.executor_env["TAKT_FAILPOINTS_DIR"] = str(node.root / "fp")
        self.rig.start()
        self.load.start()
        names = [n.name for n in self.rig.nodes]
        lanes = {name: self.lane(name, [f for f in self.plan if f["node"] == (None if name == "pg" else name)])
                 for name in [*names, "pg"]}
        while lanes:
            for name in list(lanes):
                try:
                    next(lanes[name])
                except StopIteration:
                    del lanes[name]
            self._pause_to_judge()
            if self.load.errors:
                raise RuntimeError(f"the load broke: {self.load.errors}")
            time.sleep(0.1)

    def _pause_to_judge(self):
        """Every so many faults: nobody strikes, and all that is in the tables by then is judged."""
        if len(self.done) < self.judged_faults + EVERY or self.alone not in (None, "judge"):
            return
        self.alone = "judge"
        if self.open:
            return
        problems = judge.judge(facts.collect(self.rig))
        for p in problems:
            print(f"{self.c.elapsed:6.0f} s  judged: {p['invariant']} {p['what']}", flush=True)
        self.c.judged([x["no"] for x in self.done[self.judged_faults:]], problems)
        self.judged_faults, self.alone = len(self.done), None

    def judge_all(self):
        until = self.load.quiet()
        left = self.load.settle(120)
        f = facts.collect(self.rig, is_final=True)
        f.due_until = until - 1
        f.verify = self.rig.verify()
        errors = self.load.stop()
        self.rig.stop()
        f.leftovers, f.unexpected = self.rig.leftovers(), self.rig.watch()
        problems = judge.judge(f)
        adopted = [judge.adopted(f, x) for x in self.done if x["kind"] in SPARING and x.get("process") != "keeper"]
        kinds = collections.Counter(x["kind"] for x in self.done)
        return problems, {
            "faults": dict(kinds), "runs": len(f.runs), "states": dict(collections.Counter(r["state"] for r in f.runs.values())),
            "due_times": sum(o["n"] for o in f.occurrences), "events": sum(len(r["items"]) for rows in f.events.values() for r in rows),
            "live_at_the_end": left, "adopted": sum(a for a, _ in adopted), "to_be_adopted": sum(n for _, n in adopted),
            "least_running": min([len(x["running"]) for x in self.done], default=0), "punctuality_s": judge.punctuality(f),
            "takeover_s": self.figures["takeover_s"], "up_s_max": max([u for u in self.figures["up_s"] if u], default=0),
            "lost_s_max": max([x.get("lost_s", 0) for x in self.done], default=0),
            "failpoints_fired": sorted({x["point"] for x in self.done if x.get("fired")} | self.fired_beside),
            "failpoints_not_reached": sorted(set(self.not_reached)), "load_errors": errors,
            "lines": {name: len(found) for name, found in f.readers.items()}, "witness_lines": len(f.witness)}

    def close(self):
        self.load.stopping.set()
        self.rig.close()


def main():
    c = Campaign("kill", faults=40, minutes=27, options=[
        ("--dead", {"type": int, "default": 5, "help": "how often a node is left dead"}),
        ("--no-failpoints", {"action": "store_true"}), ("--only", {"help": "kinds, with commas"})])
    c.end_on_signals()
    build = SOURCE / c.args.build
    points = failpoints() if is_built_with_failpoints(build) and not c.args.no_failpoints else []
    plan = make_plan(c.seed, c.args.faults, NODES, points, c.args.dead)
    if c.args.only:
        plan = [f for f in plan if f["kind"] in c.args.only.split(",")]
    left = c.left(plan)
    k = Kill(c, left, build=build)
    try:
        k.run()
        problems, summary = k.judge_all()
        c.judged([x["no"] for x in k.done], problems)
        if c.problems:
            (c.directory / "logs.txt").write_text(k.rig.logs(400000))
    finally:
        k.close()
    return c.end({"planned": len(plan), **summary},
                 k.missing + [{"kind": "failpoint", "point": p, "why": "never passed"} for p in summary["failpoints_not_reached"]])


if __name__ == "__main__":
    sys.exit(main())
