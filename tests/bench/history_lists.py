#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""List pages over millions of runs: history_lists.py --dir DIR [--requests 200] [--only WORD] [--statements DIR]

DIR is a cluster of history.py. Each filter alone, then a few together: through a real gateway (`http`), and the same
statement under the gateway's role with row level security (`sql`). One JSON line each: p50, p99 and worst in ms, the
goal of design section 13 (p99 <= 50 ms), how many of the pages were full, and the CPU of the statement's backend a request. --statements measures listRuns.sql and
listTaskRuns.sql of another folder instead, by SQL only, each request ended after 10 s.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import psycopg  # noqa: E402
import requests  # noqa: E402
from history import BUILD, Cluster, token  # noqa: E402
from gateway import free_port  # noqa: E402
from pg import wait_until  # noqa: E402
from common import own_cpu_us  # noqa: E402

SQL = pathlib.Path(__file__).resolve().parents[2] / "sql/api"
STATES = ("queued", "waiting_approval", "dispatched", "running", "paused", "retry_wait", "cancelling", "completed",
          "failed", "timed_out", "cancelled", "expired")
GOAL_MS = 50


def floor(when_ms):
    return str(uuid.UUID(int=int(when_ms) << 80))


class World:
    """What the requests are about."""

    def __init__(self, cluster, seed):
        self.rnd = random.Random(seed)
        with cluster.connect() as c:
            self.first_ms, self.last_ms = c.execute(
                "select min(extract(epoch from created_at) * 1000)::float8, max(extract(epoch from created_at) * 1000)::float8 "
                "from (select * from (select created_at from takt.run order by id limit 1) a union all "
                "select * from (select created_at from takt.run order by id desc limit 1) b) x").fetchone()
            tasks = c.execute("select no, id::text, org from bench.task order by no").fetchall()
            self.tasks = [t[1] for t in tasks if t[2] == "default"]
            self.tiny_task = next(t[1] for t in tasks if t[2] == "tiny")
            self.foreign = next(t[1] for t in tasks if t[2] == "second")
            self.devices = [r[0] for r in c.execute("select d.id::text from takt.device d join takt.org o on o.id = d.org_id "
                                                    "where o.name = 'default' and exists (select from bench.task t where t.device_id = d.id)")]
            # every thousandth second of history has a run near it
            ids = [floor(self.rnd.uniform(self.first_ms, self.last_ms)) for _ in range(400)]
            self.runs = [str(c.execute("select r.id from takt.run r join takt.org o on o.id = r.org_id where o.name = 'default' "
                                       "and r.id >= %s order by r.id limit 1", [i]).fetchone()[0]) for i in ids]

    def deep(self):
        return floor(self.rnd.uniform(self.first_ms, self.last_ms))

    def when(self):
        at = self.rnd.uniform(self.first_ms, self.last_ms) / 1000
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))

    def span(self):
        return dict(zip(("from", "to"), sorted((self.when(), self.when()))))

    def cases(self):
        """name, organisation, path, query; each called once a request."""
        pick = self.rnd.choice
        yield "no filter", "default", lambda: ("/runs", {})
        yield "no filter, organisation with 200 runs", "tiny", lambda: ("/runs", {})
        yield "cursor deep in the past", "default", lambda: ("/runs", {"cursor": self.deep()})
        yield "from", "default", lambda: ("/runs", {"from": self.when()})
        yield "to", "default", lambda: ("/runs", {"to": self.when()})
        yield "task with 5 million runs", "default", lambda: ("/runs", {"task": self.tasks[0]})
        yield "task", "default", lambda: ("/runs", {"task": pick(self.tasks)})
        yield "task, organisation with 200 runs", "tiny", lambda: ("/runs", {"task": self.tiny_task})
        yield "task of another organisation", "default", lambda: ("/runs", {"task": self.foreign})
        yield "task that is not there", "default", lambda: ("/runs", {"task": str(uuid.uuid4())})
        yield "device", "default", lambda: ("/runs", {"device": pick(self.devices)})
        for state in ("live", *STATES):
            yield f"status {state}", "default", lambda s=state: ("/runs", {"status": s})
        yield "status expired, organisation with 200 runs", "tiny", lambda: ("/runs", {"status": "expired"})
        yield "task's runs", "default", lambda: (f"/tasks/{pick(self.tasks)}/runs", {})
        yield "task's runs, 5 million, cursor", "default", lambda: (f"/tasks/{self.tasks[0]}/runs", {"cursor": self.deep()})
        yield "task and status failed", "default", lambda: ("/runs", {"task": pick(self.tasks), "status": "failed"})
        yield "device and status failed", "default", lambda: ("/runs", {"device": pick(self.devices), "status": "failed"})
        yield "status failed and cursor", "default", lambda: ("/runs", {"status": "failed", "cursor": self.deep()})
        yield "status live and failed", "default", lambda: ("/runs", {"status": "live,failed"})
        yield "status completed and queued, from", "default", lambda: ("/runs", {"status": "completed,queued", "from": self.when()})
        yield "500 a page", "default", lambda: ("/runs", {"limit": 500})
        yield "500 a page, cursor", "default", lambda: ("/runs", {"limit": 500, "cursor": self.deep()})
        yield "500 a page, task", "default", lambda: ("/runs", {"limit": 500, "task": pick(self.tasks)})
        yield "500 a page, device", "default", lambda: ("/runs", {"limit": 500, "device": pick(self.devices)})
        yield "500 a page, status failed", "default", lambda: ("/runs", {"limit": 500, "status": "failed"})
        yield "500 a page, status completed", "default", lambda: ("/runs", {"limit": 500, "status": "completed"})
        yield "500 a page, from", "default", lambda: ("/runs", {"limit": 500, "from": self.when()})
        yield "task, from and to", "default", lambda: ("/runs", {"task": pick(self.tasks), **self.span()})
        yield "device, from and to", "default", lambda: ("/runs", {"device": pick(self.devices), **self.span()})
        yield "task and device", "default", lambda: ("/runs", {"task": self.tasks[0], "device": pick(self.devices)})
        yield "one run", "default", lambda: (f"/runs/{pick(self.runs)}", None)
        for tail in ("timeline", "units", "attempts", "log"):
            yield f"a run's {tail}", "default", lambda t=tail: (f"/runs/{pick(self.runs)}/{t}", None)
        yield "tasks", "default", lambda: ("/tasks", {})
        yield "devices", "default", lambda: ("/devices", {})


