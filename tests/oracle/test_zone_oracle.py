# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The reader of TZif files against Python's zoneinfo, for every zone and link of the tzdata folder, 1900 to 2100."""

import os
import pathlib
import random
import zoneinfo
from datetime import datetime

import when_cases as cases
import when_oracle as w

FOLDER = pathlib.Path(zoneinfo.TZPATH[0])
BATCH = cases.BUILD / "tests" / "oracle" / "cron-batch"
FIRST, LAST = cases.at("1900-01-01"), cases.at("2100-01-01")
INSTANTS = 520


def version():
    return (FOLDER / "tzdata.zi").open().readline().split()[-1]


def zones_of_folder():
    """Names of the TZif files; not the two copies of the tree, and not Debian's name for the system's own zone."""
    for folder, _, files in os.walk(FOLDER):
        for name in files:
            path = pathlib.Path(folder) / name
            zone = str(path.relative_to(FOLDER))
            if not zone.startswith(("posix/", "right/")) and zone != "localtime" and path.open("rb").read(4) == b"TZif":
                yield zone


def instants(rng, tz):
    """Both sides of clock changes, as many as there are up to 200, of them at least some after the file's table; any others."""
    changes = w.changes_between(tz, FIRST, LAST, step=30 * w.DAY)
    late = [c for c in changes if c > cases.at("2037-12-31")]
    picked = set(rng.sample(changes, min(80, len(changes))) + rng.sample(late, min(20, len(late))))
    out = [t for c in sorted(picked) for t in (c - 1, c)]
    return out + [rng.randrange(FIRST, LAST) for _ in range(INSTANTS - len(out))]


def test_every_zone_agrees_with_zoneinfo(capsys):
    rng = random.Random(cases.SEED + 1)
    zones = sorted(zones_of_folder())
    lines, want, around = [], [], 0
    for zone in zones:
        tz = zoneinfo.ZoneInfo(zone)
        asked = instants(rng, tz)
        around += sum(b == a + 1 for a, b in zip(asked, asked[1:]))
        lines.append(f"@zone\t{zone}\t" + " ".join(map(str, asked)))
        want.append([f"{w.offset(tz, t)}/{datetime.fromtimestamp(t, tz).tzname()}" for t in asked])
    wrong = []
    for zone, line, answer, expect in zip(zones, lines, cases.ask(BATCH, lines), want):
        got = ["/".join(x.split("/")[::2]) for x in answer.split()]
        if got != expect:
            at = [(t, g, e) for t, g, e in zip(line.split("\t")[2].split(), got, expect) if g != e]
            wrong.append((zone, at[:2] or answer[:100]))
    with capsys.disabled():
        print(f"\nzones: tzdata {version()} in {FOLDER}, {len(zones)} zones and links, {sum(map(len, want))} instants from 1900 to 2100, "
              f"at least {min(map(len, want))} each; both sides of {around} clock changes; {len(wrong)} zones differ")
    assert not wrong, wrong[:5]
    assert len(zones) >= 590 and set(zones) >= zoneinfo.available_timezones() - {"localtime"}
    assert min(map(len, want)) >= 500
