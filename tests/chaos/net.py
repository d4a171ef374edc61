#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""make chaos-net: the link to PostgreSQL loses answers to commits, is cut, silent, one-way, slow.

A fault proxy stands between each node and the server. `Net` does one fault at a time and says what it saw;
what must hold beyond the judge's invariants is in `problems_of()`: no claim later than FENCE_S after the cut,
work again RESUME_S after the healing.
"""
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from proxy import DOWN, UP, Proxy  # noqa: E402
from rig import SOURCE, wait_until  # noqa: E402

FENCE_S = 20.0   # after the sending of the last renewal that was acknowledged
RESUME_S = 10.0
SLACK_S = 1.0
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
PASSING = ("late", "narrow", "forgotten")  # the node may go on at once, with other connections or slowly
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


class Net:
    """The faults. Put in between before rig.start()."""

    def __init__(self, rig, rng):
        self.rig, self.rng = rig, rng
        self.proxies = {}
        for node in rig.nodes:
            proxy = self.proxies[node.name] = Proxy(f"{rig.pg.host}/.s.PGSQL.5432", node.name)
            node.db = f"{proxy.conninfo} dbname={rig.pg.dbname}"
        self.dropped = {}  # statement -> how often its commit's answer was lost

    def close(self):
        for proxy in self.proxies.values():
            proxy.close()

    # answers to commits --------------------------------------------------------------------------

    def _arm(self, node):
        """The statement whose commits lost the fewest answers so far has the best chance."""
        if self.rng.random() < 0.15:
            return self.proxies[node.name].drop_commit("takt_gateway", COMMANDS)
        least = min(self.dropped.get(s, 0) for s in ENGINE_WRITES)
        rare = [s for s in ENGINE_WRITES if self.dropped.get(s, 0) == least]
        wanted = rare if self.rng.random() < 0.5 else ENGINE_WRITES
        return self.proxies[node.name].drop_commit("takt_engine", wanted, passing=self.rng.randrange(3))

    def drop_commits(self, count, limit_s=600, patience_s=6):
        """On all nodes at once, each again when its engine is back in its node. The Drops."""
        done, armed, end = [], {}, time.monotonic() + limit_s
        while len(done) < count and time.monotonic() < end:
            for node in self.rig.nodes:
                drop, since = armed.get(node.name, (None, 0))
                if drop is None:
                    if node.has_lease():
                        armed[node.name] = self._arm(node), time.monotonic()
                elif drop.is_done:
                    done.append(drop)
                    for statement in set(drop.statements) & {*ENGINE_WRITES, *COMMANDS}:
                        self.dropped[statement] = self.dropped.get(statement, 0) + 1
                    armed[node.name] = None, 0
                elif time.monotonic() > since + patience_s:
                    self.proxies[node.name].disarm(drop)
                    armed[node.name] = None, 0
            time.sleep(0.05)
        for name, (drop, _) in armed.items():
            if drop:
                self.proxies[name].disarm(drop)
        return done[:count]

    # links ---------------------------------------------------------------------------------------

    def now(self):
        return self.rig.query("select extract(epoch from clock_timestamp())::float8")[0][0]

    def _node_id(self, node):
        return self.rig.query("select id from takt.node where name = %s", node.name)[0][0]

    def _claims(self, node, since, until):
        return [r[0] for r in self.rig.query(
            "select extract(epoch from opened_at)::float8 from takt.attempt where node_id = %s and opened_at > to_timestamp(%s) "
            "and opened_at <= to_timestamp(%s) order by 1", self._node_id(node), since, until)]

    def _worked(self, node, since):
        """When this node first wrote something after that time; None if it has not."""
        return self.rig.query(
            "select extract(epoch from min(e.at))::float8 from takt.event e join takt.node n on n.no = e.node_no "
            "where n.name = %s and e.at > to_timestamp(%s)", node.name, since)[0][0]

    def cut(self, what, nodes, duration_s, during=lambda: None):
        """One fault on the links of some nodes: a line for faults.jsonl, with what was seen."""
        at = self.now()
        for node in nodes:
            CUTS[what](self.proxies[node.name], self.rng)
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            during()
            time.sleep(min(0.2, max(0.0, end - time.monotonic())))
        # A claim in flight at the cut may arrive at the healing: counted before.
        healed = self.now()
        claims = {n.name: [t - at for t in self._claims(n, at, healed)] for n in nodes}
        for node in nodes:
            self.proxies[node.name].heal(reset=what in RESET_AT_HEALING)
        is_all = len(nodes) == len(self.rig.nodes)
        fault = {"kind": "outage" if is_all else "link", "what": what, "node": nodes[0].name if len(nodes) == 1 else None,
                 "nodes": [n.name for n in nodes], "at": at, "healed": healed, "duration": round(healed - at, 1),
                 "last_claim_s": {k: round(max(v), 1) for k, v in claims.items() if v}}
        fault["resumed_s"] = self._resumed(nodes, healed)
        return fault

    def _resumed(self, nodes, healed, limit_s=30):
        """node -> seconds from the healing until it held its lease and had written something; None: not in limit_s."""
        seen, end = {n.name: None for n in nodes}, time.monotonic() + limit_s
        while time.monotonic() < end and None in seen.values():
            for node in nodes:
                if seen[node.name] is None and node.has_lease():
                    worked = self._worked(node, healed)
                    if worked:
                        seen[node.name] = round(max(worked, self._leased(node)) - healed, 1)
            time.sleep(0.1)
        return seen

    def _leased(self, node):
        """When the lease that it has was renewed."""
        return self.rig.query("select extract(epoch from lease_until - interval '30 s')::float8 from takt.node where name = %s",
                              node.name)[0][0]

    def any_cut(self, duration_s):
        what = self.rng.choice(list(CUTS))
        kind = self.rng.random()
        count = 1 if kind < 0.55 else len(self.rig.nodes) - 1 if kind < 0.75 else len(self.rig.nodes)
        return self.cut(what, self.rng.sample(self.rig.nodes, max(1, count)), duration_s)


def problems_of(fault):
    """What a fault shows by itself."""
    found = []
    if fault["what"] not in PASSING:
        for node, last in fault["last_claim_s"].items():
            if last > FENCE_S + SLACK_S:
                found.append({"invariant": "I7", "what": f"{node} claimed {last} s after its link was cut ({fault['what']})"})
    for node, after in fault["resumed_s"].items():
        if after is None or after > RESUME_S:
            found.append({"invariant": "I18", "what": f"{node}: {fault['what']} for {fault['duration']} s; "
                          f"work resumed {'not within 30' if after is None else after} s after the healing"})
    return found


def durations(rng, count, longest=40.0, over=20.5, share=0.3):
    """Log-uniform from 1 s; the given share is longer than `over`."""
    many = [rng.uniform(over, longest) if i < count * share else longest ** rng.random() for i in range(count)]
    rng.shuffle(many)
    return many
