# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Several nodes on one durable PostgreSQL, each part of which can be killed, stopped and started by
exact pid. We are the service manager: what is killed stays down until somebody here starts it.

    with Rig(seed=7, nodes=3, build="/work/main/build-chaos") as rig:
        rig.start()
        rig.nodes[0].pids("engine"); rig.nodes[0].kill("taktd"); rig.nodes[0].start_taktd()
        rig.http("POST", "/tasks", {...}, node=rig.nodes[1])

A node is a `taktd -c conf` parent (engine and gateway, own port, state directory, node id) and its own
takt-executor. Start processes from the main thread only: they die with the thread that made them.
"""
import ctypes
import hashlib
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import requests

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests/lib"))
import frames  # noqa: E402
from pg import Pg, wait_until  # noqa: E402

_libc = ctypes.CDLL(None)
# Not from the range that outgoing connections take: a dead node's port must still be free later.
PORTS = range(18000, 31000)
PLUGINS = ("plugins/hello", "tests/plugins")
ROLES = ("engine", "gateway")
BUILD = pathlib.Path(os.environ.get("TAKT_BUILD") or SOURCE / "build").resolve()
UNIT = re.compile(r"[0-9a-f-]{36}\.\d+\.\d+")


def _die_with_us():
    _libc.prctl(1, signal.SIGKILL)


def free_port(taken, rng=random.SystemRandom()):
    while True:
        port = rng.choice(PORTS)
        with socket.socket() as s:
            if port in taken or s.connect_ex(("127.0.0.1", port)) == 0:
                continue
        taken.add(port)
        return port


class Process:
    """A line of /proc: pid, ppid, comm, start (clock ticks since boot), state."""

    def __init__(self, pid):
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
        self.pid, self.comm = int(pid), text[text.index("(") + 1:text.rindex(")")]
        rest = text[text.rindex(")") + 2:].split()
        self.state, self.ppid, self.start = rest[0], int(rest[1]), int(rest[19])

    @property
    def identity(self):
        return self.pid, self.start

    def argv(self):
        try:
            return pathlib.Path(f"/proc/{self.pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []


_seen = [0.0, {}]


def processes(age_s=0.0):
    """All living ones, by pid; at most so old."""
    if time.monotonic() - _seen[0] < age_s:
        return _seen[1]
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                p = Process(name)
            except (OSError, ValueError):
                continue
            if p.state not in "ZX":
                found[p.pid] = p
    _seen[:] = time.monotonic(), found
    return found


def alive(pid, start=None):
    try:
        p = Process(pid)
    except (OSError, ValueError):
        return False
    return p.state not in "ZX" and (start is None or p.start == start)


def holders(directory):
    """Processes with a descriptor, a working directory or an argument below directory."""
    directory, found = str(directory), []
    for p in processes().values():
        if p.pid == os.getpid():
            continue
        paths = [" ".join(p.argv())]
        for link in ("cwd", "fd"):
            try:
                path = f"/proc/{p.pid}/{link}"
                paths += [os.readlink(path)] if link == "cwd" else [os.readlink(f"{path}/{f}") for f in os.listdir(path)]
            except OSError:
                continue
        if any(re.search(re.escape(directory) + r"(/|$|\s)", path) for path in paths):
            found.append(p)
    return found


class Node:
    """env, executor_env: more environment; db: the connection string; set them before start."""

    def __init__(self, rig, no):
        self.rig, self.no, self.name = rig, no, f"n{no}"
        self.root = rig.root / self.name
        self.state = self.root / "s"
        self.state.mkdir(parents=True, mode=0o700)
        self.port = free_port(rig.taken_ports)
        self.db = rig.pg.conninfo
        self.env, self.executor_env = {}, {}
        self.conf = {}  # more lines of taktd.conf
        self.taktd = self.executor = None
        self._over = set()  # units with a result
        self.expected_down = set()  # "taktd", "executor": we killed it

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/api/v1"

    def write_conf(self):
        values = {"state_dir": f'"{self.state}"', "node_name": self.name, "db": f'"{self.db}"',
                  "listen": f'"127.0.0.1:{self.port}"', "log_level": self.rig.log_level, "max_units": self.rig.max_units,
                  "roles": "{engine, gateway}", "auto_migrate": "false", "platform_dirs": "{}", **self.conf}
        (self.root / "taktd.conf").write_text("".join(f"{k} = {v}\n" for k, v in values.items()))

    def _spawn(self, name, argv, env):
        keep = {k: v for k, v in os.environ.items() if not k.startswith("TAKT_")}
        with open(self.root / f"{name}.log", "ab") as log:
            return subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                                    start_new_session=True, env={**keep, **env}, preexec_fn=_die_with_us)

    def start_taktd(self):
        self.write_conf()
        self.taktd = self._spawn("taktd", [self.rig.build / "taktd", "-c", self.root / "taktd.conf"], self.env)
        self.expected_down.discard("taktd")

    def start_executor(self):
        argv = [self.rig.build / "takt-executor", "--state", self.state, "--max-units", 64]
        for directory in PLUGINS:
            argv += ["--plugin-dir", self.rig.build / directory]
        self.executor = self._spawn("executor", argv, self.executor_env)
        self.expected_down.discard("executor")

    def start(self):
        """What does not run of the two."""
        if not self.pids("executor"):
            self.start_executor()
        if not self.pids("taktd"):
            self.start_taktd()
        return self

    def units(self):
        """unit id -> what its file says of its keeper, for units without a result (they stay there for a while)."""
        try:
            names = set(os.listdir(self.state / "units"))
        except OSError:
            return {}
        self._over &= names
        return {name: meta for name in names - self._over if UNIT.fullmatch(name) for meta in [self._meta(name)] if meta}

    def _meta(self, name):
        file = frames.read_unit(self.state / "units" / name)
        if file and "durable" in file.marks:
            self._over.add(name)
        return file.meta if file and name not in self._over else None

    def keepers(self, age_s=0.0):
        """unit id -> keeper pid, alive."""
        every = processes(age_s)
        found = {}
        for unit, meta in self.units().items():
            p = every.get(int(meta.get("keeper_pid") or 0))
            if p and p.comm == "takt-keeper" and p.start == int(meta.get("keeper_start") or 0):
                found[unit] = p.pid
        return found

    def plugins(self, age_s=0.0):
        """unit id -> pid of the process that is in run()."""
        keepers = {pid: unit for unit, pid in self.keepers(age_s).items()}
        return {keepers[p.ppid]: p.pid for p in processes(age_s).values() if p.ppid in keepers and p.comm == "takt-unit"}

    def pids(self, kind):
        """Of kind engine, gateway, taktd (the parent), executor, zygote, keeper or plugin."""
        if kind in ("taktd", "executor"):
            process = getattr(self, kind)
            return [process.pid] if process and process.poll() is None else []
        if kind in ROLES:
            parent = self.pids("taktd")
            return [p.pid for p in processes().values() if p.ppid in parent and p.argv()[1:3] == ["-x", kind]]
        if kind == "zygote":
            parent = self.pids("executor")
            return [p.pid for p in processes().values() if [p.ppid] == parent and p.comm == "takt-zygote"]
        return sorted((self.keepers() if kind == "keeper" else self.plugins()).values())

    def kill(self, kind, sig=signal.SIGKILL):
        """All of that kind; `taktd` means the parent and its roles. Waits for the end after SIGKILL. The pids."""
        pids = self.pids(kind)
        if kind == "taktd":
            pids += self.pids("engine") + self.pids("gateway")
        if sig in (signal.SIGKILL, signal.SIGTERM) and kind in ("taktd", "executor"):
            self.expected_down.add(kind)
        for pid in pids:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass
        if sig == signal.SIGKILL:
            if kind in ("taktd", "executor") and getattr(self, kind):
                getattr(self, kind).wait(30)
            wait_until(lambda: not any(alive(p) for p in pids), 30, f"{self.name}'s {kind} to end")
        return pids

    def is_healthy(self):
        """The gateway answers and has its database."""
        try:
            r = requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5).json()
            return bool(r["status"] == "ok" and r["database"])
        except (requests.RequestException, ValueError, KeyError):
            return False

    def has_lease(self):
        """The engine is in its node: its lease was renewed less than 7 s ago, and its backend holds the node's lock."""
        return bool(self.rig.query(
            "select 1 from takt.node n where name = %s and lease_until > now() + interval '22 s' and exists (select from "
            "pg_locks l where l.locktype = 'advisory' and l.granted and l.classid::bigint << 32 | l.objid::bigint = "
            "hashtextextended('takt.node:' || n.id, 0))", self.name))

    def is_up(self):
        return bool(self.pids("executor") and self.pids("engine")) and self.has_lease() and self.is_healthy()

    def stop(self):
        self.expected_down |= {"taktd", "executor"}
        for process in (self.taktd, self.executor):
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in (self.taktd, self.executor):
            if process:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def log(self, name="taktd", n=4000):
        path = self.root / f"{name}.log"
        return path.read_text(errors="replace")[-n:] if path.exists() else ""


