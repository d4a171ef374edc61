# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""taktd's parent with the real main.c and roles that only tell what they see (tests/lib/taktd_probe.c)."""
import json
import os
import pathlib
import pwd
import queue
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from pg import BUILD, Pg, wait_until  # noqa: E402

PROBE = BUILD / "tests/lib/taktd_probe"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes user: needs root")


class Taktd:
    def __init__(self, directory, args=(), env=None, pass_fds=(), **settings):
        self.directory = directory
        self.file = directory / "taktd.conf"
        self.settings = {"state_dir": str(directory), "platform_dirs": [str(directory)], "auto_migrate": "false",
                         "node_name": "n1", **settings}
        self.write()
        self.process = subprocess.Popen([PROBE, "-c", self.file, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, pass_fds=pass_fds,
                                        env={**os.environ, "NOTIFY_SOCKET": "", **(env or {})})
        self.facts = queue.Queue()
        self.log = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_log, daemon=True).start()

    def write(self, **settings):
        self.settings.update(settings)

        def value(v):
            return "{" + ", ".join(f'"{x}"' for x in v) + "}" if isinstance(v, list) else f'"{v}"'
        self.file.write_text("".join(f"{k} = {value(v)}\n" for k, v in self.settings.items()))

    def _read(self):
        for line in self.process.stdout:
            self.facts.put(json.loads(line))

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line)

    def wait_log(self, words):
        return wait_until(lambda: [l for l in self.log if words in l], what=f"'{words}' in the log")

    def fact(self, what, n=2):
        """The next n facts, all of them `what`; by role."""
        got = [self.facts.get(timeout=40) for _ in range(n)]
        assert [f["what"] for f in got] == [what] * n, got
        return {f["role"]: f for f in got}

    def end(self, status=0, limit_s=40):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(limit_s) == status, "".join(self.log)


@pytest.fixture
def start(tmp_path):
    made = []

    def make(*args, **settings):
        made.append(Taktd(tmp_path, args, **settings))
        return made[-1]
    yield make
    for t in made:
        if t.process.poll() is None:
            t.process.kill()
        t.process.wait()


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_roles_start_and_stop(start):
    t = start()
    roles = t.fact("start")
    assert set(roles) == {"engine", "gateway"}
    for fact in roles.values():
        assert fact["ppid"] == t.process.pid and fact["core"] == 0 and fact["node_name"] == "n1"
    assert roles["gateway"]["no_new_privs"] == 1
    assert pathlib.Path(f"/proc/{roles['engine']['pid']}/comm").read_text() == "taktd-engine\n"
    t.end()
    assert set(t.fact("term")) == {"engine", "gateway"}
    assert not any(is_alive(f["pid"]) for f in roles.values())


def test_only_the_roles_named(start):
    t = start(roles=["gateway"])
    assert set(t.fact("start", 1)) == {"gateway"}
    t.end()


@as_root
def test_the_gateway_runs_as_its_user(start, tmp_path):
    """It cannot read the file itself (the directory is closed to it), and cannot become root again."""
    tmp_path.chmod(0o700)
    t = start(gateway_user="nobody")
    t.file.chmod(0o600)
    roles = t.fact("start")
    nobody = pwd.getpwnam("nobody")
    assert (roles["gateway"]["uid"], roles["gateway"]["gid"]) == (nobody.pw_uid, nobody.pw_gid)
    assert not roles["gateway"]["can_be_root"]
    assert roles["engine"]["uid"] == 0
    groups = [l for l in pathlib.Path(f"/proc/{roles['gateway']['pid']}/status").read_text().splitlines()
              if l.startswith("Groups:")]
    assert groups[0].split()[1:] == [str(nobody.pw_gid)]
    t.write(max_units=9)
    t.process.send_signal(signal.SIGHUP)
    assert {f["max_units"] for f in t.fact("reload").values()} == {9}
    t.end()


@as_root
def test_a_gateway_taken_over_gains_nothing(start):
    """What the engine reads it cannot write; what root's environment held it does not have."""
    t = start(gateway_user="nobody", env={"SECRET": "of root", "PGPASSWORD": "x", "PGAPPNAME": "y"})
    pid = t.fact("start")["gateway"]["pid"]
    flags = re.search(r"^flags:\s*(\d+)", pathlib.Path(f"/proc/{pid}/fdinfo/3").read_text(), re.M).group(1)
    assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh", "-c"]
    assert subprocess.run([*as_nobody, f"echo x >>/proc/{pid}/fd/3"], stderr=subprocess.DEVNULL, check=False).returncode != 0
    assert os.stat(f"/proc/{pid}/fd/3").st_mode & 0o222 == 0
    environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert b"PGAPPNAME=y" in environment
    assert not [v for v in environment if v.startswith((b"SECRET=", b"PGPASSWORD=", b"NOTIFY_SOCKET="))]
    if b"__asan_init" not in PROBE.read_bytes():  # else its memory is open: the leak check needs that
        assert subprocess.run([*as_nobody, f"cat /proc/{pid}/environ"], capture_output=True, check=False).returncode != 0
    t.end()


