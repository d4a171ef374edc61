# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""kill -9 of the engine, of all of taktd, of the executor and of PostgreSQL, five times each, while
slowed units run: no run is lost, doubled or stuck, every running unit survives, and its output has no
gap and no repeat.

What runs is read from the witness plugin's own fsynced journal, not from Takt's tables.
"""
import json
import os
import pathlib
import signal
import sys
import time

import psycopg
import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from checker import check, check_witness  # noqa: E402
from dev import BUILD, Dev, alive, wait_until  # noqa: E402

STEPS, STEP_MS, FILLER = 30, 200, 700  # six seconds a unit
BUSY, AT_LEAST, ROUNDS = 8, 5, 5
LEFT = 12  # steps before a unit's end in which it does not count as running: it may end before the kill
VICTIMS = ("engine", "taktd", "executor", "postgres")
OVER = ("completed", "failed", "cancelled", "timed_out", "expired")


class Journal:
    """The witness's own record of what ran, per run."""

    def __init__(self, path):
        self.path = path
        path.touch()

    def lines(self):
        return [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]

    def runs(self):
        runs = {}
        for line in self.lines():
            runs.setdefault(line["run"], []).append(line)
        return runs

    def running(self):
        """Runs that have begun, have a good part before them, and whose process lives."""
        return [run for run, lines in self.runs().items()
                if lines[-1]["phase"] != "end" and lines[-1]["step"] <= STEPS - LEFT and alive(lines[-1]["pid"])]

    def running_at(self, at_us):
        """Runs whose start was witnessed before that instant and whose end after it."""
        return [run for run, lines in self.runs().items() if lines[0]["at"] < at_us < lines[-1]["at"]]


def pids_of(dev, victim):
    """All of taktd means the parent and its roles."""
    names = ("engine", "gateway") if victim == "taktd" else (victim,) if victim == "engine" else ()
    pids = [dev.role(n) for n in names]
    if victim != "engine":
        pids.append(dev.pid(victim))
    return [p for p in pids if p]


def start_run(dev, task):
    """A run by command; while something is being restarted the API says so, and we ask again."""
    answer = {}

    def accepted():
        try:
            status, body = dev.api("POST", f"/tasks/{task}/run", headers={"Idempotency-Key": answer["key"]})
        except requests.RequestException:
            return False
        answer["id"] = body.get("id") or body.get("run_id") if isinstance(body, dict) else None
        return status in (201, 202) and answer["id"]
    answer["key"] = f"kill-{task}-{os.urandom(8).hex()}"
    wait_until(accepted, 90, "the API to take a run")
    return answer["id"]


def keep_busy(dev, journal, tasks, made):
    ended = {run for run, lines in journal.runs().items() if lines[-1]["phase"] == "end"}
    for i in range(BUSY - len(set(made) - ended)):
        made.append(start_run(dev, tasks[len(made) % len(tasks)]))
    return len(journal.running()) >= AT_LEAST


def expected_output(label):
    return "".join(f"{label} step {n} " + "".join(chr(ord("a") + (n * 7 + i) % 26) for i in range(FILLER)) + "\n"
                   for n in range(1, STEPS + 1))


def run_state(dev, run):
    try:
        status, body = dev.api("GET", f"/runs/{run}")
    except requests.RequestException:
        return None
    return body["state"] if status == 200 else None


@pytest.fixture
def dev():
    with Dev(plugin_dirs=[BUILD / "tests/plugins"]) as d:
        yield d.ready("witness")


def make_tasks(dev, journal):
    tasks = []
    for i in range(BUSY):
        status, task = dev.api("POST", "/tasks", {
            "name": f"slow {i}", "task_type": "witness", "timeout_seconds": 300, "max_retries": 0, "overlap": "parallel",
            "parameters": {"file": str(journal.path), "label": f"slow-{i}", "steps": STEPS, "step_ms": STEP_MS,
                           "output_b": FILLER}})
        assert status == 201, task
        tasks.append(task["id"])
    return tasks


def test_kill_each_part_five_times(dev):
    journal = Journal(dev.root / "witness.jsonl")
    tasks = make_tasks(dev, journal)
    made, killed = [], []
    for n in range(ROUNDS * len(VICTIMS)):
        victim = VICTIMS[n % len(VICTIMS)]
        wait_until(lambda: keep_busy(dev, journal, tasks, made), 120, f"{AT_LEAST} running units before {victim}")
        pids = pids_of(dev, victim)
        assert pids, f"no {victim} to kill"
        killed.append((victim, time.time_ns() // 1000))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: dev.healthy() and pids_of(dev, victim) and not set(pids) & set(pids_of(dev, victim)), 90,
                   f"{victim} to come back after kill {n + 1}\n{dev.logs()}")
    states = {}

    def all_over():
        for run in made:
            if states.get(run) not in OVER:
                states[run] = run_state(dev, run)
        return all(s in OVER for s in states.values())
    wait_until(all_over, 180, f"all {len(made)} runs to end\n{dev.logs()}")
    assert set(states.values()) == {"completed"}, states

    # By the witness: none lost, none doubled, every unit that ran at a kill went on in the same process.
    runs = journal.runs()
    assert set(runs) == set(made)
    assert check_witness([line for line in journal.lines()], STEPS) == []
    for run, lines in runs.items():
        assert len({line["pid"] for line in lines}) == 1 and lines[-1]["phase"] == "end", run
    for victim, at_us in killed:
        assert len(journal.running_at(at_us)) >= AT_LEAST, (victim, "too few units ran at this kill to prove anything")
    # By the API: what each unit printed, byte for byte.
    for run, lines in runs.items():
        status, log = dev.api("GET", f"/runs/{run}/log")
        assert status == 200 and expected_output(lines[0]["label"]) in log, run
        assert log.count(" step ") == STEPS, run
    with psycopg.connect(dev.conninfo()) as connection:
        assert check(connection) == []