class Rig:
    """root has everything that runs; `journals` is where load and readers write (default root/journals)."""

    def __init__(self, seed=1, nodes=3, build=None, journals=None, max_units=10, log_level="info", settings=None,
                 pg_env=None):
        self.seed, self.rng = seed, random.Random(seed)
        self.build = pathlib.Path(build or BUILD).resolve()
        self.max_units, self.log_level = max_units, log_level
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="tch-", dir="/tmp"))
        self.root.chmod(0o755)
        self.journals = pathlib.Path(journals or self.root / "journals")
        self.journals.mkdir(parents=True, exist_ok=True)
        self.taken_ports, self.nodes, self.tokens = set(), [], {}
        self.unexpected = []  # ends of taktd or executor that nobody here caused
        self.pg = self._db = None
        try:
            self.pg = Pg(durable=True, settings={"max_connections": "100", **(settings or {})}, env=pg_env)
            with open(self.root / "migrate.log", "wb") as log:
                subprocess.run([str(self.build / "tests/lib/migrate"), self.pg.conninfo], check=True, stdout=log, stderr=log)
            self.query("select takt.make_partitions((current_date - interval '1 month')::date, 6)", role="takt_owner")
            self._org()
            self.nodes = [Node(self, i + 1) for i in range(nodes)]
            self.bystander = self._bystander()
        except BaseException:
            self.close()
            raise

    def _bystander(self):
        """Looks like a unit and is none: no signal may ever reach it (I11)."""
        return subprocess.Popen(["/bin/sleep", "100000"], preexec_fn=lambda: (_die_with_us(), _libc.prctl(15, b"takt-unit")),
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/")

    def _org(self):
        org = self.query("insert into takt.org (name) values ('chaos') returning id", role="takt_owner")[0][0]
        for role in ("viewer", "operator", "admin"):
            text = "takt_" + secrets.token_urlsafe(32)
            self.query("insert into takt.token (org_id, name, actor, role, hash) values (%s, %s, %s, %s, %s)", org, role,
                       role, role, hashlib.sha256(text.encode()).digest(), role="takt_owner")
            self.tokens[role] = text
        self.org = str(org)

    def start(self, limit_s=60):
        for node in self.nodes:
            node.start()
        wait_until(lambda: all(n.is_up() for n in self.nodes), limit_s, f"all nodes\n{self.logs()}")
        wait_until(lambda: self.has_type("witness"), limit_s, f"the witness\n{self.logs()}")
        return self

    # PostgreSQL --------------------------------------------------------------------------------

    def query(self, text, *params, role="postgres"):
        """One statement; rows, or None. Our own connection is remade when the server was killed."""
        if role != "postgres":
            return self.pg.sql(text, params or None, role=role)
        for again in (True, False):
            try:
                if self._db is None or self._db.closed:
                    self._db = self.pg.connect()
                cursor = self._db.execute(text, params or None)
                return cursor.fetchall() if cursor.description else None
            except Exception:
                if self._db is not None:
                    self._db.close()
                    self._db = None
                if not again:
                    raise

    def pids(self, kind):
        """As Node.pids, of all nodes; also `postgres` (the postmaster) and `backend` (Takt's connections)."""
        if kind == "postgres":
            return [self.pg.process.pid] if self.pg.process and self.pg.process.poll() is None else []
        if kind == "backend":
            parent = self.pids("postgres")
            return [p.pid for p in processes().values() if [p.ppid] == parent and " takt_" in " ".join(p.argv())]
        return [pid for node in self.nodes for pid in node.pids(kind)]

    def kill_postgres(self):
        """kill -9 of the postmaster; its children notice by themselves."""
        self.pg.kill9()

    def start_postgres(self):
        self.pg.start()

    # HTTP --------------------------------------------------------------------------------------

    def http(self, method, path, body=None, node=None, key=None, role="admin", timeout=10):
        """(status, body); requests.RequestException if there was no answer."""
        node = node or self.nodes[0]
        headers = {"Authorization": f"Bearer {self.tokens[role]}", **({"Idempotency-Key": key} if key else {})}
        r = requests.request(method, node.url + path, json=body, headers=headers, timeout=timeout)
        return r.status_code, (r.json() if "json" in r.headers.get("content-type", "") else r.text)

    def has_type(self, name):
        try:
            status, body = self.http("GET", "/task-types")
        except requests.RequestException:
            return False
        return status == 200 and f'"{name}"' in json.dumps(body)

    def verify(self):
        """What `takt verify` finds: its checks that have violations."""
        p = subprocess.run([str(self.build / "takt"), "verify", "--db", self.pg.conninfo, "-o", "json"], capture_output=True,
                           text=True, stdin=subprocess.DEVNULL)
        try:
            said = json.loads(p.stdout)
        except ValueError:
            said = {}
        if p.returncode not in (0, 1) or "checks" not in said:
            return [{"name": "verify", "invariant": "I8", "title": "takt verify could not check", "details": [p.stderr[-500:]]}]
        return [c for c in said["checks"] if c["violations"]]

    # the end -----------------------------------------------------------------------------------

    def watch(self):
        """Note the unexpected deaths of what should run; call it now and then."""
        for node in self.nodes:
            for kind in ("taktd", "executor"):
                p = getattr(node, kind)
                if p and p.poll() is not None and kind not in node.expected_down:
                    node.expected_down.add(kind)
                    self.unexpected.append({"node": node.name, "process": kind, "status": p.returncode, "at": time.time()})
        if self.bystander.poll() is not None:
            self.unexpected.append({"node": "", "process": "bystander", "status": self.bystander.returncode})
        return self.unexpected

    def leftovers(self):
        """What still runs or holds files below our root after all nodes were stopped."""
        return [{"pid": p.pid, "comm": p.comm, "argv": " ".join(p.argv())[:200]} for n in self.nodes for p in holders(n.root)]

    def logs(self, n=3000):
        return "\n".join(f"--- {node.name} {name}\n{node.log(name, n)}" for node in self.nodes
                         for name in ("taktd", "executor"))

    def stop(self):
        for node in self.nodes:
            node.stop()

    def close(self):
        self.stop()
        for node in self.nodes:
            for p in holders(node.root):
                try:
                    os.kill(p.pid, signal.SIGKILL)
                except OSError:
                    pass
        if getattr(self, "bystander", None):
            self.bystander.kill()
            self.bystander.wait()
        if self._db is not None:
            self._db.close()
        if self.pg:
            self.pg.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
