# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A campaign whose faults come one after the other: net, stop, clock.

    class Net(Scene):
        def prepare(self): ...                     # before anything of Takt runs
        def make(self, fault): ...                 # does it, fills it in; returns a text for the line
        def problems_of(self, fault): ...          # what the fault shows by itself

`make` may leave `no` faults together (`take`), and puts "at" and "healed" (the server's clock) into the fault.
"""
import collections
import random
import signal
import sys
import time

import psycopg

import facts
import judge
from load import Journal, Load
from rig import SOURCE, Rig

WARM_S = 6.0   # load before the first fault
AFTER_S = 2.0  # between two faults, at least


class Scene:
    checks, per_run = judge.CHECKS, judge.PER_RUN

    def __init__(self, campaign, plan, build=None, nodes=3, busy=None, work=None, **rig):
        """work: more arguments of Load."""
        self.c, self.plan = campaign, list(plan)
        self.rng = random.Random(campaign.seed + campaign.segment)
        self.rig = Rig(seed=campaign.seed, nodes=nodes, build=SOURCE / (build or campaign.args.build), journals=campaign.journals, **rig)
        self.load = Load(self.rig, seed=self.rng.random(), busy=busy, **(work or {}))
        self.journal = Journal(self.rig.journals / "faults.jsonl", sync=True)
        self.done, self.missing, self.judged_runs = [], [], set()

    # for the campaigns --------------------------------------------------------------------------

    def prepare(self):
        pass

    def problems_of(self, fault):
        return []

    def summary(self, f):
        return {}

    def node(self, name):
        return next(n for n in self.rig.nodes if n.name == name)

    def now(self):
        return self.rig.query("select extract(epoch from clock_timestamp())::float8")[0][0]

    def worked(self, node, since):
        """When this node first wrote an event after that time, by the server's clock; None if it has not."""
        return self.rig.query("select extract(epoch from min(e.at))::float8 from takt.event e join takt.node n on n.no = e.node_no "
                              "where n.name = %s and e.at > to_timestamp(%s)", node.name, since)[0][0]

    def claims(self, node, since, until):
        """When it opened attempts, in seconds after since."""
        return [r[0] - since for r in self.rig.query(
            "select extract(epoch from a.opened_at)::float8 from takt.attempt a join takt.node n on n.id = a.node_id where n.name = %s "
            "and a.opened_at > to_timestamp(%s) and a.opened_at <= to_timestamp(%s) order by 1", node.name, since, until)]

    def taken_over(self, since):
        """Events of a takeover after that time: [(from, at)]."""
        return self.rig.query("select item ->> 'from', extract(epoch from at)::float8 from takt.event_item where item ->> 'type' = "
                              "'attempt_taken_over' and at > to_timestamp(%s)", since)

    # the frame ----------------------------------------------------------------------------------

    def quick(self, horizon):
        """The runs that ended before horizon and were not looked at yet."""
        try:
            ended = {r for (r,) in self.rig.query("select id::text from takt.run where finished_at < to_timestamp(%s)", horizon)}
            new = sorted(ended - self.judged_runs)
            found = judge.judge(facts.collect(self.rig, runs=new), self.per_run) if new else []
        except psycopg.Error:
            return []
        self.judged_runs |= set(new)
        return found + [judge.problem("I19", f"{x['node']} {x['process']} ended by itself") for x in self.rig.watch()]

    def one(self, fault):
        text = self.make(fault)
        self.journal.write(**fault)
        self.done.append(fault)
        self.c.fault(fault, self.problems_of(fault) + self.quick(fault.get("judged_before", fault["at"] - 1)), text or "")
        if self.load.errors:
            raise RuntimeError(f"the load broke: {self.load.errors}")

    def run(self):
        self.prepare()
        self.rig.start()
        self.load.start()
        time.sleep(WARM_S)
        for fault in self.plan:
            if self.c.is_over():
                self.missing.append({**fault, "why": "out of time"})
                continue
            self.one(fault)
            time.sleep(AFTER_S)

    def judge_all(self):
        until = self.load.quiet()
        left = self.load.settle(120)
        f = facts.collect(self.rig, is_final=True)
        f.due_until = until - 1
        errors, f.unexpected = self.load.stop(), list(self.rig.watch())
        self.rig.stop()
        f.leftovers = self.rig.leftovers()
        problems = judge.judge(f, self.checks)
        return problems, {
            "faults": dict(collections.Counter(x["kind"] for x in self.done)), "runs": len(f.runs),
            "states": dict(collections.Counter(r["state"] for r in f.runs.values())),
            "due_times": sum(o["n"] for o in f.occurrences), "live_at_the_end": left, "load_errors": errors,
            "events": sum(len(r["items"]) for rows in f.events.values() for r in rows), "witness_lines": len(f.witness),
            **self.summary(f)}

    def close(self):
        self.load.stopping.set()
        self.rig.close()


def play(c, s):
    """Make the faults of a scene and judge all: (summary, problems)."""
    try:
        s.run()
        problems, summary = s.judge_all()
        c.judged([x["no"] for x in s.done], problems)
        if c.problems:
            (c.directory / "logs.txt").write_text(s.rig.logs(400000))
    finally:
        s.close()
    return summary, c.problems


def campaign(c, plan, scene, **more):
    """A whole campaign, from the command line: its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    s = scene(c, c.left(plan), **more)
    summary, _ = play(c, s)
    return c.end({"planned": len(plan), **summary}, s.missing)
