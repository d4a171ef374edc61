# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Shipped calendars come from files; times at which no engine ran are written down."""
import datetime as dt
import pathlib
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine  # noqa: E402
from pg import SOURCE, wait_until  # noqa: E402

SHIPPED = SOURCE / "conf/calendars.d"


def ics(*days):
    events = [f"BEGIN:VEVENT\r\nUID:{d}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;VALUE=DATE:{d:%Y%m%d}\r\nSUMMARY:Day {d}\r\nEND:VEVENT\r\n"
              for d in days]
    return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x\r\nX-WR-CALNAME:Our days\r\n" + "".join(events) + "END:VCALENDAR\r\n"


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="cal-", dir="/tmp") as folder:
        folder = pathlib.Path(folder)
        for file in SHIPPED.glob("*.ics"):
            shutil.copy(file, folder)
        yield folder


@pytest.fixture
def t(folder, monkeypatch):
    monkeypatch.setattr(Engine, "calendar_dirs", (folder,))
    with Engine() as engine:
        wait_until(lambda: engine.one("select count(*) from takt.calendar"), 30, "the calendars")
        yield engine


def days(t, name):
    return dict(t.sql("select d.day, d.reason from takt.calendar c join takt.calendar_day d on d.calendar_id = c.id where c.name = %s", name))


def version(t, name):
    return t.one("select version from takt.calendar where name = %s and org_id is null", name)


def reload(t):
    t.engine_process.send_signal(signal.SIGHUP)


def log(t):
    return (t.root / "engine.log").read_text()


def test_shipped_calendars_are_put_once(t):
    names = {f.stem for f in SHIPPED.glob("*.ics")}
    assert {n for (n,) in t.sql("select name from takt.calendar where org_id is null and source = 'shipped'")} == names
    assert days(t, "us-federal")[dt.date(2026, 12, 25)].startswith("Christmas")
    years = {d.year for d in days(t, "target")}
    assert min(years) == 2000 and max(years) == 2060
    t.kill_engine(signal.SIGTERM)
    t.start_engine()
    wait_until(lambda: t.one("select incarnation from takt.node") == 2, 30, "the engine to be back")
    reload(t)
    wait_until(lambda: "configuration read again" in log(t), 30, "the reload")
    assert {version(t, n) for n in names} == {1}
    assert log(t).count("shipped calendars:") == 1


def test_a_file_that_changes_moves_the_schedules_that_use_it(t, folder):
    today = t.one("select (now() at time zone 'UTC')::date")
    tomorrow, after = today + dt.timedelta(days=1), today + dt.timedelta(days=2)
    (folder / "own.ics").write_text(ics(tomorrow))
    reload(t)
    wait_until(lambda: version(t, "own") == 1, 30, "the new calendar")
    assert days(t, "own") == {tomorrow: f"Day {tomorrow}"}
    assert t.one("select title from takt.calendar where name = 'own'") == "Our days"
    task = t.task("hello", cron="30 23 * * *")
    t.sql("insert into takt.schedule_calendar (org_id, schedule_id, calendar_id, is_exclude) select %s, %s, id, true from takt.calendar "
          "where name = 'own'", t.org, task)
    t.sql("update takt.schedule set has_calendars = true, effective_from = %s, replan_from = now() where id = %s", tomorrow, task)
    t.sql("notify takt_schedule")

    def due_on(day):
        return lambda: t.one("select (next_due_at at time zone 'UTC')::date from takt.schedule where id = %s", task) == day
    wait_until(due_on(after), 30, "the day behind the holiday")
    (folder / "own.ics").write_text(ics(after, after + dt.timedelta(days=1)))
    reload(t)
    wait_until(lambda: version(t, "own") == 2, 30, "the changed calendar")
    assert set(days(t, "own")) == {after, after + dt.timedelta(days=1)}
    wait_until(due_on(tomorrow), 30, "the day that is free again")


def test_a_file_that_cannot_be_read_changes_nothing(t, folder):
    was = days(t, "us-federal")
    (folder / "us-federal.ics").write_text("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n")
    (folder / "Bad Name.ics").write_text(ics(dt.date(2026, 1, 1)))
    (folder / "other.ics").write_text(ics(dt.date(2026, 1, 1)))
    reload(t)
    wait_until(lambda: version(t, "other") == 1, 30, "the good one")
    assert days(t, "us-federal") == was and version(t, "us-federal") == 1
    assert "us-federal.ics stays as it is" in log(t) and "Bad Name.ics: a name is" in log(t)


def test_downtime_is_written_down(t):
    def restart(last):
        t.kill_engine()
        t.sql(f"update takt.node set lease_until = {last} where name = 'test-node'")
        incarnation = t.one("select incarnation from takt.node where name = 'test-node'")
        t.start_engine()
        wait_until(lambda: t.one("select incarnation from takt.node where name = 'test-node'") > incarnation, 30, "the engine to be back")
        return t.sql("select from_at, until_at from takt.downtime order by from_at")

    assert restart("now() - interval '20 s'") == []
    before = t.one("select now()")
    ((began, ended),) = restart("now() - interval '10 min'")
    assert before - dt.timedelta(minutes=10) <= began <= ended - dt.timedelta(minutes=10)
    assert ended >= before
    t.second_node()
    assert len(restart("now() - interval '20 min'")) == 1
