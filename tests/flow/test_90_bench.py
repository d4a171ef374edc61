# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The benches work, and what they assert beside figures: all runs done with all events; no event missed by any feed;
nothing for `takt verify` to find in a generated history."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
pytest.importorskip("websockets")
import bench_feed  # noqa: E402
import history  # noqa: E402
from common import Counters, Takt, interleave  # noqa: E402


def test_runs_through_a_null_executor_are_whole():
    n = 300
    with Takt(max_units=100) as t:
        t.preload(n)
        t.node.start_executor()
        with Counters(t.pg, null_executor=t.node.executor.pid) as c:
            t.node.start_engine()
            t.wait_drained()
        assert t.one("select count(*) from takt.run where state = 'completed'") == n
        kinds = {k for (k,) in t.owner.execute("select distinct item ->> 'type' from takt.event_item").fetchall()}
    assert {"task_created", "task_dispatched", "task_started", "unit_started", "unit_finished", "task_completed"} <= kinds
    assert all(c.values[k] > 0 for k in ("server_cpu_us", "wal_b", "null_executor_cpu_us"))


def test_no_feed_misses_an_event_beside_slow_writers_and_killed_engines():
    got = bench_feed.missed_round(12)
    assert got["engines_killed"] >= 5, got
    for name in ("first gateway", "second gateway"):
        assert not any(got[name].values()), got
    assert got["naive_rows_missed"] > 0, "a reader that must miss rows missed none: the test proves nothing"


def test_a_generated_history_is_what_engines_write():
    assert history.check(5000) == {}


def test_rounds_take_turns():
    order = []
    got = interleave(3, {"a": lambda: order.append("a") or 1, "b": lambda: order.append("b") or 2})
    assert "".join(order) == "ababab" and got == {"a": [1, 1, 1], "b": [2, 2, 2]}
