#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Millions of runs of history in a cluster that stays, for the benches that need them.

    history.py make  --dir DIR [--runs 10000000] [--months 7]   initdb, migrate, fill; fsync off meanwhile
    history.py start --dir DIR                                  start it durable; prints the conninfo
    history.py stop  --dir DIR
    history.py show  --dir DIR                                  rows and bytes of each table

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
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import psycopg  # noqa: E402
from pg import BUILD, Pg  # noqa: E402

ORGS = ("default", "second", "third", "tiny")
TASKS = 1000
DEVICES = 2000
SETTINGS = {"shared_buffers": "2GB", "maintenance_work_mem": "512MB", "work_mem": "32MB", "max_wal_size": "8GB",
            "checkpoint_timeout": "15min", "max_parallel_maintenance_workers": "0", "wal_level": "minimal",
            "max_wal_senders": "0", "autovacuum": "on", "track_io_timing": "on"}

# Pseudorandom but the same each time: ids are made of the run's time, the rest of a hash of its number.
BASE = """
create schema bench;
create function bench.uid(what text) returns uuid language sql immutable as $$ select md5(what)::uuid $$;
create function bench.run_id(ms bigint, what text) returns uuid language sql immutable as $$
	select (lpad(to_hex(ms), 12, '0') || '7' || substr(md5(what), 1, 3) || '8' || substr(md5(what), 5, 15))::uuid $$;
insert into takt.node (id, name) values (bench.uid('node'), 'history');
insert into takt.seal_key (id, public_key) values ('0123456789abcdef', decode(repeat('00', 32), 'hex'));
insert into takt.platform (name, title) values ('sim', 'Simulated');
insert into takt.org (id, name) select bench.uid('org ' || o), o from unnest(%(orgs)s::text[]) o
	on conflict (name) do nothing;
insert into takt.device (id, org_id, name, address, platform)
	select bench.uid('device ' || i), o.id, 'device-' || i, '10.0.' || i / 250 || '.' || i %% 250 + 1, 'sim'
	from generate_series(0, %(devices)s - 1) i
	join takt.org o on o.name = (%(orgs)s::text[])[case when i < 1200 then 1 when i < 1700 then 2 when i < 1990 then 3 else 4 end];
create table bench.task as
	select i as no, bench.uid('task ' || i) as id, o.id as org_id, o.name as org,
		'task ' || i as name, d.id as device_id, d.name as device_name, d.address,
		jsonb_build_object('name', 'task ' || i, 'task_type', 'hello', 'enabled', true, 'overlap', 'parallel',
			'max_retries', 3, 'retry_delay_seconds', 60, 'timeout_seconds', 600, 'timezone', 'UTC',
			'parameters', jsonb_build_object('message', 'hello from ' || i),
			'target', jsonb_build_object('type', 'device', 'id', d.id)) as definition
	from generate_series(0, %(tasks)s - 1) i
	join takt.org o on o.name = (%(orgs)s::text[])[case when i < 600 then 1 when i < 900 then 2 when i < 998 then 3 else 4 end]
	join takt.device d on d.name = 'device-' || case when i < 600 then i * 2 when i < 900 then 1200 + (i - 600) %% 500
		when i < 998 then 1700 + (i - 900) * 2 else 1000 + i end;
create unique index on bench.task (no);
insert into takt.task (id, org_id, name, task_type, enabled, definition)
	select id, org_id, name, 'hello', true, definition from bench.task;
insert into takt.schedule (id, org_id, task_id, kind, enabled) select id, org_id, id, 'on_demand', true from bench.task;
analyze;
"""