class Gateway:
    def __init__(self, cluster):
        self.dir = tempfile.TemporaryDirectory(prefix="thl-", dir="/tmp")
        self.port = free_port()
        conf = pathlib.Path(self.dir.name, "taktd.conf")
        conf.write_text(f'roles = {{gateway}}\nstate_dir = "{self.dir.name}"\ndb = "{cluster.conninfo}"\n'
                        f'listen = "127.0.0.1:{self.port}"\n', encoding="utf-8")
        with open(f"{self.dir.name}/log", "wb") as log:
            self.process = subprocess.Popen([os.environ.get("TAKT_GATEWAY", str(BUILD / "taktd")), "-x", "gateway", "-c", str(conf)],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.session = requests.Session()
        wait_until(self.is_ready, 60, "the gateway")

    def is_ready(self):
        try:
            return self.session.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def get(self, org, path, query):
        r = self.session.get(f"http://127.0.0.1:{self.port}/api/v1{path}", params=query, timeout=60,
                             headers={"Authorization": f"Bearer {token(org, 'viewer')}"})
        assert r.status_code == 200, (path, query, r.text[:300])
        return r.json() if "json" in r.headers.get("Content-Type", "") else {}

    def cpu_us(self):
        return 0  # the backends' is not the gateway's

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.dir.cleanup()


class Statement:
    """The two statements as the gateway sends them: prepared, under its role, with the caller's token."""

    def __init__(self, cluster, folder):
        self.c = cluster.connect("takt_gateway", autocommit=False)
        self.c.prepare_threshold = None
        self.c.execute("set jit = off")
        self.c.execute("set search_path = takt")
        self.c.execute("set statement_timeout = '10s'")
        for name in ("listRuns", "listTaskRuns"):
            lines = [l for l in (folder / f"{name}.sql").read_text(encoding="utf-8").splitlines() if not l.startswith("--")]
            self.c.execute(f"prepare {name}(jsonb) as " + "\n".join(lines).rstrip().rstrip(";"))
        self.c.commit()

    def get(self, org, path, query):
        name = "listRuns" if path == "/runs" else "listTaskRuns"
        one = json.dumps({"query": {"limit": 50, **query}, "path": {} if name == "listRuns" else {"id": path.split("/")[2]}})
        try:
            self.c.execute("select takt.session(%s, 1)", [token(org, "viewer")])
            return psycopg.ClientCursor(self.c).execute(f"execute {name}(%s)", [one]).fetchone()[1]
        finally:
            self.c.rollback()

    def cpu_us(self):
        return own_cpu_us(self.c.info.backend_pid)

    def close(self):
        self.c.close()


def measure(get, case, n):
    """Times in ms, sorted; pages with as many items as asked for; whether it took too long."""
    name, org, request = case
    times, full = [], 0
    for _ in range(n):
        path, query = request()
        began = time.perf_counter()
        try:
            body = get(org, path, query)
        except psycopg.errors.QueryCanceled:
            return sorted(times + [10000.0]), full, True
        times.append((time.perf_counter() - began) * 1000)
        full += len(body.get("items", [])) >= (query or {}).get("limit", 50)
    return sorted(times), full, False


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--dir", required=True)
    p.add_argument("--requests", type=int, default=200)
    p.add_argument("--only", default="")
    p.add_argument("--statements", type=pathlib.Path)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    cluster = Cluster(a.dir)
    world = World(cluster, a.seed)
    ways = [("sql", Statement(cluster, a.statements or SQL))]
    if not a.statements:
        ways.insert(0, ("http", Gateway(cluster)))
    missed = 0
    try:
        for case in world.cases():
            if a.only not in case[0]:
                continue
            for way, peer in ways:
                if way == "sql" and not any(w in case[0] for w in ("filter", "task", "device", "status", "cursor", "page")) \
                        or way == "sql" and case[0] in ("tasks", "devices") or a.statements and case[0] in ("from", "to"):
                    continue
                used = peer.cpu_us()
                times, full, is_late = measure(peer.get, case, a.requests)
                used = {"cpu_ms": round((peer.cpu_us() - used) / len(times) / 1000, 2)} if used else {}
                p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
                missed += p99 > GOAL_MS
                print(json.dumps({"bench": "history-lists", "figure": case[0], "way": way, "requests": len(times),
                                  "p50_ms": round(times[len(times) // 2], 2), "p99_ms": round(p99, 2), "worst_ms": round(times[-1], 2),
                                  **used, "goal_p99_ms": GOAL_MS, "is_reached": p99 <= GOAL_MS and not is_late, "full_pages": full,
                                  **({"gave_up": "after 10 s"} if is_late else {})}), flush=True)
    finally:
        for _, peer in ways:
            peer.close()
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
