# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A whole Takt in a directory of its own, through `takt dev`, for the flow tests.

    with Dev(plugin_dirs=[...]) as dev:
        dev.takt("health")                          # the CLI; CompletedProcess
        dev.api("GET", "/tasks")                    # (status, body)
        dev.pid("taktd"); dev.kill9("postgres")
    # stopped; AssertionError if anything of it is left

The directory lies in /tmp, as PostgreSQL's user must reach it. It ends with the process that made it.
"""
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import requests

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TAKT_BUILD", SOURCE / "build")).resolve()
_libc = ctypes.CDLL(None)
HELLO = BUILD / "plugins/hello"
BACKUP = BUILD / "plugins/backup"


def wait_until(condition, limit_s=60, what="condition"):
    """Poll until condition() is true; returns its value."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s} s for {what}")
        time.sleep(0.05)


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Dev:
    def __init__(self, plugin_dirs=(), platform_dirs=(), root=None, args=()):
        self.root = pathlib.Path(root or tempfile.mkdtemp(prefix="tkd-", dir="/tmp"))
        os.chmod(self.root, 0o755)
        self.state = self.root / "state"
        self.args = [a for d in plugin_dirs for a in ("--plugin-dir", str(d))]
        self.args += [a for d in platform_dirs for a in ("--platform-dir", str(d))]
        self.args += list(args)
        self.inherit = ()
        self.process = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()

    # --- the process

    def spawn(self):
        self.out = open(self.root / "out", "w")
        self.process = subprocess.Popen(
            [BUILD / "takt", "dev", "--state", self.state, "--listen", "127.0.0.1:0", *self.args],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=subprocess.STDOUT, env=self.env(), pass_fds=self.inherit,
            preexec_fn=lambda: _libc.prctl(1, signal.SIGTERM))
        return self

    def start(self, limit_s=120):
        self.spawn()
        wait_until(lambda: "\nready " in self.said() or self.process.poll() is not None, limit_s, f"ready:\n{self.said()}")
        if self.process.poll() is not None:
            raise RuntimeError(f"takt dev ended with {self.process.returncode}:\n{self.said()}\n{self.logs()}")
        client = json.loads((self.state / "client.json").read_text())
        self.url, self.token = client["url"], client["token"]
        return self

    def said(self):
        return (self.root / "out").read_text()

    def logs(self, name="taktd", n=4000):
        path = self.state / f"log/{name}.log"
        return path.read_text(errors="replace")[-n:] if path.exists() else ""

    def stop(self, sig=signal.SIGTERM, limit_s=90):
        """Stop it; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(limit_s)

    def remove(self):
        left = []
        try:
            if self.process is not None:
                self.stop()
                left = self.processes()
        finally:
            for pid, _ in left:
                os.kill(pid, signal.SIGKILL)
            if hasattr(self, "out"):
                self.out.close()
            note = self.state / "run-path"
            if note.exists():
                shutil.rmtree(note.read_text(), ignore_errors=True)
            shutil.rmtree(self.root, ignore_errors=True)
        assert not left, f"left running: {left}"

    def processes(self):
        """(pid, command line) of all that runs with this state directory: children, roles, keepers."""
        found = []
        for d in pathlib.Path("/proc").iterdir():
            if not d.name.isdigit() or int(d.name) == os.getpid():
                continue
            try:
                line = (d / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                cwd = os.readlink(d / "cwd")
            except OSError:
                continue
            if (str(self.state) in line or cwd.startswith(str(self.state))) and alive(int(d.name)):
                found.append((int(d.name), line))
        return found

    def pid(self, name):
        """taktd, executor or postgres; None while it does not run."""
        try:
            pid = int((self.state / "pid" / name).read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if alive(pid) else None

    def role(self, name):
        """The pid of taktd's engine or gateway."""
        parent = self.pid("taktd")
        for d in pathlib.Path("/proc").iterdir():
            try:
                line = (d / "cmdline").read_bytes().split(b"\0") if d.name.isdigit() else []
                ppid = int((d / "stat").read_text().rsplit(")", 1)[1].split()[1]) if line else 0
            except OSError:
                continue
            if parent and ppid == parent and line[1:3] == [b"-x", name.encode()]:
                return int(d.name)
        return None

    def kill9(self, name):
        """Kill one of taktd, executor, postgres, engine, gateway; returns the pid killed."""
        pid = self.role(name) if name in ("engine", "gateway") else self.pid(name)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), 30, f"the end of {name}")
        return pid

    # --- clients

    def env(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("TAKT_") or k == "TAKT_BUILD"}
        return dict(env, NO_COLOR="1", **more)

    def takt(self, *args, input=None, env=None, timeout=120):
        return subprocess.run([BUILD / "takt", "--state", self.state, *map(str, args)], input=input, capture_output=True,
                              text=not isinstance(input, bytes), env=self.env(**(env or {})), timeout=timeout,
                              stdin=subprocess.DEVNULL if input is None else None)

    def ok(self, *args, **kw):
        """Standard output of a command that must succeed."""
        p = self.takt(*args, **kw)
        assert p.returncode == 0, f"takt {args}: {p.returncode}\n{p.stdout}\n{p.stderr}\n{self.logs()}"
        return p.stdout

    def json(self, *args, **kw):
        return json.loads(self.ok(*args, "-o", "json", **kw))

    def api(self, method, path, body=None, token=None, headers=None):
        headers = dict(headers or {}, Authorization=f"Bearer {token or self.token}")
        r = requests.request(method, f"{self.url}/api/v1{path}", json=body, headers=headers, timeout=60)
        return r.status_code, (r.json() if "json" in r.headers.get("content-type", "") else r.text)

    def healthy(self):
        try:
            r = requests.get(f"{self.url}/healthz", timeout=10).json()
            return r["status"] == "ok" and r["database"]
        except (requests.RequestException, ValueError, KeyError):
            return False

    def conninfo(self, role="takt_owner"):
        """Of the database, as that role; libconfuse's single quotes double a backslash and a quote."""
        quoted = re.search(r"^db = '(.*)'$", (self.state / "taktd.conf").read_text(), re.M)[1]
        return re.sub(r"\\(.)", r"\1", quoted) + f" user={role}"

    def has_type(self, name):
        status, body = self.api("GET", "/task-types")
        return status == 200 and name in json.dumps(body)

    def ready(self, *types):
        """Wait until the daemon answers and offers these task types."""
        wait_until(self.healthy, 60, f"health\n{self.logs()}")
        for t in types:
            wait_until(lambda: self.has_type(t), 60, f"task type {t}\n{self.logs()}\n{self.logs('executor')}")
        return self