# $: from ms, span ms, first number, runs. One row a run; what ends other than well is spread evenly.
FILL = {
    "run": """
insert into takt.{run} (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, actor, due_at, created_at,
	policy, state, started_at, finished_at, attempts, summary, last_batch)
select bench.run_id(ms, 'run' || n), t.org_id, upper(substr(md5('code' || n), 1, 8)), t.id, 1, t.name, 'hello',
	case when n %% 5 = 0 then 'manual' else 'schedule' end, case when n %% 5 = 0 then 'alice' else '' end,
	case when n %% 5 <> 0 then at end, at, t.definition || '{{"revision": 1}}', s.state,
	at + interval '0.2 s', at + interval '0.2 s' + t.no %% 60 * interval '1 s', case when s.state in ('failed', 'timed_out') then 2 else 1 end,
	jsonb_build_object('units', 1, 'passed', (s.state = 'completed')::int, 'failed', (s.state <> 'completed')::int,
		'attempts', 1, 'message', '1 unit, ' || s.state),
	bench.run_id({ms} + least((n - {first}) / 200 * 200 + 199, {runs} - 1) * {span} / {runs}, 'batch' || (n - {first}) / 200)
from (select n, {ms} + (n - {first}) * {span} / {runs} as ms,
		to_timestamp(({ms} + (n - {first}) * {span} / {runs}) / 1000.0) as at,
		('x' || substr(md5('state' || n), 1, 6))::bit(24)::int as r,
		case when n %% 50000 = 7 then 998 + n / 50000 %% 2 when n %% 2 = 0 then 0
			else 1 + (997 * power(('x' || substr(md5('task' || n), 1, 6))::bit(24)::int / 16777216.0, 3))::int %% 997 end as task
	from generate_series({first}::bigint, {first}::bigint + {runs} - 1) n offset 0) g
join bench.task t on t.no = g.task,
lateral (select case when r < 16273899 then 'completed' when r < 16609443 then 'failed' when r < 16710107 then 'timed_out'
	when r < 16775538 then 'cancelled' else 'expired' end as state offset 0) s
order by n""",
    "attempt_row": """
insert into takt.{attempt_row} (run_id, no, org_id, epoch, node_id, state, opened_at, started_at, finished_at, timeout_s, error_class,
	unit_state, device_id, device_name, address, result)
select r.id, a, r.org_id, a, bench.uid('node'),
	case r.state when 'completed' then 'passed' when 'expired' then 'cancelled' else r.state end,
	r.created_at, r.started_at, r.finished_at, 600, case when r.state in ('failed', 'timed_out') then 'transient' end,
	case r.state when 'completed' then 'passed' when 'timed_out' then 'failed' when 'expired' then 'cancelled' else r.state end,
	t.device_id, t.device_name, t.address, case when r.state = 'completed' then '{{"message": "hello"}}'::jsonb end
from takt.{run} r join bench.task t on t.id = r.task_id, generate_series(1, r.attempts) a""",
    # As if 200 runs were told of at once, each whole.
    "event_batch": """
insert into takt.{event_batch} (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs, prevs, items)
select r.last_batch, r.org_id, (select no from takt.node where name = 'history'), {month}, min(feed), max(feed), max(r.finished_at),
	array_agg(r.id order by feed), array_agg(r.task_id order by feed), array_agg(1), array_agg(null::uuid), array_agg(('[{{"at": "' || c || '", "type": "task_created", "state": "queued", "severity": "info", "code": "' || r.code
	|| '", "trigger": "' || r.trigger || '", "task_name": "' || r.task_name || '"}}, {{"at": "' || s
	|| '", "type": "task_dispatched", "state": "dispatched", "severity": "info", "attempt": 1, "epoch": 1, "units": 1}}, {{"at": "' || s
	|| '", "type": "task_running", "state": "running", "severity": "info", "attempt": 1}}, {{"at": "' || f || '", "type": "task_'
	|| r.state || '", "state": "' || r.state || '", "severity": "info", "attempts": 1}}]')::json order by feed)
from (select *, row_number() over (order by last_batch, org_id, id) as feed, to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') c,
	to_char(started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') s,
	to_char(finished_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') f from takt.{run} offset 0) r
group by r.last_batch, r.org_id""",
    # A bounded number: one run in a hundred said something.
    "output": """
insert into takt.{output} (run_id, attempt, unit_no, off, org_id, raw_b, at, data)
select r.id, 1, 0, 0, r.org_id, 200, r.finished_at, -- a zstd frame of one uncompressed block
	decode('28b52ffd20c8410600', 'hex') || convert_to(left(repeat(md5(r.code) || chr(10), 7), 200), 'UTF8')
from takt.{run} r where r.code < '028F5C28'""",
    "run_amiss": """
insert into takt.{run_amiss} (org_id, task_id, run_id, state)
select r.org_id, r.task_id, r.id, r.state from takt.{run} r where r.state <> 'completed'""",
    "occurrence": """
insert into takt.{occurrence} (task_id, due_at, schedule_id, org_id, decision, rule, run_id, decided_at)
select r.task_id, r.due_at, r.task_id, r.org_id, 'fired', 'due', r.id, r.created_at from takt.{run} r where r.due_at is not null
on conflict do nothing""",
}
# Unfinished runs that no engine may start yet: their first attempt failed and the next one is years away.
LIVE = """
with made as (
	insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, actor, created_at, policy)
	select bench.run_id((extract(epoch from at) * 1000)::bigint, 'live' || i), t.org_id, upper(substr(md5('live' || i), 1, 8)), t.id, 1,
		t.name, 'hello', 'manual', 'alice', at, t.definition || '{"revision": 1}'
	from (select i, case when i < 20 then %(first)s::timestamptz + i * interval '1 h' else now() - i * interval '1 min' end as at
		from generate_series(0, 299) i) g
	join bench.task t on t.no = g.i
	returning id, org_id, task_id, created_at)
, told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs, prevs, items)
	select bench.run_id((extract(epoch from created_at) * 1000)::bigint, 'told' || id), org_id, (select no from takt.node where name = 'history'),
		1000, f, f, created_at, array[id], array[task_id], array[1], array[null::uuid],
		array['[{"type": "task_created", "state": "queued", "severity": "info", "at": "2026-01-01T00:00:00.000000Z"},
		{"type": "task_dispatched", "state": "dispatched", "severity": "info", "attempt": 1, "epoch": 1, "at": "2026-01-01T00:00:00.000000Z"},
		{"type": "task_retrying", "state": "retry_wait", "severity": "warning", "at": "2026-01-01T00:00:00.000000Z"}]'::json]
	from (select *, row_number() over () as f from made) m)
, tried as (
	insert into takt.attempt_row (run_id, no, org_id, epoch, node_id, state, opened_at, finished_at, timeout_s, error_class, unit_state)
	select id, 1, org_id, 1, bench.uid('node'), 'failed', created_at, created_at, 600, 'transient', 'failed' from made)
insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, queue_depth, last_batch)
select id, org_id, task_id, 'queued', now() + interval '10 years', 3, false,
	bench.run_id((extract(epoch from created_at) * 1000)::bigint, 'told' || id) from made;
update takt.live set state = 'dispatched', epoch = 1, attempt = 1, node_id = bench.uid('node');
update takt.live set state = 'retry_wait', node_id = null
"""


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

    def start(self, durable=True):  # pylint: disable=arguments-differ
        options = "-c fsync=on -c wal_level=replica" if durable else "-c fsync=off"
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
            makers.append(f"create table takt.{part} (like takt.{parent} including defaults including constraints including storage)" + with_options)
        for maker, part in zip(makers, names.values()):
            c.execute(maker)
            c.execute(f"alter table takt.{part} owner to takt_owner")
        c.commit()  # nothing of the parents is locked while the rows are made
        for table, text in FILL.items():
            if table in names:
                c.execute(text.replace("%%", "%").format(ms=ms, span=span, first=start_n, runs=runs, month=no, **names))
        c.execute("select pg_advisory_xact_lock(1)")  # attaching locks the parents: one month after the other
        for parent, part in names.items():
            c.execute(f"alter table takt.{parent} attach partition takt.{part} {bounds[parent]}")
        c.commit()
    print(f"{suffix}: {runs} runs in {time.monotonic() - began:.0f} s", flush=True)


