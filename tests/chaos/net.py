#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Through a fault proxy before PostgreSQL: answers to commits are lost, links are cut, silent, one-way, slow.

What must hold beyond the judge's invariants: no claim later than FENCE_S after the cut, work again RESUME_S
after the healing.
"""
import pathlib
import random
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import judge  # noqa: E402
from proxy import DOWN, UP, Proxy  # noqa: E402
from rig import SOURCE  # noqa: E402
from scene import Scene, campaign  # noqa: E402
from verdict import Campaign  # noqa: E402

FENCE_S = 20.0   # after the sending of the last renewal that was acknowledged
RESUME_S = 10.0
SLACK_S = 1.0
LONGEST_S = 40.0
# What is done to a link: name -> does it on a proxy.
CUTS = {
    "black hole": lambda p, rng: p.hold(),
    "black hole, then reset": lambda p, rng: p.hold(),
    "requests lost": lambda p, rng: p.hold(ways=(UP,)),
    "answers lost": lambda p, rng: p.hold(ways=(DOWN,)),
    "reset": lambda p, rng: p.refuse(),
    "half-closed to the server": lambda p, rng: (p.half_close(way=UP), p.hold()),
    "half-closed to the node": lambda p, rng: (p.half_close(way=DOWN), p.hold()),
    "late": lambda p, rng: p.slow(delay_s=rng.uniform(0.1, 1.5)),
    "narrow": lambda p, rng: p.slow(rate_bps=rng.randrange(20_000, 60_000)),
    "forgotten": lambda p, rng: p.forget(),
}
PASSING = ("late", "narrow", "forgotten")  # the node may go on at once, slowly or by a new connection
RESET_AT_HEALING = ("black hole, then reset", "requests lost", "forgotten")


def writing(folder):
    """Statements below sql/ that write, by their names on the wire."""
    names = []
    for path in sorted((SOURCE / "sql" / folder).glob("*.sql")):
        text = re.sub(r"--.*", "", path.read_text())
        if re.search(r"\b(insert into|update|delete from)\s+takt\.", text, re.I):
            names.append(f"{folder}/{path.stem}")
    return names


ENGINE_WRITES = [s for s in writing("engine") if s != "engine/node_lease"]
COMMANDS = ["api/runTask", "api/cancelRun"]


def durations(rng, count, longest=LONGEST_S, over=FENCE_S + 0.5, share=0.3):
    """Log-uniform from 1 s; the given share is longer than `over`."""
    many = [rng.uniform(over, longest) if i < count * share else longest ** rng.random() for i in range(count)]
    rng.shuffle(many)
    return [round(d, 2) for d in many]


def make_plan(seed, drops, cuts, nodes=3, longest=LONGEST_S):
    """Cuts of every manner on one, all but one and all nodes; the lost answers in batches between them."""
    rng = random.Random(seed)
    names = [f"n{i + 1}" for i in range(nodes)]
    manners = (list(CUTS) * cuts)[:cuts]
    rng.shuffle(manners)
    plan = []
    for i, (what, seconds) in enumerate(zip(manners, durations(rng, cuts, longest))):
        plan += [{"kind": "drop"}] * (drops * (i + 1) // cuts - drops * i // cuts)
        kind = rng.random()
        hit = sorted(rng.sample(names, 1 if kind < 0.55 else max(1, nodes - 1) if kind < 0.75 else nodes))
        plan.append({"kind": "outage" if len(hit) == nodes else "link", "what": what, "down_s": seconds, "nodes": hit,
                     "node": hit[0] if len(hit) == 1 else None})
    return [{"no": n + 1, **fault} for n, fault in enumerate(plan)]


class Net(Scene):
    def prepare(self):
        self.proxies, self.dropped, self.armed = {}, {}, {}
        for node in self.rig.nodes:
            proxy = self.proxies[node.name] = Proxy(f"{self.rig.pg.host}/.s.PGSQL.5432", node.name)
            node.db = f"{proxy.conninfo} dbname={self.rig.pg.dbname}"

    def make(self, fault):
        return self.lose_an_answer(fault) if fault["kind"] == "drop" else self.cut(fault)

    # answers to commits --------------------------------------------------------------------------

    def _arm(self, node):
        """The statements whose commits lost the fewest answers so far have the best chance."""
        if self.rng.random() < 0.15:
            return self.proxies[node.name].drop_commit("takt_gateway", COMMANDS)
        least = min(self.dropped.get(s, 0) for s in ENGINE_WRITES)
        rare = [s for s in ENGINE_WRITES if self.dropped.get(s, 0) == least]
        wanted = rare if self.rng.random() < 0.5 else ENGINE_WRITES
        return self.proxies[node.name].drop_commit("takt_engine", wanted, passing=self.rng.randrange(3))

    def _one_drop(self, limit_s, patience_s=5):
        """(node's name, Drop) of the next answer that is lost. Every node is armed that holds its lease."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            for node in self.rig.nodes:
                drop, since = self.armed.get(node.name, (None, 0))
                if drop is None:
                    if node.has_lease():
                        self.armed[node.name] = self._arm(node), time.monotonic()
                elif drop.is_done:
                    del self.armed[node.name]
                    return node.name, drop
                elif time.monotonic() > since + patience_s:
                    self.proxies[node.name].disarm(drop)
                    del self.armed[node.name]
            time.sleep(0.05)
        raise TimeoutError("no commit whose answer could be lost")

    def lose_an_answer(self, fault):
        name, drop = self._one_drop(60)
        names = sorted(set(drop.statements) & {*ENGINE_WRITES, *COMMANDS})
        for statement in names:
            self.dropped[statement] = self.dropped.get(statement, 0) + 1
        fault.update(node=name, at=drop.at, healed=drop.at, statements=names)
        return " ".join(names)

    def _disarm(self):
        for name, (drop, _) in self.armed.items():
            self.proxies[name].disarm(drop)
        self.armed.clear()

    # links ---------------------------------------------------------------------------------------

    def cut(self, fault, during=lambda: None):
        self._disarm()
        nodes = [self.node(name) for name in fault["nodes"]]
        fault["at"] = self.now()
        for node in nodes:
            CUTS[fault["what"]](self.proxies[node.name], self.rng)
        end = time.monotonic() + fault["down_s"]
        while time.monotonic() < end:
            during()
            time.sleep(max(0.0, min(0.2, end - time.monotonic())))
        # Counted before the healing: what was in flight at the cut may arrive only then.
        fault["healed"] = self.now()
        claims = {n.name: self.claims(n, fault["at"], fault["healed"]) for n in nodes}
        fault["last_claim_s"] = {name: round(max(found), 1) for name, found in claims.items() if found}
        if fault["what"] == "forgotten" and fault["down_s"] > FENCE_S + RESUME_S:
            fault["without_healing"] = all(node.has_lease() for node in nodes)
        for node in nodes:
            self.proxies[node.name].heal(reset=fault["what"] in RESET_AT_HEALING)
        fault["resumed_s"] = self._resumed(nodes, fault["healed"])
        return f"{fault['what']} {fault['down_s']} s, {' '.join(fault['nodes'])}, resumed {fault['resumed_s']}"

    def _leased(self, node):
        """When the lease that it has was renewed."""
        return self.rig.query("select extract(epoch from lease_until - interval '30 s')::float8 from takt.node where name = %s",
                              node.name)[0][0]

    def _resumed(self, nodes, healed, limit_s=30):
        """node -> seconds from the healing until it held its lease and had written something; None: not in limit_s."""
        seen, end = {n.name: None for n in nodes}, time.monotonic() + limit_s
        while time.monotonic() < end and None in seen.values():
            for node in nodes:
                if seen[node.name] is None and node.has_lease():
                    worked = self.worked(node, healed)
                    if worked:
                        seen[node.name] = round(max(worked - healed, min(self._leased(node) - healed, time.monotonic() - end + limit_s)), 1)
            time.sleep(0.1)
        return seen

    def problems_of(self, fault):
        found = []
        if fault["kind"] != "drop" and fault["what"] not in PASSING:
            for node, last in fault["last_claim_s"].items():
                if last > FENCE_S + SLACK_S:
                    found.append(judge.problem("I7", f"{node} claimed {last} s after its link was cut ({fault['what']})"))
        if not fault.get("without_healing", True):
            found.append(judge.problem("I18", f"{fault['nodes']}: no new connection {fault['down_s']} s after the old one was forgotten"))
        for node, after in fault.get("resumed_s", {}).items():
            if after is None or after > RESUME_S:
                found.append(judge.problem("I18", f"{node}: {fault['what']} for {fault['down_s']} s; work resumed "
                                           f"{'not within 30' if after is None else after} s after the healing"))
        return found

    def summary(self, f):
        resumed = sorted(s for x in self.done for s in x.get("resumed_s", {}).values() if s is not None)
        return {"dropped": self.dropped, "over_20_s": sum(x.get("down_s", 0) > FENCE_S for x in self.done),
                "resumed_s_max": resumed[-1] if resumed else None,
                "last_claim_s_max": max([s for x in self.done if x.get("what") not in PASSING
                                         for s in x.get("last_claim_s", {}).values()], default=None)}

    def close(self):
        super().close()
        for proxy in getattr(self, "proxies", {}).values():
            proxy.close()


def main():
    c = Campaign("net", faults=200, minutes=45, options=[
        ("--cuts", {"type": int, "default": 50, "help": "how often links are cut, silent or slow"})])
    return campaign(c, make_plan(c.seed, c.args.faults, c.args.cuts), Net)


if __name__ == "__main__":
    sys.exit(main())