def test_a_role_that_dies_is_started_again(start):
    t = start()
    first = t.fact("start")["engine"]["pid"]
    os.kill(first, signal.SIGKILL)
    assert t.fact("start", 1)["engine"]["pid"] != first
    t.wait_log("engine was ended by signal 9")
    t.end()


def test_a_role_that_fails_is_throttled(start, tmp_path):
    (tmp_path / "fail").touch()
    t = start(roles=["engine"])
    for _ in range(4):
        t.fact("start", 1)
    for delay in ("0.2", "0.4", "0.8", "1.6"):  # the last: the fourth start has seen the file, too
        t.wait_log(f"engine ended with status 3; again in {delay} s")
    (tmp_path / "fail").unlink()
    t.fact("start", 1)
    t.end()


def test_kill_of_the_parent_takes_the_roles_with_it(start):
    t = start()
    roles = t.fact("start")
    t.process.kill()
    wait_until(lambda: not any(is_alive(f["pid"]) for f in roles.values()))


@as_root
def test_kill_of_the_parent_takes_a_gateway_of_another_user_too(start):
    t = start(gateway_user="nobody")
    pid = t.fact("start")["gateway"]["pid"]
    t.process.kill()
    wait_until(lambda: not is_alive(pid))


def test_a_deaf_role_is_killed(start, tmp_path):
    (tmp_path / "deaf").touch()
    t = start()
    roles = t.fact("start")
    t.end()
    assert any("did not end within 10 s" in l for l in t.log)
    assert not any(is_alive(f["pid"]) for f in roles.values())


def test_the_second_stop_signal_kills_at_once(start, tmp_path):
    (tmp_path / "deaf").touch()
    t = start()
    t.fact("start")
    t.process.send_signal(signal.SIGTERM)
    t.fact("term")
    t.process.send_signal(signal.SIGINT)
    assert t.process.wait(40) == 0
    assert not any("did not end" in l for l in t.log)


def test_reload(start):
    t = start(max_units=5)
    pids = {r: f["pid"] for r, f in t.fact("start").items()}
    t.write(max_units=7)
    t.process.send_signal(signal.SIGHUP)
    again = t.fact("reload")
    assert {r: f["pid"] for r, f in again.items()} == pids
    assert {f["max_units"] for f in again.values()} == {7}
    t.end()


def test_a_bad_file_changes_nothing(start):
    t = start(max_units=5)
    pid = t.fact("start")["engine"]["pid"]
    t.write(max_units=0)
    t.process.send_signal(signal.SIGHUP)
    line = t.wait_log("the configuration stays as it was")[0]
    assert f"max_units: {t.file}:5: bad value '0' (Give a whole number from 1 to 10000.)" in line
    os.kill(pid, signal.SIGKILL)  # one that starts now gets the old text too
    assert t.fact("start", 1)["engine"]["max_units"] == 5
    t.end()


def test_what_needs_a_restart_is_said(start):
    t = start()
    t.fact("start")
    t.write(listen="127.0.0.1:9")
    t.process.send_signal(signal.SIGHUP)
    t.wait_log("listen has changed; that takes effect when taktd is started again")
    t.end()