def populate(cluster, runs, n_months, jobs=2):
    """Fill a fresh database."""
    spans = months(n_months)
    with cluster.connect() as c:
        c.execute("select takt.make_partitions(%s, %s)", [spans[0][0].date(), n_months + 4])
        cursor = psycopg.ClientCursor(c)
        cursor.execute(BASE, {"orgs": list(ORGS), "tasks": TASKS, "devices": DEVICES})
        for org in ORGS:
            for role in ("viewer", "operator", "admin"):
                c.execute("insert into takt.token (org_id, name, actor, role, hash) select id, %s, %s, %s, %s from takt.org where name = %s",
                          [f"bench-{role}", f"bench-{role}", role, hashlib.sha256(token(org, role).encode()).digest(), org])
    now = datetime.datetime.now(datetime.timezone.utc)
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


def show(cluster):
    with cluster.connect() as c:
        for row in c.execute("""select p.relname, sum(greatest(k.reltuples, 0))::bigint, count(*), sum(pg_relation_size(k.oid)) / 1e6,
                sum(pg_indexes_size(k.oid)) / 1e6
            from pg_class p join pg_inherits i on i.inhparent = p.oid join pg_class k on k.oid = i.inhrelid
            where p.relkind = 'p' and p.relnamespace = 'takt'::regnamespace group by 1 order by 1"""):
            print("%-12s %12d rows in %d partitions, %6.0f MB and %6.0f MB of indexes" % row)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("what", choices=("make", "start", "stop", "show"))
    p.add_argument("--dir", required=True)
    p.add_argument("--runs", type=int, default=10_000_000)
    p.add_argument("--months", type=int, default=7)
    p.add_argument("--jobs", type=int, default=2)
    a = p.parse_args()
    cluster = Cluster(a.dir)
    if a.what == "make":
        make(cluster, a.runs, a.months, a.jobs)
    elif a.what == "start":
        cluster.start()
        print(cluster.conninfo)
    elif a.what == "stop":
        sys.exit(cluster.stop())
    else:
        show(cluster)


if __name__ == "__main__":
    main()
