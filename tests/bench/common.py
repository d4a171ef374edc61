# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What all benches share: durable clusters, Takt and its null executor, counters, rounds, figures.

    opts = options()                                   # --rounds, --n, --only, --quick
    with Takt() as t:                                  # cluster, engine, null executor
        t.preload(50000)
        with Counters(t.pg, engine=t.engine_pid) as c: # CPU and WAL of the part in between
            t.wait_drained()
        c.values                                       # {"server_cpu_us":…, "wal_b":…, "engine_cpu_us":…}
    figure("queue", "runs_per_s", ours=[…], peer=[…], peer_name="graphile-worker")

A figure is one line of JSON in build/bench/BENCH.jsonl and one on the terminal. What is measured runs
under a lock (TAKT_BENCH_LOCK), interleaved with what it is compared with; a figure is the median of
the rounds, a ratio the median of the rounds' own ratios.
"""
import argparse
import atexit
import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from pg import BUILD, SOURCE, Pg, wait_until  # noqa: E402,F401

# fsync, synchronous_commit and full_page_writes are on, as shipped.
SETTINGS = {"shared_buffers": "2GB", "max_wal_size": "8GB", "checkpoint_timeout": "15min", "autovacuum_naptime": "10s",
            "max_connections": "200"}
LOCK = os.environ.get("TAKT_BENCH_LOCK", f"{tempfile.gettempdir()}/takt-bench.lock")
OURS = "takt-bench"  # application_name of the bench's own connections
LOG_LEVEL = os.environ.get("TAKT_BENCH_LOG", "warn")  # of engine and gateway
OUT = BUILD / "bench"
LOAD = (pathlib.Path(__file__).parent / "load.sql").read_text(encoding="utf-8")
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def options(**defaults):
    """The command line of every bench; defaults: rounds, n."""
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=defaults.get("rounds", 3))
    p.add_argument("--n", type=int, default=defaults.get("n", 50000), help="runs, jobs, schedules or events")
    p.add_argument("--only", default="", help="comma-separated parts or peers; all without")
    p.add_argument("--quick", action="store_true", help="one round of a tenth: does it work at all?")
    opts = p.parse_args()
    for sig in (signal.SIGTERM, signal.SIGINT):  # also from the background: clusters and nodes are ended in order
        signal.signal(sig, lambda number, _frame: sys.exit(128 + number))
    if opts.quick:
        opts.rounds, opts.n = 1, max(1, opts.n // 10)
    opts.only = [x for x in opts.only.split(",") if x]
    return opts


def wanted(opts, name):
    return not opts.only or name in opts.only


@contextlib.contextmanager
def quiet():
    """The machine for ourselves, as far as other benches go."""
    with open(LOCK, "a", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def interleave(rounds, parts):
    """parts: {name: function}. Runs A B A B …, each under the lock; {name: [result, …]}."""
    results = {name: [] for name in parts}
    for i in range(rounds):
        for name, part in parts.items():
            with quiet():
                result = part()
            results[name].append(result)
            print(f"  round {i + 1} {name}: {json.dumps(result)[:300]}", file=sys.stderr, flush=True)
    return results


def median(values):
    return statistics.median(values) if values else None


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(p * len(values)))]


def short(x):
    return float(f"{x:.4g}") if isinstance(x, float) else x


def figure(bench, name, ours, peer=None, peer_name="", unit="", better="more", goal=None, **more):
    """One line. ours and peer: one value a round. ratio: ours/peer, round by round; goal: of the ratio if there is a peer."""
    line = {"bench": bench, "figure": name, "unit": unit, "better": better, "ours": short(median(ours)),
            "rounds": [short(x) for x in ours]}
    if peer:
        line |= {"peer": short(median(peer)), "peer_name": peer_name, "peer_rounds": [short(x) for x in peer],
                 "ratio": short(median([a / b for a, b in zip(ours, peer) if b]))}
    if goal is not None:
        reached = line.get("ratio", line["ours"])
        line |= {"goal": goal, "met": reached >= goal if better == "more" else reached <= goal}
    line |= {k: short(v) for k, v in more.items()} | {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / f"{bench}.jsonl", "a", encoding="utf-8") as f:
        f.write(json.dumps(line) + "\n")
    against = f"  {line['ratio']:>7} x {peer_name} ({line['peer']})" if peer else ""
    verdict = "" if goal is None else f"  goal {'>=' if better == 'more' else '<='} {goal}: {'met' if line['met'] else 'MISSED'}"
    print(f"{bench}: {name} = {line['ours']} {unit}{against}{verdict}", flush=True)
    return line


# Counters ------------------------------------------------------------------------------------------

def _stat(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
        return f.read().rsplit(")", 1)[1].split()


def children(pid):
    """Direct children; of all threads."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(p) for p in task.read_text().split()]
    return found


