# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The engine makes partitions ahead, says when one is missing, and drops months older than retain_months."""
import pathlib
import signal
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/lib"), str(ROOT / "tests/bench")]
import history  # noqa: E402
from engine import Engine  # noqa: E402
from pg import wait_until  # noqa: E402

MONTHS = 5
SPANS = history.months(MONTHS)


@pytest.fixture
def rig():
    """Left without the checker: what was made up has gaps in its feed numbers."""
    t = Engine(plugins=("plugins/hello",))
    try:
        t.kill_engine(signal.SIGTERM)
        history.populate(t.pg, 600, MONTHS, 1)
        t.start_engine()
        yield t
    finally:
        t.close()


def said(t, text):
    return text in (t.root / "engine.log").read_text(errors="replace")


def reload(t, **conf):
    wait_until(lambda: said(t, "epoch 2"), 30, "the engine")
    t.write_conf(**conf)
    t.engine_process.send_signal(signal.SIGHUP)


def wait_dropped(t, n):
    """Until n months are gone. An autovacuum may be in the way: asked again at each refusal, not a minute later."""
    refused = [0]

    def is_done():
        now = (t.root / "engine.log").read_text(errors="replace").count("cannot be dropped yet")
        if now > refused[0]:
            refused[0] = now
            t.engine_process.send_signal(signal.SIGHUP)
        return t.one("select count(*) from takt.dropped_month") == n
    wait_until(is_done, 120, f"{n} months to go")


def months_left(t):
    return t.sql("select p from takt.partitions_before('run', '9999-01-01') p where p !~ 'kept' order by 1")


def test_months_go_when_the_setting_is_read(rig):
    everything = months_left(rig)
    reload(rig, retain_months=2)
    wait_dropped(rig, MONTHS - 3)
    assert months_left(rig) == everything[MONTHS - 3:]
    assert said(rig, f"history of {SPANS[0][0]:%Y-%m-%d} is dropped: 20 runs moved aside")
    assert rig.one("select count(*) from takt.run where state is null and id < takt.uuid_floor(%s)", SPANS[1][0]) == 20
    assert rig.wait_end(rig.run(rig.task("hello"))) == "completed"
    wait_until(lambda: rig.one("select count(*) from pg_class where relname ~ '^dropped_.*[0-9]{6}$'") == 0, 60, "its room to be freed")


def test_a_reader_is_named_and_the_month_goes_later(rig):
    with rig.pg.connect("takt_auditor") as reader, reader.transaction():
        reader.execute("select count(*) from takt.run")
        reload(rig, retain_months=3)
        wait_until(lambda: said(rig, f"cannot be dropped yet, trying again: in use by pid {reader.info.backend_pid}"), 60, "the warning")
        run = rig.run(rig.task("hello"))
        assert rig.wait_end(run) == "completed"
        assert rig.one("select count(*) from takt.dropped_month") == 0
    reload(rig, retain_months=3)
    wait_dropped(rig, 1)
    assert rig.one("select month from takt.dropped_month") == SPANS[0][0].date()


def test_an_engine_killed_meanwhile_does_not_matter(rig):
    """A reader keeps it waiting; the engine dies; the next one finds everything as it was and drops it."""
    before = months_left(rig)
    rig.write_conf(retain_months=3)
    with rig.pg.connect("takt_auditor") as reader, reader.transaction():
        reader.execute("select count(*) from takt.event")
        rig.engine_process.send_signal(signal.SIGHUP)
        wait_until(lambda: rig.one("select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'")
                   or said(rig, "cannot be dropped yet"), 60, "it to wait")
        rig.kill_engine()
        assert months_left(rig) == before
    rig.start_engine()
    wait_dropped(rig, 1)
    assert rig.wait_end(rig.run(rig.task("hello"))) == "completed"


def test_nothing_goes_without_the_setting(rig):
    before = months_left(rig)
    reload(rig)
    wait_until(lambda: said(rig, "configuration read again"), 30, "the reload")
    assert rig.wait_end(rig.run(rig.task("hello"))) == "completed"
    assert months_left(rig) == before


def test_missing_partitions_are_an_alarm(rig):
    assert rig.wait_end(rig.run(rig.task("hello"))) == "completed"  # entering the node makes partitions too
    rig.pg.sql("revoke execute on function takt.make_partitions(date, int) from takt_engine")
    this_month = f"output_{SPANS[-1][0]:%Y%m}"
    rig.pg.sql(f"drop table takt.{this_month}")
    reload(rig)
    wait_until(lambda: said(rig, "partitions cannot be made ahead"), 30, "what failed")
    wait_until(lambda: said(rig, f"there is no partition {this_month}"), 30, "the alarm")
