# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""lib/base/failpoints.def for tests: the table, and arming points in processes that run already.

    with Failpoints() as points:            # TAKT_FAILPOINTS_DIR of what is started from now on
        points.arm("record.sent", "crash")
        … points.has_fired("record.sent")
"""
import os
import pathlib
import re
import shutil
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TAKT_BUILD", SOURCE / "build"))


def table():
    """[(name, process)] in the order of the file."""
    text = (SOURCE / "lib/base/failpoints.def").read_text(encoding="utf-8")
    return re.findall(r'^FAILPOINT_ROW\("([\w.]+)", (\w+), ', text, re.M)


def names(*processes):
    return [name for name, process in table() if process in processes]


def are_built():
    """True if the programs under test were configured with --enable-failpoints."""
    return "#define HAVE_FAILPOINTS 1" in (BUILD / "config.h").read_text(encoding="utf-8")


class Failpoints:
    def __init__(self, directory=None):
        self.dir = pathlib.Path(directory or tempfile.mkdtemp(prefix="tfp-", dir="/tmp"))
        self.dir.mkdir(exist_ok=True)
        self.dir.chmod(0o777)  # the gateway is another user

    def arm(self, name, action):
        """action: crash, stop, sleep=MS, powerloss, each with :nth after it if not the first passing."""
        for old in (name, f"{name}.count"):
            (self.dir / old).unlink(missing_ok=True)
        half = self.dir / f".{name}"
        half.write_text(action, encoding="ascii")
        half.rename(self.dir / f"{name}.arm")

    def disarm(self, name):
        (self.dir / f"{name}.arm").unlink(missing_ok=True)

    def has_fired(self, name):
        return (self.dir / name).exists()

    def __enter__(self):
        os.environ["TAKT_FAILPOINTS_DIR"] = str(self.dir)
        return self

    def __exit__(self, *_):
        del os.environ["TAKT_FAILPOINTS_DIR"]
        shutil.rmtree(self.dir, ignore_errors=True)
