# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The peers: one round of each, on a fresh server of its own with the settings of all benches.

    graphile("throughput", 50000)  # {"per_s":…, "server_cpu_us": per job, "worker_cpu_us":…, "wal_b":…}
    celery(5000); pg_cron(1000)

npm's packages (and the Node they need) are pinned in peers/package-lock.json and land in the build tree.
"""
import contextlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
import time

import psycopg

from common import BUILD, Cgroup, Counters, checkpoint, cluster, stop_process, wait_until

HERE = pathlib.Path(__file__).resolve().parent / "peers"
NAMES = {"graphile": "graphile-worker 0.18.0 tuned", "pgboss": "pg-boss 12.35.0 tuned", "celery": "celery 5.2.6 prefork -c 2, redis",
         "pg_cron": "pg_cron 1.4.2"}
LIMIT_S = 600


def node_folder():
    """npm ci into the build tree, once for each lock file; the folder with the scripts."""
    folder = BUILD / "bench" / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    for path in HERE.iterdir():
        if path.suffix in (".js", ".json"):
            shutil.copyfile(path, folder / path.name)
    lock, done = folder / "package-lock.json", folder / "node_modules" / ".takt-lock"
    if not done.exists() or done.read_bytes() != lock.read_bytes():
        # The packages want the newer Node that is one of them.
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True,
                       timeout=600)
        done.write_bytes(lock.read_bytes())
    return folder


def node_program(folder):
    arch = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    return str(folder / f"node_modules/node-linux-{arch}/bin/node")


class Script:
    """A peer's script under Node: says a line when it is loaded, goes on at ours, says the result."""

    def __init__(self, pg, script, mode, n):
        folder = node_folder()
        env = {**os.environ, "PGHOST": pg.host, "PGUSER": "postgres", "PGDATABASE": pg.dbname, "NODE_ENV": "production"}
        self.process = subprocess.Popen([node_program(folder), script, mode, str(n)], cwd=folder, env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise RuntimeError(f"the peer ended with {self.process.wait()}")
        return json.loads(text)

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop_process(self.process)
        self.process.stdin.close()
        self.process.stdout.close()


def _node_throughput(script, n):
    with cluster() as pg:
        checkpoint(pg)
        with Script(pg, script, "throughput", n) as peer:
            peer.line()
            with Counters(pg, worker=peer.process.pid) as c:
                peer.go()
                s = peer.line()["s"]
    return {"per_s": n / s, **c.per(n)}


def graphile(n):
    return _node_throughput("graphile.js", n)


def pgboss(n):
    return _node_throughput("pgboss.js", n)


def graphile_latency(n):
    """Enqueue to start of each job on an idle system, ms."""
    with cluster() as pg, Script(pg, "graphile.js", "latency", n) as peer:
        peer.line()
        peer.go()
        return peer.line()["ms"]


def between_minutes(earliest_s=2, latest_s=50):
    """Wait for a second at which a load for the next full minute is in time."""
    wait_until(lambda: earliest_s <= time.time() % 60 <= latest_s, 70, "the right part of a minute")


def graphile_cron(n):
    """Lateness of each start, ms; n schedules due at one full minute."""
    with cluster() as pg, Script(pg, "graphile.js", "cron", n) as peer:
        peer.line()
        between_minutes()
        peer.go()
        return peer.line()["ms"]


def pg_cron(n):
    """Lateness of each statement's begin, ms; n schedules due at one full minute, by 32 connections as shipped."""
    with cluster(**{"shared_preload_libraries": "pg_cron", "cron.database_name": "takt"}) as pg:
        pg.sql(f"alter system set cron.host = '{pg.host}'")
        pg.restart()
        return _pg_cron_minute(pg, n)


def _pg_cron_minute(pg, n):
    with pg.connect() as c:
        c.execute("create extension pg_cron")
        c.execute("create table fire (j int, at timestamptz)")
        between_minutes(5, 45)
        c.execute("select count(cron.schedule('j' || g, '* * * * *', format('insert into fire values (%%s, clock_timestamp())', g)))"
                  " from generate_series(1, %s) g", (n,))
        c.execute("vacuum analyze")
        wait_until(lambda: c.execute("select count(distinct j) from fire").fetchone()[0] >= n, 180, "pg_cron's runs")
        rows = c.execute("select extract(epoch from min(at)) from fire group by j").fetchall()
        c.execute("select count(cron.unschedule(jobid)) from cron.job")
    first = min(rows)[0] // 60 * 60
    return sorted(float(at - first) * 1000 for (at,) in rows)


class Redis:
    """A private redis as Celery's projects run it: appendonly, synced every second."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="tbr-", dir="/tmp")
        self.socket = f"{self.root}/s"
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.root, "--appendonly", "yes",
             "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction", "--logfile", f"{self.root}/log"],
            stdin=subprocess.DEVNULL, start_new_session=True)
        import redis
        self.client = redis.Redis(unix_socket_path=self.socket)
        wait_until(self._answers, 30, "redis")

    def _answers(self):
        import redis
        with contextlib.suppress(redis.exceptions.ConnectionError):
            return self.client.ping()
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        stop_process(self.process)
        shutil.rmtree(self.root, ignore_errors=True)


COUNT_RESULTS = ("local c=0 local cur='0' repeat local x=redis.call('SCAN',cur,'MATCH','celery-task-meta-*','COUNT',5000) "
                 "cur=x[1] c=c+#x[2] until cur=='0' return c")


def celery(n):
    """The clock starts when the first task leaves the queue, not with the worker's start."""
    group = Cgroup()
    with Redis() as redis:
        env = {**os.environ, "REDIS_SOCKET": redis.socket, "C_FORCE_ROOT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(["/usr/bin/python3", HERE / "celery_load.py", str(n)], check=True, env=env, cwd=HERE)
        worker = subprocess.Popen(
            ["/usr/bin/python3", "-m", "celery", "-A", "celery_app", "worker", "-P", "prefork", "-c", "2", "--without-gossip",
             "--without-mingle", "-l", "ERROR"], cwd=HERE, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=group.preexec)
        try:
            while redis.client.llen("bench") >= n:
                time.sleep(0.001)
            with Counters(worker=group, redis=redis.process.pid) as c:
                since = time.monotonic()
                wait_until(lambda: redis.client.eval(COUNT_RESULTS, 0) >= n, LIMIT_S, "Celery's results")
                s = time.monotonic() - since
        finally:
            stop_process(worker)
            group.close()
    return {"per_s": n / s, **c.per(n)}


def versions():
    """What the peers' figures are of."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        node = subprocess.run([node_program(node_folder()), "--version"], capture_output=True, text=True, check=True).stdout.strip()
        return {"node": node, "libpq": psycopg.pq.version()}
    return {}
