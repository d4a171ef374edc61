# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A mixed load while engine, executor and database are killed in turn: every run ends, each once."""
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import checker  # noqa: E402
from engine import Engine  # noqa: E402
from pg import BUILD, wait_until  # noqa: E402


def kill_executor(t):
    t.executor_process.kill()
    t.executor_process.wait()
    t.start_executor()


def kill_engine(t):
    t.kill_engine()
    t.start_engine()


def stop_engine(t):
    assert t.kill_engine(signal.SIGTERM) == 0
    t.start_engine()


KILLS = {"engine": kill_engine, "stop": stop_engine, "executor": kill_executor,
         "database": lambda t: t.kill_database()}


def make_load(t, rng, file):
    group = t.group(f"g{rng.random()}", [t.device(f"d{rng.random()}") for _ in range(4)])
    target = {"type": "device_group", "id": group}
    witness = {"file": str(file), "steps": rng.randint(1, 6), "step_ms": 60, "output_b": 200}
    tasks = [
        t.task("hello"),
        t.task("witness", witness),
        t.task("witness", {**witness, "fail": "again", "fail_until_attempt": 2}, max_retries=3, retry_delay_seconds=1),
        t.task("witness_each", {**witness, "config": "hostname x\n"}, target=target, max_retries=1),
        t.task("witness_each", {**witness, "fail": "bad", "fail_device": "none"}, target=target),
        t.task("hello", overlap="parallel"),
    ]
    return [(t.run(task, wait=False), task) for task in tasks for _ in range(2)]


@pytest.mark.parametrize("seed", [1, 2])
def test_storm(seed):
    rng = random.Random(seed)
    with Engine(max_units=12, durable=True) as t:
        file = t.root / "witness"
        runs = []
        for _ in range(8):
            runs += make_load(t, rng, file)
            time.sleep(rng.random())  # not a synchronisation: kills shall come at any moment
            if rng.random() < 0.7:
                t.command("run.cancel", {}, rng.choice(runs)[0])
            KILLS[rng.choice(sorted(KILLS))](t)
        for run, _ in runs:
            wait_until(lambda r=run: t.state_of(r), 60, f"run {run} to exist")
            assert t.wait_end(run, 120) in ("completed", "cancelled", "failed")
        failed = t.sql("select r.id, e.item from takt.run r join takt.event_item e on e.run_id = r.id "
                       "where r.state = 'failed' and e.item ->> 'type' = 'unit_finished' and e.item ->> 'state' = 'failed'")
        assert failed == []
        lines = t.witness(file)
        again = {}
        for line in lines:
            key = (line["run"], line["attempt"], line["unit"], line["phase"], line["step"])
            again[key] = again.get(key, 0) + 1
        assert [k for k, n in again.items() if n > 1] == []
        for run, _ in runs:
            for attempt, unit in t.sql("select attempt, no from takt.unit where run_id = %s", run):
                t.output(run, attempt, unit)
        assert checker.check(t.owner) == []
        wait_until(lambda: t.one("select sum(n) from takt.event_link") == t.one("select count(*) from takt.event_batch"), 60,
                   "every event to be linked")
        verified = subprocess.run([BUILD / "takt", "verify", "--db", t.pg.conninfo], capture_output=True, text=True)
        assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_task_whose_row_is_held_keeps_no_result_waiting():
    """By a gateway whose transaction hangs half sent: its end is the matter of minutes, results are not."""
    with Engine() as t:
        task, other = t.task("hello"), t.task("hello")
        with t.pg.connect(autocommit=False) as gateway:
            gateway.execute("select from takt.task where id = %s for update", [task])
            for run in (t.run(task), t.run(other)):
                assert t.wait_end(run) == "completed"
        assert t.one("select last_run_at is not null from takt.task where id = %s", other)
        assert t.wait_end(t.run(task)) == "completed"
        assert t.one("select last_run_at is not null from takt.task where id = %s", task)
