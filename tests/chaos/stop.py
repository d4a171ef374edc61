#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""SIGSTOP of an engine (and what else of its node) for a while, then SIGCONT; sometimes two nodes at once.

The engine that wakes knows nothing of the time that passed: what it still wants to write is stale when others
took its runs over. One node of the three always goes on.
"""
import os
import pathlib
import random
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import judge  # noqa: E402
from rig import alive  # noqa: E402
from scene import Scene, campaign  # noqa: E402
from verdict import Campaign  # noqa: E402

FENCE_S, RESCUE_S = 20.0, 35.0
TAKEOVER_S = 41.0  # from the stop until the last of its runs is another's: 35 s of standing still, the next look, the rescue
RETURN_S = 10.0    # from the waking until the node works again: an ended connection, its lock, recovery
SLACK_S = 1.0
LONGEST_S = 120.0
WHO = {
    "engine": ("engine",),
    "engine and parent": ("taktd", "engine"),
    "taktd": ("taktd", "engine", "gateway"),
    "engine and executor": ("engine", "executor"),
    "node": ("taktd", "engine", "gateway", "executor", "zygote"),
}
# Keepers are never stopped: a plugin's process that stood still with its keeper runs for some milliseconds when both
# wake, before the keeper ends it. That is the limit of a lease that a frozen machine holds.


def durations(rng, count, longest=LONGEST_S, over_fence=5, over_rescue=5):
    """Log-uniform from 1 s; at least so many between self-fence and rescue, and so many over the rescue."""
    many = [longest ** rng.random() for _ in range(count)]
    for i in range(min(count, over_fence)):
        many[i] = rng.uniform(FENCE_S + 1, RESCUE_S - 3)
    for i in range(over_fence, min(count, over_fence + over_rescue)):
        many[i] = rng.uniform(TAKEOVER_S + 4, max(TAKEOVER_S + 5, longest))
    rng.shuffle(many)
    return [round(d, 1) for d in many]


def make_plan(seed, count, nodes=3, pairs=0.25, **lengths):
    """Each fault a node; of some the second stop begins while the first lasts (`with`, `after_s`)."""
    rng = random.Random(seed)
    names, plan = [f"n{i + 1}" for i in range(nodes)], []
    whos = (list(WHO) * count)[:count]
    rng.shuffle(whos)
    for i, seconds in enumerate(durations(rng, count, **lengths)):
        before = plan[-1] if plan else None
        pair = before and nodes > 2 and "with" not in before and rng.random() < pairs
        name = rng.choice([n for n in names if not pair or n != before["node"]])
        plan.append({"kind": "stop", "node": name, "who": whos[i], "down_s": seconds})
        if pair:
            plan[-1].update({"with": len(plan) - 1, "after_s": round(rng.uniform(0, before["down_s"]), 1)})
    return [{"no": n + 1, **fault} for n, fault in enumerate(plan)]


class Stop(Scene):
    def fenced(self):
        """Reports of a stale epoch, kept as events."""
        return self.rig.query("select count(*) from takt.event_item where item ->> 'type' = 'fenced'")[0][0]

    def _held(self, fault):
        """Live rows that the stopped node still has."""
        return self.rig.query("select count(*) from takt.live l join takt.node n on n.id = l.node_id where n.name = %s",
                              fault["node"])[0][0]

    def begin(self, fault):
        node = self.node(fault["node"])
        pids = [pid for kind in WHO[fault["who"]] for pid in node.pids(kind)]
        fault.update(at=self.now(), held=self._held(fault))
        for pid in pids:
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                pass
        fault["pids"], fault["since"] = pids, time.monotonic()

    def watch(self, fault):
        """Notes when its runs had all been taken over."""
        if "taken_over_s" not in fault and fault["held"] and time.monotonic() > fault["since"] + RESCUE_S - 10 and not self._held(fault):
            fault["taken_over_s"] = round(time.monotonic() - fault["since"], 1)

    def end(self, fault):
        node = self.node(fault["node"])
        fault["healed"], fault["still_held"] = self.now(), self._held(fault)
        fault["last_claim_s"] = round(max(self.claims(node, fault["at"], fault["healed"]), default=0.0), 1)
        for pid in fault.pop("pids"):
            if alive(pid):
                os.kill(pid, signal.SIGCONT)
        fault["woken"] = time.monotonic()
        del fault["since"]

    def is_back(self, fault):
        """It holds its lease and has written something, or has had its time."""
        node = self.node(fault["node"])
        if fault["woken"] + 30 > time.monotonic() and not (node.has_lease() and self.worked(node, fault["healed"])):
            return False
        fault["returned_s"] = round(time.monotonic() - fault.pop("woken"), 1)
        return True

    def one(self, fault):
        """A fault with the next one, if that one begins while this one lasts."""
        if fault in self.done:
            return
        pair = [fault] + [x for x in self.plan if x.get("with") == fault["no"]]
        fenced, began = self.fenced(), time.monotonic()
        open_ = list(pair)
        while open_:
            for x in list(open_):
                if "at" not in x:
                    if time.monotonic() >= began + x.get("after_s", 0):
                        self.begin(x)
                elif "woken" in x:
                    if self.is_back(x):
                        open_.remove(x)
                elif time.monotonic() >= x["since"] + x["down_s"]:
                    self.end(x)
                else:
                    self.watch(x)
            time.sleep(0.1)
        for x in pair:
            x["fenced"] = self.fenced() - fenced
            x["taken_over"] = sum(giver == x["node"] and at >= x["at"] for giver, at in self.taken_over(x["at"]))
            self.journal.write(**x)
            self.done.append(x)
        for x in pair:
            self.c.fault(x, self.problems_of(x) + self.quick(fault["at"] - 1), f"{x['who']} {x['down_s']} s, held {x['held']}, taken over "
                         f"{x['taken_over']} in {x.get('taken_over_s', '-')} s, fenced {x['fenced']}, returned {x['returned_s']} s")

    def problems_of(self, fault):
        found, name = [], fault["node"]
        if fault["last_claim_s"] > SLACK_S:
            found.append(judge.problem("I7", f"{name} claimed {fault['last_claim_s']} s after it was stopped"))
        if fault["down_s"] > TAKEOVER_S + SLACK_S and fault["still_held"]:
            found.append(judge.problem("I18", f"{name} was stopped for {fault['down_s']} s and still has {fault['still_held']} runs"))
        if fault["down_s"] < RESCUE_S - 6 and fault["taken_over"]:
            found.append(judge.problem("I7", f"{name} was stopped for only {fault['down_s']} s, {fault['taken_over']} runs were taken from it"))
        if fault["returned_s"] > RETURN_S:
            found.append(judge.problem("I18", f"{name} worked again {fault['returned_s']} s after it was woken"))
        return found

    def summary(self, f):
        def over(limit):
            return sum(x["down_s"] > limit for x in self.done)
        return {"over_fence": over(FENCE_S), "over_rescue": over(RESCUE_S), "fenced": self.fenced_total,
                "taken_over": sum(x["taken_over"] for x in self.done),
                "taken_over_s": [x["taken_over_s"] for x in self.done if "taken_over_s" in x],
                "returned_s_max": max([x["returned_s"] for x in self.done], default=None)}

    def judge_all(self):
        self.fenced_total = self.fenced()
        return super().judge_all()


def main():
    c = Campaign("stop", faults=20, minutes=40)
    return campaign(c, make_plan(c.seed, c.args.faults), Stop)


if __name__ == "__main__":
    sys.exit(main())
