# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
An engine is stopped until its node's lease is over, and wakes up before anybody takes over: what changes
something was stopped by its keeper and counts as lost, by its type for good; what only reads went on.
"""
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import frames  # noqa: E402
from engine import Engine  # noqa: E402
from pg import wait_until  # noqa: E402


def test_a_change_is_lost_with_the_lease_and_a_reader_goes_on():
    with Engine() as t:
        file, end = t.root / "witness", t.root / "end"
        params = {"file": str(file), "steps": 2000, "step_ms": 100, "until_file": str(end)}
        change = t.run(t.task("witness_change", params, max_retries=3))
        reader = t.run(t.task("witness", params, max_retries=3))
        for run in (change, reader):
            t.wait_state(run, "running")
        t.engine_process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()

        def result():
            files = [frames.read_unit(p) for p in (t.state / "units").glob(f"{change}*")]
            return any(f and "durable" in f.marks for f in files)
        wait_until(result, 60, "the keeper to stop what changes something")
        assert time.monotonic() - stopped < 35, "another node might have taken it over"
        t.engine_process.send_signal(signal.SIGCONT)
        assert t.wait_end(change) == "failed"
        assert t.one("select attempts from takt.run where id = %s", change) == 1
        error = next(e for e in t.events(change) if e["type"] == "unit_finished")
        assert (error["class"], error["code"]) == ("permanent", "takt.lease_lost")
        end.touch()
        assert t.wait_end(reader) == "completed"
        assert t.one("select attempts from takt.run where id = %s", reader) == 1
