#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Millions of runs of history in a cluster that stays, for the benches that need them.

    history.py make  --dir DIR [--runs 10000000] [--months 7]   initdb, migrate, fill; fsync off meanwhile
    history.py start --dir DIR                                  start it durable; prints the conninfo
    history.py stop  --dir DIR
    history.py show  --dir DIR                                  rows and bytes of each table
    history.py verify --dir DIR                                 `takt verify`: one JSON line, 1 if it finds anything
    history.py check [--runs 20000]                             make a small one elsewhere, verify it, take it away

The schema comes from Takt's own migrations (TAKT_BUILD/tests/lib/migrate). Each month is filled by the server
in one transaction: tables as their parents without indexes, rows, then the indexes by attaching them; with
wal_level=minimal that writes no WAL. Months run side by side. Everything follows from the run's row, so that
another layout needs another entry of FILL only.

What it is like: four organisations (`tiny` has two tasks and 200 runs), 1,000 tasks of which the first has half of
all runs, 2,000 devices, 97 % completed, 2 % failed, 0.6 % timed_out, 0.39 % cancelled, 0.01 % expired; 300 live runs
(waiting for a retry in ten years), 20 of them in the oldest month. Tokens: token(org, role).
"""
import argparse
import concurrent.futures
import datetime
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import psycopg  # noqa: E402
from history_fill import BASE, CHAIN, FILL, LIVE, LIVE_SOURCE, PIECES, summary_rows, told_rows  # noqa: E402
from pg import BUILD, Pg  # noqa: E402

ORGS = ("default", "second", "third", "tiny")
TASKS = 1000
DEVICES = 2000
LIVE_INCARNATION = 1000
SETTINGS = {"shared_buffers": "2GB", "maintenance_work_mem": "512MB", "work_mem": "32MB", "max_wal_size": "8GB",
            "checkpoint_timeout": "15min", "max_parallel_maintenance_workers": "0", "wal_level": "minimal",
            "max_wal_senders": "0", "autovacuum": "on", "track_io_timing": "on"}

def token(org, role):
    """The text of a token that is in every such cluster."""
    return f"takt_{org}_{role}".ljust(48, "x")


def months(n, now=None):
    """The last n months, oldest first, the running one last: [(first, next)]."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    out = []
    for back in range(n - 1, -1, -1):
        m = now.year * 12 + now.month - 1 - back
        out.append(tuple(datetime.datetime(k // 12, k % 12 + 1, 1, tzinfo=datetime.timezone.utc) for k in (m, m + 1)))
    return out


class Cluster(Pg):
    """tests/lib/pg.py's cluster, in a directory that stays; the server outlives this process."""

    def __init__(self, where):  # pylint: disable=super-init-not-called
        self.user = "postgres" if os.geteuid() == 0 else os.environ["USER"]
        self.dbname = "takt"
        self.bindir = __import__("pg").bindir()
        self.root = self.host = str(pathlib.Path(where).resolve())
        self.data = f"{self.root}/data"
        self.log = f"{self.root}/log"
        self.process = None

    def _ctl(self, *words):
        return subprocess.run([f"{self.bindir}/pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "600", *words],
                              cwd="/", stdout=subprocess.DEVNULL, check=False, **self._as_server()).returncode

    def create(self):
        os.makedirs(self.root)
        os.chmod(self.root, 0o755)
        if os.geteuid() == 0:
            shutil.chown(self.root, "postgres", "postgres")
        self._initdb(False, SETTINGS)
        self.start(durable=False)
        self._make_database()
        self.migrate()

    def start(self, durable=True, settings=None):  # pylint: disable=arguments-differ
        options = "-c fsync=on -c wal_level=replica" if durable else "-c fsync=off"
        options += "".join(f" -c {k}={v}" for k, v in (settings or {}).items())
        if self._ctl("start", "-o", options):
            raise RuntimeError(f"PostgreSQL does not start, see {self.log}")
        return self

    def stop(self):
        return self._ctl("stop", "-m", "fast")


def fill_month(cluster, no, first, end, start_n, runs):
    """One month of every partitioned table, in one transaction."""
    began = time.monotonic()
    suffix = f"{first:%Y%m}"
    ms = int(first.timestamp() * 1000)
    span = int(end.timestamp() * 1000) - ms
    with cluster.connect(autocommit=False) as c:
        c.execute("set synchronous_commit = off")
        c.execute("set work_mem = '1GB'")
        c.execute("set enable_mergejoin = off")
        c.commit()
        parents = [r[0] for r in c.execute("select relname from pg_class where relkind = 'p' and relnamespace = 'takt'::regnamespace")]
        names = {p: f"{p}_{suffix}" for p in parents}
        bounds, makers = {}, []
        c.execute("select pg_advisory_xact_lock(1)")
        for parent, part in names.items():
            bounds[parent], options = c.execute("select pg_get_expr(relpartbound, oid), array_to_string(reloptions, ', ') from pg_class "
                                                "where oid = to_regclass(%s)", [f"takt.{part}"]).fetchone()
            with_options = f" with ({options})" if options else ""
            # What the migrations or an engine made already goes: it is empty. Not in the long transaction: it locks the parent.
            c.execute(f"drop table takt.{part}")
            makers.append(f"create table takt.{part} (like takt.{parent} including all excluding indexes)" + with_options)
        for maker, part in zip(makers, names.values()):
            c.execute(maker)
            c.execute(f"alter table takt.{part} owner to takt_owner")
        c.commit()  # nothing of the parents is locked while the rows are made
        for table, text in FILL.items():
            if table in names:
                c.execute(text.format(ms=ms, span=span, first=start_n, runs=runs, month=no, source=f"takt.{names['run']}", **names))
        c.execute("select pg_advisory_xact_lock(1)")  # attaching locks the parents: one month after the other
        for parent, part in names.items():
            c.execute(f"alter table takt.{parent} attach partition takt.{part} {bounds[parent]}")
        c.commit()
        c.execute(PIECES, {"month": no})
        c.commit()
    print(f"{suffix}: {runs} runs in {time.monotonic() - began:.0f} s", flush=True)


def populate(cluster, runs, n_months, jobs=2):
    """Fill a fresh database."""
    spans = months(n_months)
    with cluster.connect() as c:
        c.execute("select takt.make_partitions(%s, %s)", [spans[0][0].date(), n_months + 4])
        cursor = psycopg.ClientCursor(c)
        cursor.execute(BASE, {"orgs": list(ORGS), "tasks": TASKS, "devices": DEVICES})
        cursor.executemany("insert into bench.told values (%s, %s, %s, %s, %s, %s, %s)", told_rows())
        cursor.executemany("insert into bench.summary values (%s, %s)", summary_rows())
        c.execute("analyze bench.told, bench.summary")
        for org in ORGS:
            for role in ("viewer", "operator", "admin"):
                c.execute("insert into takt.token (org_id, name, actor, role, hash) select id, %s, %s, %s, %s from takt.org where name = %s",
                          [f"bench-{role}", f"bench-{role}", role, hashlib.sha256(token(org, role).encode()).digest(), org])
    now = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5)  # so that all have ended
    lengths = [(min(end, now) - first).total_seconds() for first, end in spans]
    counts = [int(runs * x / sum(lengths)) for x in lengths]
    counts[0] += runs - sum(counts)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        jobs = [pool.submit(fill_month, cluster, i + 1, first, min(end, now), sum(counts[:i]), counts[i])
                for i, (first, end) in enumerate(spans)]
        for job in jobs:
            job.result()
    with cluster.connect() as c:
        psycopg.ClientCursor(c).execute(LIVE, {"first": spans[0][0]})
        c.execute(FILL["event_batch"].format(month=LIVE_INCARNATION, source=LIVE_SOURCE, event_batch="event_batch"))
        psycopg.ClientCursor(c).execute(PIECES, {"month": LIVE_INCARNATION})
        c.execute(CHAIN)
        c.execute("vacuum analyze")


def make(cluster, runs, n_months, jobs):
    began = time.monotonic()
    cluster.create()
    populate(cluster, runs, n_months, jobs)
    with cluster.connect() as c:
        c.execute("checkpoint")
    show(cluster)
    cluster.stop()
    print(f"made in {time.monotonic() - began:.0f} s; start it with: {sys.argv[0]} start --dir {cluster.root}")


def verify(cluster):
    """What `takt verify` finds: {check: violations and details, or the problem}; says so in a line."""
    began = time.monotonic()
    p = subprocess.run([BUILD / "takt", "verify", "--db", cluster.conninfo, "-o", "json"], capture_output=True, text=True, check=False)
    checks = json.loads(p.stdout)["checks"] if p.stdout else [{"name": "all", "violations": 1, "details": p.stderr}]
    found = {c["name"]: {k: c.get(k) for k in ("violations", "details", "problem")} for c in checks if c.get("problem") or c["violations"]}
    print(json.dumps({"bench": "history", "figure": "takt verify", "s": round(time.monotonic() - began, 1), "checks": len(checks),
                      "examined": sum(c.get("examined", 0) for c in checks), "found": found}), flush=True)
    return found


def check(runs):
    with tempfile.TemporaryDirectory(prefix="thc-", dir="/tmp") as where:
        os.chmod(where, 0o755)
        cluster = Cluster(f"{where}/cluster")
        make(cluster, runs, 3, 1)
        cluster.start(durable=False)
        try:
            return verify(cluster)
        finally:
            cluster.stop()


def show(cluster):
    with cluster.connect() as c:
        for row in c.execute("""select p.relname, sum(greatest(k.reltuples, 0))::bigint, count(*), sum(pg_relation_size(k.oid)) / 1e6,
                sum(pg_indexes_size(k.oid)) / 1e6
            from pg_class p join pg_inherits i on i.inhparent = p.oid join pg_class k on k.oid = i.inhrelid
            where p.relkind = 'p' and p.relnamespace = 'takt'::regnamespace group by 1 order by 1"""):
            print("%-12s %12d rows in %d partitions, %6.0f MB and %6.0f MB of indexes" % row)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("what", choices=("make", "start", "stop", "show", "verify", "check"))
    p.add_argument("--dir")
    p.add_argument("--runs", type=int)
    p.add_argument("--months", type=int, default=7)
    p.add_argument("--jobs", type=int, default=2)
    a = p.parse_args()
    if a.what == "check":
        sys.exit(bool(check(a.runs or 20000)))
    if not a.dir:
        p.error("--dir is missing")
    cluster = Cluster(a.dir)
    if a.what == "make":
        make(cluster, a.runs or 10_000_000, a.months, a.jobs)
    elif a.what == "start":
        cluster.start()
        print(cluster.conninfo)
    elif a.what == "stop":
        sys.exit(cluster.stop())
    elif a.what == "verify":
        sys.exit(bool(verify(cluster)))
    else:
        show(cluster)


if __name__ == "__main__":
    main()
