# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""`takt dev --db` on a server that exists, and `takt dev` as another user than root."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import psycopg
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from dev import BUILD, HELLO, SOURCE, Dev  # noqa: E402
from pg import Pg  # noqa: E402


def test_an_existing_server_gets_database_and_schema_and_keeps_running():
    with Pg() as pg:
        with psycopg.connect(f"host={pg.host} dbname=postgres user=postgres", autocommit=True) as c:
            c.execute("drop database takt with (force)")
        conninfo = f"host={pg.host} dbname=takt user=postgres"
        with Dev(plugin_dirs=[HELLO], args=["--db", conninfo]) as dev:
            dev.ready("hello")
            assert dev.pid("postgres") is None
            dev.ok("task", "create", "-", input=json.dumps({"name": "t", "task_type": "hello", "parameters": {"name": "x"}}))
            assert dev.takt("task", "run", "t", "--wait").returncode == 0
            assert "user=" not in (dev.state / "taktd.conf").read_text()
        assert pg.sql("select count(*) from takt.run")


def test_what_may_not_be_made_is_listed_for_an_administrator():
    with Pg() as pg:
        with psycopg.connect(f"host={pg.host} dbname=postgres user=postgres", autocommit=True) as c:
            c.execute("drop database takt with (force)")
        with tempfile.TemporaryDirectory() as d:
            p = subprocess.run([BUILD / "takt", "dev", "--state", d, "--listen", "127.0.0.1:0", "--db",
                                f"host={pg.host} dbname=takt user=takt_auditor"], capture_output=True, text=True, timeout=60)
        assert p.returncode != 0
        assert 'create database "takt" owner takt_owner;' in p.stderr and "--db" in p.stderr


@pytest.mark.parametrize("conninfo", ["nonsense", "host=/nowhere dbname=takt"])
def test_a_bad_connection_string_is_told(conninfo):
    with tempfile.TemporaryDirectory() as d:
        p = subprocess.run([BUILD / "takt", "dev", "--state", d, "--listen", "127.0.0.1:0", "--db", conninfo],
                           capture_output=True, text=True, timeout=60)
    assert p.returncode != 0 and "--db" in p.stderr


def test_as_another_user_than_root():
    if os.geteuid() != 0:
        pytest.skip("the other tests ran as such a user")
    root = pathlib.Path(tempfile.mkdtemp(prefix="tkd-", dir="/tmp"))
    shutil.chown(root, "daemon", "daemon")
    bin = root / "bin"  # a copy: the build tree may lie where only root can go
    (bin / "plugins").mkdir(parents=True)
    for name in ("takt", "taktd", "takt-executor", "plugins/hello"):
        (shutil.copytree if name.startswith("plugins") else shutil.copy)(BUILD / name, bin / name)
    shutil.copytree(SOURCE / "conf/platforms.d", bin / "conf/platforms.d")
    p = subprocess.Popen(["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "--pdeathsig", "TERM", bin / "takt",
                          "dev", "--state", root / "state", "--listen", "127.0.0.1:0", "--plugin-dir", bin / "plugins/hello"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")
    try:
        said = ""
        while not said.startswith("ready ") and (line := p.stdout.readline()):
            said = line
        assert said.startswith("ready "), said
        q = subprocess.run([BUILD / "takt", "--state", root / "state", "health"], capture_output=True, text=True)
        assert q.returncode == 0, q
    finally:
        p.terminate()
        p.communicate(timeout=90)
        shutil.rmtree(root)
    assert p.returncode == 0


def test_a_long_path_gets_its_sockets_elsewhere():
    root = pathlib.Path(tempfile.mkdtemp(prefix="tkd-", dir="/tmp"))
    os.chmod(root, 0o755)
    deep = root / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with Dev(plugin_dirs=[HELLO], root=deep) as dev:
        dev.ready("hello")
        elsewhere = pathlib.Path((dev.state / "run-path").read_text())
        assert elsewhere.is_dir() and str(elsewhere) in dev.said()
        dev.stop()
        assert not elsewhere.exists() and not (dev.state / "run-path").exists()
    shutil.rmtree(root)
