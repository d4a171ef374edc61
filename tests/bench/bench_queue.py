# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""bench-queue: preloaded no-op runs through the engine with a null executor, against queues; and the way of one command.

Parts (--only): throughput, latency, profile (not in the default).
"""
import datetime
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

import requests

import peers
from common import (OUT, STATEMENTS, Counters, Takt, checkpoint, figure, interleave, options, own_cpu_us, percentile, quiet,
                    statements_begin, statements_text, wait_until, wanted)

IDLE_S = 0.05  # between commands
SETTINGS = {"max_units": 2000, "tasks": 100, "overlap": "parallel", "events_per_run": 8}


def takt_round(n, settings=None, during=None, **preload):
    """From the first claim to the last run that ended; the counters include the engine's start."""
    with Takt(settings=settings) as t:
        checkpoint(t.pg)
        t.preload(n, **preload)
        t.node.start_executor()
        with Counters(t.pg, null_executor=t.node.executor.pid) as c:
            t.node.start_engine()
            if during:
                during(t)
            t.wait_drained()
            last = datetime.datetime.now(datetime.timezone.utc)
            engine_us = own_cpu_us(t.node.engine.pid)
        s = (last - t.one("select min(opened_at) from takt.attempt")).total_seconds()
        ended = t.one("select count(*) from takt.run where state = 'completed'")
        events = t.one("select sum(jsonb_array_length(items)) from takt.event")
        assert ended == n, f"{ended} of {n} runs are completed"
        assert events >= 5 * n, f"{events} events of {n} runs"
    return {"per_s": n / s, "engine_cpu_us": engine_us / n, "events": events / n, **c.per(n)}


