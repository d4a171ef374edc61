# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The libraries for Node that are asked for a second opinion, pinned in peers/package-lock.json. npm installs them into the build tree once;
without node or a network the tests that want them are skipped."""

import fcntl
import pathlib
import shutil
import subprocess

import pytest
import when_cases as cases

HERE = pathlib.Path(__file__).resolve().parent / "peers"


@pytest.fixture(scope="session")
def node_folder():
    """Where peers/*.js can be run."""
    if not shutil.which("node"):
        pytest.skip("there is no node: croner, cron-parser and date-holidays were NOT asked")
    folder = cases.BUILD / "oracle" / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / "lock", "w") as lock:  # one of several pytest processes installs
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in HERE.iterdir():
            shutil.copyfile(path, folder / path.name)
        wanted, done = folder / "package-lock.json", folder / "node_modules" / ".takt-lock"
        if not done.exists() or done.read_bytes() != wanted.read_bytes():
            got = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=folder, timeout=300,
                                 capture_output=True, text=True)
            if got.returncode:
                pytest.skip("npm cannot install them: croner, cron-parser and date-holidays were NOT asked "
                            f"({(got.stderr or got.stdout)[-200:].strip()})")
            done.write_bytes(wanted.read_bytes())
    return folder
