# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""`make dist` leaves no file of the source tree out."""
import os
import pathlib
import shutil
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TAKT_BUILD", SOURCE / "build")).resolve()


def test_the_tarball_holds_every_file_of_the_repository(tmp_path):
    listing = subprocess.run(["git", "-C", SOURCE, "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listing.returncode or not (SOURCE / ".git").exists():
        pytest.skip("not a git clone")
    tracked = {f for f in listing.stdout.split("\0") if f and (SOURCE / f).exists()}
    top = tmp_path / "dist"
    try:
        subprocess.run(["make", "-s", "-C", BUILD, "distdir", f"distdir={top}"], check=True, stdout=subprocess.DEVNULL)
        packed = {str(p.relative_to(top)) for p in top.rglob("*") if p.is_file()}
    finally:
        shutil.rmtree(top, ignore_errors=True)
    assert "configure" in packed
    assert sorted(tracked - packed) == []
    assert sorted(f for f in packed if f.endswith((".o", ".pyc", ".so"))) == []
