# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""bench-exec: preloaded runs with a keeper and a process per unit (plugin hello), against Celery's prefork pool; memory.

Parts (--only): throughput, tmpfs, memory, profile (not in the default).
"""
import datetime
import re
import statistics
import subprocess
import sys

import peers
from common import OUT, Counters, Takt, checkpoint, figure, interleave, memory_kb, options, own_cpu_us, quiet, wait_until, wanted

MAX_UNITS = 64


def exec_round(n, state_on=None, during=None):
    with Takt(executor="real", max_units=MAX_UNITS, plugins=("plugins/hello",), state_on=state_on) as t:
        checkpoint(t.pg)
        t.preload(n, task_type="hello")
        t.node.start_executor()
        with Counters(t.pg, units=t.node.group) as c:
            t.node.start_engine()
            if during:
                during(t)
            t.wait_drained()
            last = datetime.datetime.now(datetime.timezone.utc)
            engine_us = own_cpu_us(t.node.engine.pid)
        s = (last - t.one("select min(opened_at) from takt.attempt")).total_seconds()
        ended = t.one("select count(*) from takt.run where state = 'completed'")
        assert ended == n, f"{ended} of {n} runs are completed"
    per = c.per(n)
    return {"per_s": n / s, "engine_cpu_us": engine_us / n, **per, "per_cpu_s": 1e6 / (engine_us / n + per["units_cpu_us"])}


def celery_round(n):
    got = peers.celery(n)
    return {**got, "per_cpu_s": 1e6 / got["worker_cpu_us"]}


def throughput(opts):
    got = interleave(opts.rounds, {"takt": lambda: exec_round(opts.n), "celery": lambda: celery_round(opts.n)})
    counters = {k: statistics.median(r[k] for r in got["takt"]) for k in ("engine_cpu_us", "units_cpu_us", "server_cpu_us", "wal_b")}
    counters |= {"n": opts.n, "settings": {"max_units": MAX_UNITS, "plugin": "hello", "state_dir": "disk"}}
    counters |= {f"peer_{k}": statistics.median(r[k] for r in got["celery"]) for k in ("worker_cpu_us", "redis_cpu_us")}
    name = peers.NAMES["celery"]
    per_cpu, per_s = ({k: [r[key] for r in got[k]] for k in got} for key in ("per_cpu_s", "per_s"))
    figure("exec", "runs per CPU-second of engine, executor and units", per_cpu["takt"], unit="1/s", goal=400, **counters)
    figure("exec", "runs per CPU-second against the peer's", per_cpu["takt"], per_cpu["celery"], name, unit="1/s", **counters)
    figure("exec", "runs per second", per_s["takt"], per_s["celery"], name, unit="1/s", goal=2, **counters)


def tmpfs(opts):
    """The same where syncing costs nothing: what of the time is the disk's."""
    got = interleave(opts.rounds, {"disk": lambda: exec_round(opts.n // 2), "tmpfs": lambda: exec_round(opts.n // 2, "/dev/shm")})
    figure("exec", "runs per second, units' state on tmpfs", [r["per_s"] for r in got["tmpfs"]], [r["per_s"] for r in got["disk"]],
           "the same on disk", unit="1/s", units_cpu_us=statistics.median(r["units_cpu_us"] for r in got["tmpfs"]),
           peer_units_cpu_us=statistics.median(r["units_cpu_us"] for r in got["disk"]))


def memory(opts):
    units = 50
    with quiet(), Takt(executor="real", max_units=MAX_UNITS, gateway=True, plugins=("plugins/hello", "tests/plugins")) as t:
        t.start()
        t.node.start_gateway()
        until = t.node.root / "go"
        t.tasks(1, "witness", parameters={"steps": 100000, "step_ms": 1000, "until_file": str(until)})
        wait_until(lambda: t.one("select count(*) from takt.plugin"), 30, "the engine to know its executor")
        fixed = {"engine": [t.node.engine.pid], "gateway": [t.node.gateway.pid], "executor and zygotes": t.node.group.pids()}
        idle = {name: memory_kb(pids) for name, pids in fixed.items()}
        t.preload(units, task_type="witness")
        wait_until(lambda: t.one("select count(*) from takt.unit where state = 'running'") == units, 120, "all units to run")
        before = set(fixed["executor and zygotes"])
        grown = memory_kb([p for p in t.node.group.pids() if p not in before])
        until.touch()
        t.wait_drained()
    for kind, goal in (("private_kb", 30 * 1024), ("pss_kb", None)):
        figure("exec", f"memory idle, {kind[:-3]}", [sum(m[kind] for m in idle.values())], unit="KiB", better="less", goal=goal,
               parts={name: m[kind] for name, m in idle.items()})
    figure("exec", "memory per running unit, private", [grown["private_kb"] / units], unit="KiB", better="less", goal=2048, units=units)
    figure("exec", "memory per running unit, pss", [grown["pss_kb"] / units], unit="KiB", better="less", units=units)


def profile(opts):
    """System calls of executor, zygotes, keepers and units, by strace; slow, so only how often and how long each."""
    n, path = min(opts.n, 400), OUT / "strace-exec.txt"
    OUT.mkdir(parents=True, exist_ok=True)

    def trace(t):
        with open(path, "w", encoding="utf-8") as out:
            argv = ["strace", "-qq", "-f", "-c", "-U", "calls,time,avg-time,name"]
            tracer = subprocess.Popen(argv + [x for p in t.node.group.pids() for x in ("-p", str(p))], stderr=out)
            t.wait_drained()
            tracer.terminate()
            tracer.wait()
    with quiet():
        exec_round(n, during=trace)
    text = path.read_text(encoding="utf-8")
    calls = {m[2]: float(m[1]) / n for m in re.finditer(r"^ *(\d+) .*?(\w+)$", text, re.M)}
    figure("exec", "fsync and fdatasync per unit", [sum(calls.get(c, 0) for c in ("fsync", "fdatasync"))], better="less")
    figure("exec", "system calls per unit", [sum(v for k, v in calls.items() if k != "total")], better="less")
    print(path)


def main():
    opts = options(n=2000, rounds=3)
    for name, part in (("throughput", throughput), ("tmpfs", tmpfs), ("memory", memory)):
        if wanted(opts, name):
            part(opts)
    if "profile" in opts.only:
        profile(opts)


if __name__ == "__main__":
    sys.exit(main())
