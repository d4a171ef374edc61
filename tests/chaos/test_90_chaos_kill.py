# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The short form of `make chaos-kill`: three kills of each kind, some failpoints, one node left dead; the whole judgement."""
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import kill  # noqa: E402
from rig import BUILD  # noqa: E402
from verdict import Campaign  # noqa: E402

EACH, POINTS = 3, 5


def test_three_of_each(tmp_path):
    c = Campaign("kill", EACH, 6, argv=["--seed", "90", "--build", str(BUILD), "--out", str(tmp_path / "kill")])
    points = [p for p in kill.failpoints() if not p[0].startswith(kill.BESIDE_DEAD)] if kill.is_built_with_failpoints(BUILD) else []
    plan = kill.make_plan(c.seed, EACH, kill.NODES, random.Random(90).sample(points, min(POINTS, len(points))), dead=1)
    k = kill.Kill(c, plan, busy=20, lost_s=20)  # sanitized programs, beside other tests
    try:
        k.run()
        problems, summary = k.judge_all()
        if problems or c.problems:
            print(k.rig.logs())
    finally:
        k.close()
    print(summary)
    assert c.problems + problems == []
    assert k.missing == []
    assert summary["adopted"] == summary["to_be_adopted"] > 0
    assert summary["least_running"] >= kill.AT_LEAST and summary["live_at_the_end"] == 0
