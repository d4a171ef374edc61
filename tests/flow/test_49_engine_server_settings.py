# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""An existing server may be set up for anything: what a session inherits must not change what Takt does."""
import datetime as dt
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine  # noqa: E402
from pg import wait_until  # noqa: E402

SETTINGS = {"timezone": "Asia/Kolkata", "datestyle": "SQL, DMY", "intervalstyle": "sql_standard",
            "bytea_output": "escape", "default_transaction_isolation": "serializable", "extra_float_digits": "-15",
            "lc_messages": "C", "standard_conforming_strings": "off", "statement_timeout": "1",
            "default_transaction_read_only": "off", "row_security": "on", "search_path": "pg_catalog"}


def test_settings_of_the_server_change_nothing():
    with Engine() as t:
        for name, value in SETTINGS.items():
            t.pg.sql(f"alter role takt_engine set {name} to '{value}'" if name != "datestyle" else
                     f"alter role takt_engine set datestyle to {value}")
        t.kill_engine()
        before = t.one("select incarnation from takt.node")
        t.start_engine()
        wait_until(lambda: t.one("select incarnation from takt.node") > before, 30, "the engine")
        task = t.task("hello", cron="30 4 * * *", zone="America/New_York")
        t.due(task, "timestamptz '2026-07-01 08:30:00+00'")
        wait_until(lambda: t.one("select count(*) from takt.occurrence where task_id = %s", task) == 2, 30, "the decision")
        first, until, latest = t.sql("select due_at, until_at, (select max(due_at) from takt.occurrence where "
                                     "task_id = o.task_id) from takt.occurrence o where n > 1")[0]
        utc = dt.timezone.utc
        assert first == dt.datetime(2026, 7, 1, 8, 30, tzinfo=utc)
        assert latest - until in (dt.timedelta(hours=23), dt.timedelta(hours=24), dt.timedelta(hours=25))
        run = str(t.one("select run_id from takt.occurrence where task_id = %s and decision = 'fired'", task))
        assert t.wait_end(run) == "completed"
        t.sql("delete from takt.schedule where task_id = %s", task)
        # Every kind of transaction, several at a time.
        runs = [t.run(t.task("witness", {"fail": "x", "fail_until_attempt": 1, "output_b": 20}, max_retries=1), wait=False)
                for _ in range(10)]
        slow = t.run(t.task("witness", {"steps": 1, "step_ms": 600000}))
        t.wait_state(slow, "running")
        # A statement that has waited for a row goes on with it as it is then; in another isolation it would fail.
        with t.pg.connect(autocommit=False) as holder:
            holder.execute("update takt.live set priority = priority where run_id = %s", [slow])
            command = t.command("run.cancel", {"run_id": slow, "reason": "r"}, slow)
            waiting = "select count(*) from pg_locks l join pg_stat_activity a using (pid) where not l.granted and a.usename = 'takt_engine'"
            wait_until(lambda: t.one(waiting) == 1, 30, "the engine to wait for the row")
        assert t.answer(command)[0] == 202
        for each in runs:
            wait_until(lambda r=each: t.state_of(r), 30, "the run")
            assert t.wait_end(each) == "completed"
        assert t.wait_end(slow) == "cancelled"
        at = dt.datetime.fromisoformat(t.events(slow)[0]["at"].replace("Z", "+00:00"))
        assert abs(at - dt.datetime.now(utc)) < dt.timedelta(minutes=10)
        log = (t.root / "engine.log").read_text()
        assert "could not serialize" not in log and "nothing was changed" not in log
