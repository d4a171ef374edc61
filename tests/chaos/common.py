# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What judge.py and decisions.py share: problems, the times of faults, what is said of runs."""
from datetime import datetime

LATE_S = 10.0        # a decision after its time, while an engine and the database are up
LANDS_S = 300.0      # longer than a run lasts
SKEW_S = 0.002       # of two readings of one clock
OUTAGES = ("postgres", "backend", "outage")


def problem(invariant, what, **more):
    return {"invariant": invariant, "what": what, **more}


def windows(f, margin=0.0, kinds=None, node=None):
    """Times in which something was down: (from, until)."""
    return [(x["at"], (x.get("healed") or float("inf")) + margin) for x in f.faults
            if (kinds is None or x["kind"] in kinds) and (node is None or x.get("node") == node)]


def set_back(f):
    """Times around which the database's clock was set back: what lived then cannot be ordered by its stamps."""
    return [(x["at"] - 5 - min(-x["step_s"], 60), (x.get("healed") or float("inf")) + 5)
            for x in f.faults if x.get("step_s", 0) < 0 and x.get("on") != "node"]


def lands(f):
    """(from, until, at): what was alive at that time and ended soon after the clock was set back has its end stamped in this span."""
    return [(x["at"] + x["step_s"] - 5, x["at"] + x["step_s"] + LANDS_S, x["at"])
            for x in f.faults if x.get("step_s", 0) < 0 and x.get("on") != "node"]


def excused(spans, t, limit):
    """By when what is due at t must be done: limit after it, or after the last of the faults that touch the wait."""
    end = t + limit
    for start, until in sorted(spans):
        if until >= t and start <= end:
            end = max(end, until + limit)
    return end


def stamp(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def items(f, run_id):
    return [item for row in f.events.get(run_id, []) for item in row["items"]]