def tree(pid):
    """The process and all below it."""
    found = [pid]
    for child in children(pid):
        found += tree(child)
    return found


def own_cpu_us(pid):
    """What the living process used itself: exact by its threads' run time, as long as no thread has ended."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        exact = sum(int(pathlib.Path(f"/proc/{pid}/task/{t}/schedstat").read_text().split()[0]) for t in tasks) // 1000
        ticks = sum(int(x) for x in _stat(pid)[11:13]) * TICK_US
    except (OSError, ValueError):
        return 0
    return max(exact, ticks) if len(tasks) > 1 else exact


def reaped_cpu_us(pid):
    """What its children that have ended used, in ticks."""
    try:
        return sum(int(x) for x in _stat(pid)[13:15]) * TICK_US
    except (OSError, ValueError):
        return 0


def tree_cpu_us(pid):
    """The whole tree, living and reaped."""
    try:
        return sum(own_cpu_us(p) + reaped_cpu_us(p) for p in tree(pid))
    except OSError:
        return 0


class Cgroup:
    """CPU of processes that come and go unseen: everything started through preexec, and below it. Needs a writable cgroup2."""

    def __init__(self):
        mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        top = next((m[1] for m in mounts if m[2] == "cgroup2"), None)
        if not top:
            raise RuntimeError("no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup")
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="takt-bench-", dir=top))

    def preexec(self):
        (self.path / "cgroup.procs").write_text("0")

    def cpu_us(self):
        return int(re.search(r"usage_usec (\d+)", (self.path / "cpu.stat").read_text())[1])

    def pids(self):
        return [int(x) for x in (self.path / "cgroup.procs").read_text().split()]

    def close(self):
        for pid in self.pids():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.pids(), 30, "the end of a group's processes")
        self.path.rmdir()


class Counters:
    """CPU of the server (all its processes) and of named processes or groups, WAL, time; between enter and exit.

    pg may be None. processes: name=pid (that process, without children) or name=Cgroup.
    """

    def __init__(self, pg=None, **processes):
        self.pg, self.processes, self.values = pg, processes, {}
        self.monitor = pg.connect(application_name=OURS) if pg else None

    def _wal(self):
        return self.monitor.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()[0] if self.pg else 0

    def _ours(self):
        """Our own watching and loading is no part of what is measured."""
        rows = self.monitor.execute("select pid from pg_stat_activity where application_name = %s", (OURS,)).fetchall()
        return sum(own_cpu_us(pid) for (pid,) in rows)

    def _now(self):
        now = {"wal_b": int(self._wal())}
        for name, pid in self.processes.items():
            now[f"{name}_cpu_us"] = pid.cpu_us() if isinstance(pid, Cgroup) else own_cpu_us(pid)
        if self.pg:
            now["server_cpu_us"] = tree_cpu_us(self.pg.process.pid) - self._ours()
        now["s"] = time.monotonic()
        return now

    def __enter__(self):
        self.before = self._now()
        return self

    def __exit__(self, *_):
        after = self._now()
        self.values = {k: after[k] - self.before[k] for k in after}
        if self.monitor:
            self.monitor.close()

    def per(self, n):
        """{"server_cpu_us": per run, …}"""
        return {k: v / n for k, v in self.values.items() if k != "s" and (k != "wal_b" or self.pg)}


def memory_kb(pids):
    """PSS and private (unshared) memory of these processes, in KiB."""
    pss = private = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                key, _, rest = line.partition(":")
                if key == "Pss":
                    pss += int(rest.split()[0])
                elif key in ("Private_Clean", "Private_Dirty"):
                    private += int(rest.split()[0])
    return {"pss_kb": pss, "private_kb": private}


# For profiles only: it costs a few per cent.
STATEMENTS = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all"}


def statements_begin(pg):
    """From here on; the cluster was made with STATEMENTS."""
    pg.sql("create extension if not exists pg_stat_statements schema public")
    pg.sql("select public.pg_stat_statements_reset()")


def statements_text(pg, n):
    """What each statement cost, per one of n; nested ones (triggers, functions) too."""
    rows = pg.sql("""
        select round((total_exec_time * 1000 / %s)::numeric, 1), calls, rows, round(wal_bytes / %s),
            shared_blks_hit / greatest(calls, 1), left(regexp_replace(query, '\\s+', ' ', 'g'), 120)
        from public.pg_stat_statements where query not like '%%pg_stat_statements%%' order by total_exec_time desc limit 20
        """, (n, n))
    head = "us per one | calls | rows | WAL B per one | buffers per call | statement"
    return "\n".join([head] + [" | ".join(str(x) for x in row) for row in rows]) + "\n"


# Servers -------------------------------------------------------------------------------------------

def cluster(**settings):
    """A durable scratch cluster with the settings of all benches."""
    return Pg(durable=True, settings={**SETTINGS, **settings})


def checkpoint(pg):
    """Before the load: so that the measured part meets pages whose images are in the WAL already, as all peers' do."""
    pg.sql("checkpoint")


