# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""`takt dev` ended before it is ready, on strange paths, in a directory of somebody else's."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from dev import BUILD, HELLO, SOURCE, Dev, wait_until  # noqa: E402

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes user: needs root")


@pytest.fixture
def dev():
    d = Dev(plugin_dirs=[HELLO])
    try:
        yield d
    finally:
        d.remove()


def in_initdb(dev):
    dev.spawn()
    wait_until(lambda: dev.pid("initdb") and (dev.state / "pg.new/base").exists(), what=f"initdb: {dev.said()}")


def test_ctrl_c_during_initdb_ends_at_once(dev):
    in_initdb(dev)
    assert dev.stop(signal.SIGINT) == 0
    assert not (dev.state / "pg").exists() and "stopped" in dev.said()
    assert dev.processes() == []
    dev.start()


def test_dev_killed_during_initdb_takes_it_along(dev):
    in_initdb(dev)
    dev.process.kill()
    dev.process.wait()
    wait_until(lambda: not dev.processes(), what=f"the end of initdb: {dev.processes()}")
    dev.start()


def test_children_inherit_no_descriptor(dev):
    with open(dev.root / "secret", "w", encoding="utf-8") as secret:
        os.set_inheritable(secret.fileno(), True)
        dev.inherit = (secret.fileno(),)
        dev.start()
        for name in ("postgres", "executor", "taktd"):
            files = {os.readlink(f) for f in pathlib.Path(f"/proc/{dev.pid(name)}/fd").iterdir()}
            assert secret.name not in files, name


@pytest.mark.parametrize("name", ["with space", "it's", 'a"b', "a,b", "a\\b", "${HOME}", "ü"])
def test_any_path_will_do(name):
    root = pathlib.Path(tempfile.mkdtemp(prefix="tkd-", dir="/tmp"))
    os.chmod(root, 0o755)
    (root / name).mkdir()
    shutil.copytree(SOURCE / "conf/platforms.d", root / name / "platforms")
    try:
        with Dev(root=root / name, plugin_dirs=[HELLO], platform_dirs=[os.path.relpath(root / name / "platforms")]) as dev:
            dev.ready("hello")
    finally:
        shutil.rmtree(root)


@as_root
def test_a_directory_of_somebody_elses_is_refused():
    root = pathlib.Path(tempfile.mkdtemp(prefix="tkd-", dir="/tmp"))
    os.chmod(root, 0o755)
    try:
        (root / "state").mkdir(mode=0o755)
        shutil.chown(root / "state", "nobody", "nogroup")
        q = subprocess.run([BUILD / "takt", "dev", "--state", root / "state"], capture_output=True, text=True)
        assert q.returncode != 0 and "--state" in q.stderr and "belongs to user id" in q.stderr
        assert list((root / "state").iterdir()) == []
    finally:
        shutil.rmtree(root)
