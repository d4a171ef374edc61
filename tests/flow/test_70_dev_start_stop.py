# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""`takt dev`: starts, refuses a second one, restarts what is killed, leaves nothing; also after its own kill -9."""
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from dev import BUILD, HELLO, Dev, alive, wait_until  # noqa: E402


@pytest.fixture(scope="module")
def dev():
    with Dev(plugin_dirs=[HELLO]) as d:
        yield d.ready("hello")


def run_hello(dev, name):
    task = {"name": name, "task_type": "hello", "parameters": {"name": "world"}}
    dev.ok("task", "create", "-", input=json.dumps(task))
    p = dev.takt("task", "run", name, "--wait")
    assert p.returncode == 0, p.stdout + p.stderr + dev.logs()


def test_says_where_it_is_and_keeps_its_secret(dev):
    said = dev.said()
    assert dev.url in said and str(dev.state) in said and f"ready {dev.url}" in said
    assert dev.token not in said
    assert stat.S_IMODE(os.stat(dev.state / "client.json").st_mode) == 0o600
    for pid, _ in dev.processes():
        for f in ("cmdline", "environ"):
            assert dev.token.encode() not in pathlib.Path(f"/proc/{pid}/{f}").read_bytes()


def test_database_listens_on_no_network_and_syncs(dev):
    import psycopg
    host = dev.state / "run"
    with psycopg.connect(f"host={host} dbname=takt user=takt_owner") as c:
        show = lambda name: c.execute(f"show {name}").fetchone()[0]  # noqa: E731
        assert show("listen_addresses") == "" and show("fsync") == "on" and show("lc_collate") == "C.UTF-8"


def test_other_users_are_refused_by_the_database(dev):
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    for user, role, works in (("nobody", "takt_gateway", True), ("nobody", "takt_engine", False),
                              ("nobody", "takt_owner", False), ("daemon", "takt_gateway", False)):
        p = subprocess.run(["setpriv", f"--reuid={user}", "--clear-groups", "psql", "-Atc", "select 1",
                            f"host={dev.state}/run dbname=takt user={role}"], capture_output=True, text=True)
        assert (p.returncode == 0) == works, (user, role, p.stderr)


def test_a_second_start_is_refused(dev):
    p = subprocess.run([BUILD / "takt", "dev", "--state", dev.state, "--listen", "127.0.0.1:0"], capture_output=True,
                       text=True, timeout=60)
    assert p.returncode == 2 and "--state" in p.stderr
    assert dev.healthy()


def test_a_taken_port_is_refused(dev, tmp_path):
    p = subprocess.run([BUILD / "takt", "dev", "--state", "/tmp/tkd-port", "--listen", dev.url.removeprefix("http://")],
                       capture_output=True, text=True, timeout=60)
    subprocess.run(["rm", "-rf", "/tmp/tkd-port"], check=True)
    assert p.returncode != 0 and "--listen" in p.stderr


def test_children_are_in_sessions_of_their_own(dev):
    for name in ("taktd", "executor", "postgres"):
        pid = dev.pid(name)
        assert os.getsid(pid) == pid


@pytest.mark.parametrize("name", ["taktd", "executor", "postgres"])
def test_a_killed_child_is_started_again(dev, name):
    old = dev.kill9(name)
    new = wait_until(lambda: dev.pid(name) not in (None, old) and dev.pid(name), 60, f"a new {name}")
    assert new != old
    dev.ready("hello")
    wait_until(lambda: dev.takt("health").returncode == 0, 60, "health")
    run_hello(dev, f"after the end of {name}")
    assert f"{name} (pid {old}) was ended by signal 9" in dev.said()


def test_postgres_killed_while_a_backend_works(dev):
    """The new server waits for the old one's backends: two on one directory would destroy it."""
    busy = subprocess.Popen(["psql", "-Atc", "select count(*) from generate_series(1, 20000000)",
                             f"host={dev.state}/run dbname=takt user=takt_owner"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    old = dev.kill9("postgres")
    wait_until(lambda: dev.pid("postgres") not in (None, old), 60, "a new postgres")
    busy.wait(60)
    wait_until(lambda: dev.takt("health").returncode == 0, 60, "health")
    dev.ready("hello")
    run_hello(dev, "after a busy end")
    assert "PANIC" not in dev.logs("postgres")


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_stop_leaves_nothing_and_the_state_is_kept(sig):
    with Dev(plugin_dirs=[HELLO]) as d:
        d.ready("hello")
        run_hello(d, "kept")
        token = d.token
        assert d.stop(sig) == 0
        assert d.processes() == [] and list((d.state / "pid").iterdir()) == []
        d.start().ready("hello")
        assert d.token == token
        assert [t["name"] for t in d.json("task", "list")] == ["kept"]
        assert len(d.json("run", "list")) == 1


def test_killed_dev_is_cleaned_up_by_the_next():
    with Dev(plugin_dirs=[HELLO]) as d:
        d.ready("hello")
        old = {n: d.pid(n) for n in ("taktd", "executor", "postgres")}
        d.process.kill()
        d.process.wait()
        wait_until(lambda: not alive(old["taktd"]), 60, "taktd's end")
        d.start().ready("hello")
        assert not any(alive(p) for p in old.values())
        run_hello(d, "after all")


def test_a_closed_way_to_the_state_is_told():
    if os.geteuid() != 0:
        pytest.skip("as one user everything is reachable")
    root = pathlib.Path("/tmp") / f"tkd-closed-{os.getpid()}"
    root.mkdir(mode=0o700)
    try:
        p = subprocess.run([BUILD / "takt", "dev", "--state", root / "s", "--listen", "127.0.0.1:0"], capture_output=True,
                           text=True, timeout=60)
        assert p.returncode == 2 and str(root) in p.stderr and "--state" in p.stderr
    finally:
        subprocess.run(["rm", "-rf", root], check=True)