def stop_process(process, limit_s=30):
    if process and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Node:
    """State directory, configuration, executor and engine (and gateway) of one node on a cluster."""

    def __init__(self, pg, name="bench", executor="null", max_units=2000, gateway=False, state_on=None, plugins=(),
                 roles=None, progress=0):
        self.pg, self.name, self.executor_kind, self.max_units = pg, name, executor, max_units
        self.plugins, self.progress = plugins, progress
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="tbn-", dir="/tmp"))
        os.chmod(self.root, 0o755)
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="tbs-", dir=state_on or "/tmp"))
        self.engine = self.executor = self.gateway = None
        self.group = Cgroup() if executor == "real" else None  # keepers are nobody's children
        self.port = self._free_port() if gateway else 1
        self.roles = roles or ("engine",)
        self.write_conf()

    @staticmethod
    def _free_port():
        import socket
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def write_conf(self):
        (self.root / "taktd.conf").write_text("\n".join([
            f'state_dir = "{self.state}"', f'node_name = "{self.name}"', f'db = "{self.pg.conninfo}"',
            f'listen = "127.0.0.1:{self.port}"', f"log_level = {LOG_LEVEL}", f"max_units = {self.max_units}",
            "roles = {engine, gateway}", "auto_migrate = false", "platform_dirs = {}"]) + "\n")

    def _spawn(self, name, argv, **kw):
        with open(self.root / f"{name}.log", "ab") as log:
            return subprocess.Popen([str(a) for a in argv], stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                    stdout=kw.pop("stdout", log), **kw)

    def start_executor(self):
        if self.executor_kind == "null":
            self.executor = self._spawn("executor", [BUILD / "tests/bench/null-executor", self.state, "noop", self.progress],
                                        stdout=subprocess.PIPE)
            assert self.executor.stdout.readline() == b"ready\n", self.log()
            return
        argv = [BUILD / "takt-executor", "--state", self.state, "--max-units", str(self.max_units), "--log-level", "debug" if LOG_LEVEL == "debug" else "info"]
        for directory in self.plugins:
            argv += ["--plugin-dir", BUILD / directory]
        self.executor = self._spawn("executor", argv, preexec_fn=self.group.preexec)
        wait_until(lambda: "exec: ready" in self.log("executor"), 60, "the executor")

    def start_engine(self):
        self.engine = self._spawn("engine", [BUILD / "taktd", "-x", "engine", "-c", self.root / "taktd.conf"])

    def start_gateway(self):
        self.gateway = self._spawn("gateway", [BUILD / "taktd", "-x", "gateway", "-c", self.root / "taktd.conf"])

    def log(self, name="engine"):
        path = self.root / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        for process in (self.gateway, self.engine, self.executor):
            stop_process(process)
        if self.group:
            self.group.close()  # keepers outlive their executor by design
        shutil.rmtree(self.root, ignore_errors=True)
        # Not now: ext4 gives no inode away that was deleted a moment ago, and looks for others longer and longer.
        atexit.register(shutil.rmtree, self.state, ignore_errors=True)


