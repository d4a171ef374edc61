# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The short form of `make chaos-clock`: a clock a day back and a day forward, and everything stopped for a moment. With
sanitizers only the server's clock is wrong."""
import pathlib
import sys
from datetime import timedelta

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from clock import DAY_S, Clock, Clocks  # noqa: E402
from policies import GAP  # noqa: E402
from rig import BUILD  # noqa: E402
from scene import play  # noqa: E402
from verdict import Campaign  # noqa: E402


def is_sanitized():
    return b"__asan_init" in (BUILD / "taktd").read_bytes()


def test_steps_and_a_stop(tmp_path):
    of_nodes = [] if is_sanitized() else [{"kind": "outage", "on": "both", "node": None, "step_s": -3600.0, "hold_s": 4},
                                          {"kind": "clock", "on": "node", "node": "n2", "step_s": float(DAY_S), "hold_s": 4}]
    plan = [{"kind": "outage", "on": "server", "node": None, "step_s": -float(DAY_S), "hold_s": 5},
            {"kind": "outage", "on": "server", "node": None, "step_s": 3600.0, "hold_s": 4}, *of_nodes,
            {"kind": "outage", "on": "stop", "node": None, "step_s": 0, "hold_s": 6}]
    c = Campaign("clock", 1, 6, argv=["--seed", "92", "--build", str(BUILD), "--out", str(tmp_path / "clock")])
    s = Clock(c, [{"no": i + 1, **fault} for i, fault in enumerate(plan)], Clocks(is_sanitized=is_sanitized(), begin=GAP - timedelta(minutes=30)), busy=9, is_short=True)
    summary, problems = play(c, s)
    print(summary)
    assert problems == [] and s.missing == []
    assert summary["deadlines"] >= len(plan) and summary["missed_due_times"] > 3600 and summary["live_at_the_end"] == 0
    rules = {rule for of_task in summary["schedules"].values() for rule in of_task["rules"]}
    assert rules >= {"catchup.latest", "catchup.none", "catchup.limit", "catchup.deadline", "overlap.queue_full", "overlap.skip",
                     "overlap.parallel_full"}