def throughput(opts):
    parts = {"takt": lambda: takt_round(opts.n)}
    for name in ("graphile", "pgboss"):
        parts[name] = lambda f=getattr(peers, name): f(opts.n)
    parts["celery"] = lambda: peers.celery(max(100, opts.n // 10))
    got = interleave(opts.rounds, parts)
    speed = {name: [r["per_s"] for r in rounds] for name, rounds in got.items()}
    counters = {k: statistics.median(r[k] for r in got["takt"])
                for k in ("server_cpu_us", "engine_cpu_us", "null_executor_cpu_us", "wal_b", "events")}
    common = {"n": opts.n, "settings": SETTINGS, **counters}
    for name, goal in (("graphile", 1.2), ("pgboss", 1.5), ("celery", 25)):
        theirs = {f"peer_{k}": statistics.median(r[k] for r in got[name]) for k in got[name][0] if k != "per_s"}
        figure("queue", "runs per second", speed["takt"], speed[name], peers.NAMES[name], unit="1/s", goal=goal, **common, **theirs)
    for key, unit, goal in (("server_cpu_us", "us", 40), ("wal_b", "B", 1500), ("engine_cpu_us", "us", None)):
        figure("queue", key + " per run", [r[key] for r in got["takt"]], unit=unit, better="less", goal=goal, **common)


def default_overlap(opts):
    """The default: one task a run, overlap `queue`. Not a goal, but what most users have."""
    n = opts.n // 5
    got = interleave(opts.rounds, {"takt": lambda: takt_round(n, tasks=n, overlap="queue")})["takt"]
    figure("queue", "runs per second, one task a run, overlap queue", [r["per_s"] for r in got], unit="1/s", n=n,
           server_cpu_us=statistics.median(r["server_cpu_us"] for r in got), wal_b=statistics.median(r["wal_b"] for r in got))


def command_latency(n):
    """HTTP POST to the plugin's first line, ms, one at a time on an idle system: gateway, engine, executor, keeper, process.

    The clock starts when the request's bytes are made and are handed to the kernel; what a client needs to make them
    (1.3 ms in `requests`) is its own.
    """
    with Takt(executor="real", max_units=16, gateway=True, plugins=("tests/plugins",)) as t:
        journal = t.node.root / "witness.jsonl"
        t.start()
        t.node.start_gateway()
        t.tasks(1, "witness", overlap="parallel", parameters={"file": str(journal), "durable": 0})
        wait_until(lambda: _is_ready(f"http://127.0.0.1:{t.node.port}"), 60, "the gateway")
        request = (f"POST /api/v1/tasks/{t.one('select id from takt.task')}/run HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                   f"Authorization: Bearer {t.token('operator')}\r\nContent-Length: 0\r\n\r\n").encode()
        sent = {}
        for _ in range(n + 5):
            with socket.create_connection(("127.0.0.1", t.node.port), timeout=30) as s:
                at = time.time()
                s.sendall(request)
                answer = http.client.HTTPResponse(s)
                answer.begin()
                assert answer.status == 201, answer.read()
                sent[json.load(answer)["id"]] = at
            wait_until(lambda: not t.one("select 1 from takt.live limit 1"), 60, "the run's end")
            time.sleep(IDLE_S)
        ms = {line["run"]: (line["at"] / 1e6 - sent[line["run"]]) * 1000
              for line in map(json.loads, journal.read_text().splitlines()) if line["phase"] == "start"}
        assert len(ms) == n + 5
    return [ms[run] for run in list(sent)[5:]]


def _is_ready(url):
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def latency(opts):
    n = min(200, max(20, opts.n // 100))
    got = interleave(opts.rounds, {"takt": lambda: command_latency(n), "graphile": lambda: peers.graphile_latency(n)})
    ours, theirs = ([percentile(r, .5) for r in got[k]] for k in ("takt", "graphile"))
    extra = statistics.median(a - b for a, b in zip(ours, theirs))
    figure("queue", "idle command to unit's start, p50", ours, theirs, peers.NAMES["graphile"] + ", enqueue to start", unit="ms",
           better="less", n=n, p99=statistics.median(percentile(r, .99) for r in got["takt"]),
           peer_p99=statistics.median(percentile(r, .99) for r in got["graphile"]))
    figure("queue", "the same, more than the peer, p50", [extra], unit="ms", better="less", goal=3)


def profile(opts):
    """Where the time goes: statements (pg_stat_statements), then functions (perf), into build/bench/profile-queue.txt."""
    path = OUT / "profile-queue.txt"
    OUT.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as out, quiet():
        def statements(t):
            statements_begin(t.pg)
            t.wait_drained()
            out.write(statements_text(t.pg, opts.n))
        print(takt_round(opts.n, settings=STATEMENTS, during=statements), file=out)

        def functions(t):
            wait_until(lambda: t.pg.sql("select 1 from pg_stat_activity where usename = 'takt_engine'"), 30, "the engine")
            backend = t.pg.sql("select pid from pg_stat_activity where usename = 'takt_engine'")[0][0]
            data = t.node.root / "perf.data"
            perf = subprocess.Popen(["perf", "record", "-q", "-F", "499", "-g", "-o", data, "-p", f"{backend},{t.node.engine.pid}"],
                                    stderr=subprocess.DEVNULL)
            t.wait_drained()
            perf.send_signal(signal.SIGINT)
            perf.wait()
            report = subprocess.run(["perf", "report", "-i", data, "--no-children", "-g", "none", "--sort", "comm,dso,symbol"],
                                    capture_output=True, text=True, check=False).stdout
            out.writelines(x + "\n" for x in report.splitlines()[:90] if x and not x.startswith("#"))
        if any(os.access(f"{d}/perf", os.X_OK) for d in os.environ["PATH"].split(":")):
            print(takt_round(opts.n, during=functions), file=out)
    print(path)


def main():
    opts = options(n=50000, rounds=3)
    for name, part in (("throughput", throughput), ("overlap", default_overlap), ("latency", latency)):
        if wanted(opts, name):
            part(opts)
    if "profile" in opts.only:
        profile(opts)


if __name__ == "__main__":
    sys.exit(main())
