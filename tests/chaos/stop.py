#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""make chaos-stop: SIGSTOP of an engine (and what else of its node) for a while, then SIGCONT.

The engine that wakes up knows nothing of the time that passed: whatever it still wants to write is stale
when others took its runs. `Stop` does it and says what it saw.
"""
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from rig import alive, wait_until  # noqa: E402

FENCE_S, RESCUE_S = 20.0, 35.0
TAKEOVER_S = 45.0  # from the stop until the last of its runs is another's: lease and observation, then the rescue
RETURN_S = 30.0    # from the waking until the node works again: a silent or ended connection, its lock, recovery
SLACK_S = 1.0
WHO = {
    "engine": ("engine",),
    "engine and parent": ("taktd", "engine"),
    "taktd": ("taktd", "engine", "gateway"),
    "engine and executor": ("engine", "executor"),
    "node": ("taktd", "engine", "gateway", "executor", "zygote", "keeper", "plugin"),
}


def durations(rng, count, longest=120.0, over_fence=5, over_rescue=5):
    """Log-uniform from 1 s; at least so many over the self-fence, and so many of those over the rescue."""
    many = [longest ** rng.random() for _ in range(count)]
    for i in range(min(count, over_fence)):
        many[i] = FENCE_S + 1 + rng.random() * (RESCUE_S - FENCE_S - 2)
    for i in range(over_fence, min(count, over_fence + over_rescue)):
        many[i] = rng.uniform(RESCUE_S + 8, longest)
    rng.shuffle(many)
    return many


class Stop:
    def __init__(self, rig, rng):
        self.rig, self.rng = rig, rng

    def now(self):
        return self.rig.query("select extract(epoch from clock_timestamp())::float8")[0][0]

    def fenced(self):
        """Reports of a stale epoch that were kept as events."""
        return self.rig.query("select count(*) from takt.event_item where item ->> 'type' = 'fenced'")[0][0]

    def begin(self, node, who):
        pids = [pid for kind in WHO[who] for pid in node.pids(kind)]
        fault = {"kind": "stop", "who": who, "node": node.name, "at": self.now(), "since": time.monotonic(), "pids": pids,
                 "runs": [str(r[0]) for r in self.rig.query(
                     "select l.run_id from takt.live l join takt.node n on n.id = l.node_id where n.name = %s", node.name)]}
        for pid in pids:
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                pass
        return fault

    def _held(self, fault):
        """Live rows that the stopped node still has."""
        return self.rig.query("select count(*) from takt.live l join takt.node n on n.id = l.node_id where n.name = %s",
                              fault["node"])[0][0]

    def watch(self, fault):
        """Call it while the node stands: notes when its runs had been taken over, and its last claim."""
        if "taken_over_s" not in fault and fault["runs"] and not self._held(fault):
            fault["taken_over_s"] = round(self.now() - fault["at"], 1)

    def end(self, fault, node):
        fault["healed"], before = self.now(), self.fenced()
        fault["duration"] = round(fault["healed"] - fault["at"], 1)
        fault["still_held"] = self._held(fault)
        last = self.rig.query("select extract(epoch from max(a.opened_at))::float8 from takt.attempt a join takt.node n on n.id = "
                              "a.node_id where n.name = %s and a.opened_at <= to_timestamp(%s)", node.name, fault["healed"])[0][0]
        fault["last_claim_s"] = round((last or 0) - fault["at"], 1)
        # Children first: a parent that wakes first would see nothing wrong either, but so it is the same each time.
        for pid in reversed(fault.pop("pids")):
            if alive(pid):
                os.kill(pid, signal.SIGCONT)
        del fault["since"]
        began = time.monotonic()
        try:
            wait_until(lambda: node.has_lease() and self._worked(node, fault["healed"]), RETURN_S, "the node")
            fault["returned_s"] = round(time.monotonic() - began, 1)
        except TimeoutError:
            fault["returned_s"] = None
        fault["fenced"] = self.fenced() - before
        fault["taken_over"] = self.rig.query(
            "select count(*) from takt.event_item where item ->> 'type' = 'attempt_taken_over' and item ->> 'from' = %s and at > to_timestamp(%s)",
            node.name, fault["at"])[0][0]
        return fault

    def _worked(self, node, since):
        return self.rig.query("select 1 from takt.event e join takt.node n on n.no = e.node_no where n.name = %s "
                              "and e.at > to_timestamp(%s) limit 1", node.name, since)

    def one(self, duration_s, who=None, node=None, during=lambda: None):
        node = node or self.rng.choice(self.rig.nodes)
        fault = self.begin(node, who or self.rng.choice(list(WHO)))
        while time.monotonic() < fault["since"] + duration_s:
            self.watch(fault)
            during()
            time.sleep(0.2)
        return self.end(fault, node)

    def two(self, long_s, short_s, during=lambda: None):
        """The second stops and wakes, or not, while the first stands; the third goes on."""
        a, b = self.rng.sample(self.rig.nodes, 2)
        first = self.begin(a, self.rng.choice(list(WHO)))
        start_b = time.monotonic() + self.rng.uniform(0, long_s)
        second, over = None, []
        while len(over) < 2:
            t = time.monotonic()
            if second is None and t >= start_b:
                second = self.begin(b, self.rng.choice(list(WHO)))
            for fault, node, duration in ((first, a, long_s), (second, b, short_s)):
                if fault and fault not in over:
                    self.watch(fault)
                    if t >= fault["since"] + duration:
                        over.append(self.end(fault, node))
            during()
            time.sleep(0.2)
        return over


def problems_of(fault):
    found = []
    if fault["last_claim_s"] > SLACK_S:
        found.append({"invariant": "I7", "what": f"{fault['node']} claimed {fault['last_claim_s']} s after it was stopped"})
    if fault["duration"] > TAKEOVER_S + SLACK_S and fault["still_held"]:
        found.append({"invariant": "I18", "what": f"{fault['node']} was stopped for {fault['duration']} s and still has "
                      f"{fault['still_held']} runs"})
    if fault["duration"] < RESCUE_S - 5 and fault["taken_over"]:
        found.append({"invariant": "I7", "what": f"{fault['node']} was stopped for only {fault['duration']} s, and "
                      f"{fault['taken_over']} runs were taken from it"})
    if fault["returned_s"] is None:
        found.append({"invariant": "I18", "what": f"{fault['node']} does not work {RETURN_S} s after it was woken"})
    return found
