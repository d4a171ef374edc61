# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""`takt dev` and running units: Ctrl-C drains, then cancels; a killed dev leaves them to the next one."""
import json
import pathlib
import re
import signal
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from dev import HELLO, Dev, wait_until  # noqa: E402


@pytest.fixture
def dev():
    with Dev(plugin_dirs=[HELLO]) as d:
        yield d.ready("hello")


def start(dev, name, steps, step_ms):
    """A run whose unit is at work; returns the run's id."""
    doc = {"name": name, "task_type": "hello", "parameters": {"name": name, "steps": steps, "step_ms": step_ms}}
    dev.ok("task", "create", "-", input=json.dumps(doc))
    run = dev.json("task", "run", name)["id"]
    wait_until(lambda: dev.json("run", "show", run)["state"] == "running" and "hello" in dev.ok("run", "log", run), 60,
               "output of the unit")
    return run


def greetings(dev, run):
    return [int(n) for n in re.findall(r"\((\d+) of \d+\)", dev.ok("run", "log", run))]


def test_a_short_unit_may_finish(dev):
    run = start(dev, "short", 20, 150)
    assert dev.stop(signal.SIGINT) == 0
    assert "running unit" in dev.said() and "cancelling" not in dev.said()
    dev.start().ready("hello")
    wait_until(lambda: dev.json("run", "show", run)["state"] == "completed", 60, "the run's end")
    assert greetings(dev, run) == list(range(1, 21))


def test_a_long_unit_is_cancelled_and_recorded(dev):
    run = start(dev, "long", 10000, 100)
    assert dev.stop(signal.SIGINT) == 0
    assert "cancelling" in dev.said()
    assert dev.processes() == []
    dev.start().ready("hello")
    shown = wait_until(lambda: (r := dev.json("run", "show", run))["state"] == "cancelled" and r, 60, "the run's end")
    assert shown["finished_at"]
    assert any("takt dev is stopping" in json.dumps(e) for e in dev.json("run", "timeline", run))


def test_a_second_ctrl_c_does_not_wait(dev):
    start(dev, "hurried", 10000, 100)
    dev.process.send_signal(signal.SIGINT)
    wait_until(lambda: "waiting up to" in dev.said(), 30, "the drain")
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(60) == 0
    assert "cancelling" in dev.said() and dev.processes() == []


def test_a_killed_dev_leaves_its_units_to_the_next(dev):
    run = start(dev, "adopted", 100, 100)
    executor = dev.pid("executor")
    dev.process.kill()
    dev.process.wait()
    dev.start().ready("hello")
    assert dev.pid("executor") != executor
    wait_until(lambda: dev.json("run", "show", run)["state"] == "completed", 90, "the run's end")
    shown = dev.json("run", "show", run)
    assert shown["attempt"] == 1
    assert greetings(dev, run) == list(range(1, 101))
