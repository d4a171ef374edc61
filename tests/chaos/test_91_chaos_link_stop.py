# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The short form of `make chaos-net` and `make chaos-stop`, on one set of nodes: some lost answers to commits, two cuts, two
overlapping stops, one of them over the self-fence; the whole judgement."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from net import Net  # noqa: E402
from rig import BUILD  # noqa: E402
from scene import Scene, play  # noqa: E402
from stop import FENCE_S, Stop  # noqa: E402
from verdict import Campaign  # noqa: E402

DROPS = 6
PLAN = [
    *[{"kind": "drop"}] * DROPS,
    {"kind": "link", "what": "black hole, then reset", "down_s": 3, "nodes": ["n1"], "node": "n1"},
    {"kind": "stop", "node": "n2", "who": "engine", "down_s": FENCE_S + 2},
    {"kind": "stop", "node": "n3", "who": "node", "down_s": 2, "with": DROPS + 2, "after_s": 5},
    {"kind": "outage", "what": "reset", "down_s": 1, "nodes": ["n1", "n2", "n3"], "node": None},
]


class Both(Net, Stop):
    def one(self, fault):
        (Stop if fault["kind"] == "stop" else Scene).one(self, fault)

    def problems_of(self, fault):
        return (Stop if fault["kind"] == "stop" else Net).problems_of(self, fault)

    def summary(self, f):
        return {}



def test_links_and_stops(tmp_path):
    c = Campaign("link-stop", 1, 6, argv=["--seed", "91", "--build", str(BUILD), "--out", str(tmp_path / "link-stop")])
    s = Both(c, [{"no": i + 1, **fault} for i, fault in enumerate(PLAN)], busy=9)
    summary, problems = play(c, s)
    print(summary, s.dropped)
    assert problems == [] and s.missing == []
    assert len(s.done) == len(PLAN) and sum(s.dropped.values()) >= DROPS and summary["live_at_the_end"] == 0