class Loader:
    """Writes queued runs as a node of its own: a stream of events in commit order, one connection.

    Its runs go round over the tasks of this type. As with a schedule's, engines look at once for what is due, or they would
    come in bursts, a second apart. hold_s: how long a transaction stays open before it commits.
    """

    def __init__(self, pg, task_type="noop"):
        self.c = pg.connect("takt_owner", autocommit=False, application_name=OURS)
        self.no = self.c.execute("insert into takt.node (id, name, epoch, incarnation, version, started_at) values "
                                 "(gen_random_uuid(), 'loader', 1, 1, 'bench', now()) returning no").fetchone()[0]
        self.c.commit()
        self.task_type, self.written = task_type, 0

    def add(self, n, hold_s=0):
        self.c.execute(LOAD, {"type": self.task_type, "first": self.written + 1, "last": self.written + n, "node": self.no})
        self.c.execute("select pg_notify('takt_feed', ''), pg_notify('takt_schedule', '')")
        if hold_s:
            time.sleep(hold_s)
        self.c.commit()
        self.written += n

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.c.close()


class Takt:
    """A cluster with Takt's schema and one node whose engine is not running yet."""

    def __init__(self, settings=None, **node):
        self.pg = cluster(**(settings or {}))
        self.node = None
        self.nodes = []
        try:
            self.pg.migrate()
            self.owner = self.pg.connect("takt_owner", application_name=OURS)
            self.org = self.one("insert into takt.org (name) values ('bench') returning id")
            self.one("select takt.make_partitions((current_date - interval '1 month')::date, 4)")
            self.node = self.add_node(**node)
        except BaseException:
            self.close()
            raise

    def add_node(self, **node):
        self.nodes.append(Node(self.pg, **node))
        return self.nodes[-1]

    def one(self, text, *params):
        cursor = self.owner.execute(text, params or None)
        rows = cursor.fetchall() if cursor.description else None
        return rows[0][0] if rows else None

    def start(self):
        self.node.start_executor()
        self.node.start_engine()

    def stop(self):
        """Engine and executor end; the cluster stays."""
        stop_process(self.node.engine)
        stop_process(self.node.executor)

    def token(self, role="admin"):
        import base64
        import hashlib
        import secrets
        text = "takt_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        self.one("insert into takt.token (org_id, name, actor, role, hash) values (%s, %s, %s, %s, %s) returning id",
                 self.org, f"{role}-{text[-6:]}", role, role, hashlib.sha256(text.encode()).digest())
        return text

    def tasks(self, n, task_type="noop", overlap="parallel", parameters=None, **limits):
        """n definitions as the gateway normalises them; their name begins with the type."""
        definition = {"description": "", "task_type": task_type, "cron_expression": None, "timezone": "UTC",
                      "enabled": True, "max_retries": 0, "retry_delay_seconds": 0, "timeout_seconds": 300,
                      "dst_gap": "run_at_gap_end", "dst_fold": "first", "overlap": overlap,
                      "parameters": {"type": task_type, **(parameters or {})}, "target": None, **limits}
        self.one("""
            insert into takt.task (id, org_id, name, task_type, enabled, definition)
            select gen_random_uuid(), %s, n.name, %s, true, %s::jsonb || jsonb_build_object('name', n.name)
            from (select %s || '-' || (g + (select count(*) from takt.task))::text as name from generate_series(1, %s) g) n
            """, self.org, task_type, json.dumps(definition), task_type, n)

    def preload(self, n, tasks=100, task_type="noop", overlap="parallel", parameters=None, **limits):
        """n queued runs of these tasks, each with its event task_created, as an engine would have written them."""
        if not self.one("select count(*) from takt.task where task_type = %s", task_type):
            self.tasks(tasks, task_type, overlap, parameters, **limits)
        with Loader(self.pg, task_type) as loader:
            loader.add(n)
        self.pg.sql("vacuum analyze")

    def wait_drained(self, limit_s=600):
        """Until no run is live: one look at the shrinking table every 20 ms."""
        end = time.monotonic() + limit_s
        while self.one("select 1 from takt.live limit 1"):
            if time.monotonic() > end or self.node.engine.poll() is not None:
                raise RuntimeError(f"{self.one('select count(*) from takt.live')} runs are left; the engine says\n"
                                   + self.node.log()[-3000:])
            time.sleep(0.02)

    def engine_backend_us(self):
        """CPU so far of the engine's server processes."""
        rows = self.pg.sql("select pid from pg_stat_activity where usename = 'takt_engine'")
        return sum(own_cpu_us(pid) for (pid,) in rows)

    def close(self):
        for node in self.nodes:
            node.close()
        self.pg.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