def test_started_without_standard_descriptors(tmp_path):
    """Nothing opened later takes their numbers: log lines would go into it, into the configuration too."""
    file = tmp_path / "c"
    file.write_text(f'state_dir = "{tmp_path}"\nplatform_dirs = {{"{tmp_path}"}}\nauto_migrate = false\n')
    p = subprocess.Popen(["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', PROBE, file])
    try:
        fds = pathlib.Path(f"/proc/{p.pid}/fd")

        def has_configuration():
            try:
                return any("memfd:taktd.conf" in os.readlink(f) for f in fds.iterdir())
            except FileNotFoundError:
                return False
        wait_until(has_configuration, what="the configuration in memory")
        assert {os.readlink(fds / n) for n in "012"} == {"/dev/null"}
    finally:
        p.terminate()
        assert p.wait(40) == 0


def test_roles_inherit_no_descriptor(tmp_path):
    """Only standard ones and the configuration, whatever taktd itself was started with."""
    with open(tmp_path / "secret", "w", encoding="utf-8") as f:
        t = Taktd(tmp_path, pass_fds=[f.fileno()])
        try:
            for fact in t.fact("start").values():
                files = {os.readlink(p) for p in pathlib.Path(f"/proc/{fact['pid']}/fd").iterdir()}
                assert f.name not in files and any("taktd.conf" in name for name in files)
                assert b"NOTIFY_SOCKET" not in pathlib.Path(f"/proc/{fact['pid']}/environ").read_bytes()
            t.end()
        finally:
            t.process.kill()
            t.process.wait()


def test_readiness_is_told(start, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "n"))
        s.settimeout(40)
        t = start(env={"NOTIFY_SOCKET": str(tmp_path / "n")})
        assert s.recv(100) == b"READY=1"
        t.fact("start")
        t.process.send_signal(signal.SIGTERM)
        assert s.recv(100) == b"STOPPING=1"
        t.end()


def test_the_schema_is_made_before_the_roles_start(start):
    with Pg() as pg:
        pg.sql("drop schema takt")  # not ready yet: the parent tries again
        t = start(auto_migrate="true", db=pg.conninfo)
        t.wait_log("has no schema takt")
        assert t.facts.empty()
        pg.sql("create schema takt authorization takt_owner")
        t.fact("start")
        assert pg.sql("select count(*) from takt.run_state") == [(12,)]
        t.end()


def test_a_newer_schema_is_refused(start):
    with Pg() as pg:
        pg.migrate()
        pg.sql("insert into takt.schema_version values (999, 'of_tomorrow')")
        t = start(auto_migrate="true", db=pg.conninfo)
        assert t.process.wait(40) == 1
        assert t.facts.empty()
        last = max(int(p.name[:4]) for p in (pathlib.Path(__file__).resolve().parents[2] / "sql/migrations").glob("*.sql"))
        assert any(f"schema version 999, this program knows versions up to {last}" in l for l in t.log)


def run(*args):
    return subprocess.run([PROBE, *args], capture_output=True, text=True, timeout=60)


def test_check(tmp_path):
    file = tmp_path / "c"
    file.write_text(f'state_dir = "{tmp_path}"\nplatform_dirs = {{"{tmp_path}"}}\n')
    good = run("-n", "-c", file)
    assert (good.returncode, good.stdout) == (0, f"taktd: {file} is good\n")
    file.write_text("log_level = loud\n")
    bad = run("-n", "-c", file)
    assert bad.returncode == 2
    assert bad.stderr == (f"taktd: log_level: {file}:1: bad value 'loud' "
                          "(Use error, warn, info or debug.)\n")
    file.write_text(f'state_dir = "{tmp_path}/none"\n')
    assert run("-n", "-c", file).returncode == 2
    assert run("-c", tmp_path / "absent").returncode == 2


@pytest.mark.parametrize("args,words", [(["--nonsense"], "usage:"), (["extra"], "'extra'"), (["-T", "nowhere"], "'nowhere'"),
                                        (["-x", "boss"], "'boss'")])
def test_usage_errors(args, words):
    result = run(*args)
    assert result.returncode == 64 and words in result.stderr


def test_help_and_version():
    assert run("--help").stdout.startswith("usage: taktd") and run("--version").stdout.startswith("taktd 0.")


def test_migrate_once(tmp_path):
    file = tmp_path / "c"
    with Pg() as pg:
        file.write_text(f'db = "{pg.conninfo}"\n')
        assert run("--migrate", "-c", file).returncode == 0
        assert run("--migrate", "-c", file).returncode == 0
        assert pg.sql("select count(*) > 1 from takt.schema_version") == [(True,)]


ROOT = pathlib.Path(__file__).resolve().parents[2]
OPTIONS = re.findall(r'^\s+\{ ?"(\w+)", (?:true|false), \{(.*)\}, set_', (ROOT / "daemon/main/conf.c").read_text(), re.M)


def test_the_sample_shows_every_option_with_its_default(tmp_path):
    sample = (ROOT / "conf/taktd.conf").read_text()
    lines = re.findall(r"^#(\w+ = .*)$", sample, re.M)
    assert [l.split(" = ")[0] for l in lines] == [name for name, _ in OPTIONS] and len(OPTIONS) == 14
    file = tmp_path / "c"
    for text in (sample, "\n".join(lines) + "\n"):
        file.write_text(text)
        result = run("-x", "migrate", "-c", file, "-n")  # no look at the host, which has no /var/lib/takt
        assert result.returncode == 0, result.stderr
    for (name, default), line in zip(OPTIONS, lines):
        if "PKGDATADIR" not in default:
            assert re.findall(r"[^\s{},\"]+", default.replace('"', " ")) == \
                re.findall(r"[^\s{},\"]+", line.split(" = ", 1)[1].replace('"', " ")), name


def test_the_manual_tells_every_option():
    page = (ROOT / "packaging/man/taktd.conf.5").read_text()
    assert re.findall(r"^\.It Ic (\w+)$", page, re.M) == [name for name, _ in OPTIONS]
    usage = set(re.findall(r"--(\w+)", run("--help").stdout))
    assert usage and all(f"Fl Fl {word}" in (ROOT / "packaging/man/taktd.8").read_text() for word in usage)
