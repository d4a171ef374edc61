# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Months of history go as tables; held, live and undecided runs stay, complete and visible. Lists find what there is."""
import concurrent.futures
import json
import pathlib
import sys

import psycopg
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/lib"), str(ROOT / "tests/bench")]
import history  # noqa: E402
from pg import Pg  # noqa: E402

MONTHS = 5
OF_A_RUN = {"run": "id", "run_amiss": "run_id", "attempt": "run_id", "unit": "run_id", "event": "run_id", "event_mark": "run_id",
            "output": "run_id", "occurrence": "run_id"}
SPANS = history.months(MONTHS)


@pytest.fixture
def pg():
    with Pg() as cluster:
        cluster.migrate()
        history.populate(cluster, 1500, MONTHS)
        yield cluster


@pytest.fixture(scope="module")
def full():
    """The same for tests that only read."""
    with Pg() as cluster:
        cluster.migrate()
        history.populate(cluster, 1500, MONTHS)
        yield cluster


def first(month):
    return SPANS[month][0].date()


def rows_of(c, runs):
    return {table: c.execute(f"select to_jsonb(t) from takt.{table} t where {key} = any(%s) order by 1", [list(runs)]).fetchall()
            for table, key in OF_A_RUN.items()}


def gone(c, runs):
    """Nothing is left of them but what shares a row of events with a run that stays."""
    left = rows_of(c, runs)
    events = left.pop("event")
    stays = c.execute("select count(*) from takt.event_batch b where not exists (select from takt.run r where r.id = any (b.run_ids))")
    return not any(left.values()) and stays.fetchone() == (0,) and (not events or c.execute(
        "select bool_and(f.body is null) from (select takt.find_run(x::text) as body from unnest(%s::uuid[]) x) f",
        [list(runs)]).fetchone() == (True,))


def runs_before(c, month):
    return [r[0] for r in c.execute("select id from takt.run where id < takt.uuid_floor(%s) order by id", [SPANS[month][0]])]


def live_before(c, month):
    return [r[0] for r in c.execute("select run_id from takt.live where run_id < takt.uuid_floor(%s)", [SPANS[month][0]])]


def hold(c, run):
    c.execute("insert into takt.run_hold (run_id, org_id, reason, actor) select id, org_id, 'r', 'a' from takt.run where id = %s", [run])


def drop(c, month, role="takt_engine"):
    with c.transaction():
        c.execute(f"set local role {role}")
        return c.execute("select month, is_dropped, detail from takt.drop_before(%s)", [first(month)]).fetchone()


def page(c, org="default", **query):
    with c.transaction():
        c.execute("select takt.session(%s, 1)", [history.token(org, "viewer")])
        status, body = c.execute("select status, body from takt.runs_page(%s)", [json.dumps({"limit": 50, **query})]).fetchone()
    assert status == 200, body
    return body


def pages(c, org="default", **query):
    """All ids, through all pages."""
    ids, cursor = [], None
    while True:
        body = page(c, org, **query, **({"cursor": cursor} if cursor else {}))
        ids += [r["id"] for r in body["items"]]
        cursor = body["next_cursor"]
        if not cursor:
            return ids


def test_a_month_goes_and_what_must_stay_stays(pg):
    with pg.connect() as c:
        live = live_before(c, 1)
        done = [r for r in runs_before(c, 1) if r not in live]
        held = [c.execute("select id from takt.run where state = %s and id = any(%s) limit 1", [s, done]).fetchone() for s in ("completed", "failed")]
        held = [r[0] for r in held if r] or done[:1]
        asked = next(r for r in done if r not in held)
        for run in held:
            hold(c, run)
        c.execute("insert into takt.command (id, org_id, request_hash, kind, actor, body, run_id) select gen_random_uuid(), org_id, 'x', "
                  "'run.cancel', 'a', '{}', id from takt.run where id = %s", [asked])
        stays = [*live, *held, asked]
        before, later = rows_of(c, stays), rows_of(c, [r for r in runs_before(c, 2) if r not in done and r not in live])
        assert len(live) == 20 and before["event"] and before["attempt"] and before["unit"] and before["occurrence"]
        tables = [r[0] for r in c.execute("select name from takt.month_tables()")]

        assert drop(c, 1) == (first(0), True, f"{len(stays)} runs moved aside")
        assert runs_before(c, 1) == sorted(stays)
        assert rows_of(c, stays) == before
        assert rows_of(c, [r for r in runs_before(c, 2) if r not in stays]) == later
        assert gone(c, [r for r in done if r not in stays])
        for table in tables:
            assert c.execute("select to_regclass(%s)", [f"takt.{table}_{first(0):%Y%m}"]).fetchone() == (None,)
        assert drop(c, 1) is None
        kept = c.execute("select kept from takt.dropped_month where month = %s", [first(0)]).fetchone()[0]
        assert kept["runs"] == len(stays) and kept["run"] == len(stays)


def test_the_room_is_freed_apart_from_the_drop(pg):
    gone = "select relname from pg_class where relname ~ '^dropped_.*[0-9]{6}$' and relkind = 'r'"
    with pg.connect() as c, pg.connect("takt_engine") as engine, pg.connect("takt_gateway") as gateway:
        drop(c, 1)
        drop(c, 2)
        names = {r[0] for r in c.execute(gone)}
        assert {f"dropped_run_{first(0):%Y%m}", f"dropped_event_batch_{first(1):%Y%m}", f"dropped_run_kept_{first(1):%Y%m}"} <= names
        for name in names:
            assert c.execute("select has_table_privilege('takt_gateway', %s::regclass, 'select')", [f"takt.{name}"]).fetchone() == (False,)
        with pytest.raises(psycopg.Error):
            gateway.execute("select takt.remove_dropped()")
        removed = set()
        while name := engine.execute("select takt.remove_dropped()").fetchone()[0]:
            removed.add(name)
        assert removed == names and c.execute(gone).fetchall() == []


def test_what_stays_is_seen(pg):
    with pg.connect() as c, pg.connect("takt_gateway") as gateway:
        live = live_before(c, 1)
        run = c.execute("select r.id from takt.run r join takt.org o on o.id = r.org_id where o.name = 'default' and r.state is not null "
                        "and r.id < takt.uuid_floor(%s) limit 1", [SPANS[1][0]]).fetchone()[0]
        hold(c, run)
        told = c.execute("select count(*) from takt.event_item where run_id = %s", [run]).fetchone()[0]
        drop(c, 1)
        to = SPANS[1][0].strftime("%Y-%m-%dT%H:%M:%SZ")
        assert sorted(pages(gateway, to=to)) == sorted(map(str, [*live, run]))
        assert sorted(pages(gateway, to=to, status="live")) == sorted(map(str, live))
        assert pages(gateway, "second", to=to) == []
        with gateway.transaction():
            gateway.execute("select takt.session(%s, 1)", [history.token("default", "viewer")])
            status, body = gateway.execute("select * from takt.timeline(%s, 'run', 'x', 0, 100)", [run]).fetchone()
            assert status == 200 and len(body["items"]) == told > 0


def test_a_released_run_goes_with_the_next_month(pg):
    with pg.connect() as c:
        run = c.execute("select id from takt.run where state is not null order by id limit 1").fetchone()[0]
        hold(c, run)
        drop(c, 1)
        drop(c, 2)
        assert run in runs_before(c, 2)
        c.execute("delete from takt.run_hold")
        assert drop(c, 3)[1]
        assert sorted(runs_before(c, 3)) == sorted(live_before(c, 3))
        assert gone(c, [run])


def test_a_reader_is_not_waited_for_long_and_named(pg):
    with pg.connect() as c, pg.connect("takt_auditor") as reader, pg.connect("takt_gateway") as gateway:
        all_runs = runs_before(c, 1)
        with reader.transaction():
            reader.execute("select count(*) from takt.output")
            c.execute("set lock_timeout = '0'")
            month, is_dropped, detail = drop(c, 1)
            assert (month, is_dropped) == (first(0), False)
            assert f"pid {reader.info.backend_pid} (takt_auditor)" in detail
            assert runs_before(c, 1) == all_runs and page(gateway)["items"]
            assert c.execute("show lock_timeout").fetchone() == ("0",)
        assert drop(c, 1)[1]


def test_nobody_waits_for_a_drop_that_waits_for_an_audit_row(pg):
    """A gateway's transaction that hangs half sent has the lock of its organisation's audit rows."""
    with pg.connect() as c, pg.connect("takt_gateway", autocommit=False) as gateway:
        all_runs = runs_before(c, 1)
        gateway.execute("select pg_advisory_xact_lock(hashtextextended('takt.audit:' || id, 0)) from "
                        "(select %s::uuid as id) o", c.execute("select id from takt.org limit 1").fetchone())
        c.execute("set lock_timeout = '10s'")
        assert drop(c, 1)[:2] == (first(0), False)
        assert runs_before(c, 1) == all_runs
        gateway.rollback()
        assert drop(c, 1)[1]


def test_several_engines_drop_each_month_once(pg):
    def one(_):
        with pg.connect("takt_engine") as c:
            out = []
            while True:
                row = c.execute("select month, is_dropped, detail from takt.drop_before(%s)", [first(3)]).fetchone()
                if not row:
                    return out
                out += [row[0]] if row[1] else []
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        dropped = [m for out in pool.map(one, range(3)) for m in out]
    assert sorted(dropped) == [first(0), first(1), first(2)]
    with pg.connect() as c:
        assert c.execute("select count(*), count(distinct month) from takt.dropped_month").fetchone() == (3, 3)


def test_a_backend_that_is_killed_in_the_middle_has_done_nothing(pg):
    with pg.connect() as c:
        all_runs, tables = runs_before(c, 1), c.execute("select count(*) from pg_class where relkind = 'r'").fetchone()
        with pg.connect("takt_engine", autocommit=False) as engine:
            assert engine.execute("select is_dropped from takt.drop_before(%s)", [first(1)]).fetchone() == (True,)
            c.execute("select pg_terminate_backend(%s)", [engine.info.backend_pid])
            with pytest.raises(psycopg.Error):
                engine.commit()
                engine.execute("select 1")
        assert runs_before(c, 1) == all_runs
        assert c.execute("select count(*) from pg_class where relkind = 'r'").fetchone() == tables
        assert drop(c, 1)[1]


def test_the_months_that_are_written_into_stay(pg):
    with pg.connect() as c:
        with pytest.raises(psycopg.Error) as e:
            drop(c, MONTHS - 1)
        assert e.value.sqlstate == "22023" and f"{first(MONTHS - 2)}" in e.value.diag.message_hint


def test_a_dropped_month_does_not_come_back_and_old_times_have_a_place(pg):
    with pg.connect() as c:
        drop(c, 1)
        assert c.execute("select takt.make_partitions(%s, 3)", [first(0)]).fetchone() == (0,)
        c.execute("insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule) "
                  "select id, %s, id, org_id, 'skipped', 'catchup.latest' from takt.task limit 1", [SPANS[0][0]])


def test_a_decision_stays_as_long_as_its_event(pg):
    with pg.connect() as c:
        for month in range(2):  # both about a due time of the first month, one decided then, one a month later
            c.execute("insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, event_id) "
                      "select id, %s + %s * interval '1 s', id, org_id, 'missed', 'catchup.latest', takt.uuid_floor(%s) "
                      "from takt.task limit 1", [SPANS[0][0], month, SPANS[month][0]])
        left = "select count(*) from takt.occurrence where event_id is not null"
        drop(c, 1)
        assert c.execute(left).fetchone() == (1,)
        drop(c, 2)
        assert c.execute(left).fetchone() == (0,)


def test_a_missing_partition_is_told(pg):
    with pg.connect() as c:
        assert c.execute("select * from takt.missing_partitions(25)").fetchall() == []
        c.execute(f"drop table takt.run_{first(MONTHS - 1):%Y%m}")
        assert c.execute("select * from takt.missing_partitions(0)").fetchall() == [(f"run_{first(MONTHS - 1):%Y%m}",)]


def test_each_organisation_reads_of_its_own_runs_only(pg):
    with pg.connect() as c, pg.connect("takt_gateway") as gateway:
        drop(c, 1)
        said = {}
        for org in history.ORGS:
            with gateway.transaction():
                gateway.execute("select takt.session(%s, 3)", [history.token(org, "admin")])
                said[org] = gateway.execute("select object_id, detail ->> 'runs_kept' from takt.audit where action = 'history.drop'").fetchall()
        assert said == {org: [(f"{first(0):%Y-%m}", "20" if org == "default" else "0")] for org in history.ORGS}


@pytest.mark.parametrize("role", ["takt_gateway", "takt_feed", "takt_auditor"])
def test_only_the_engine_drops(full, role):
    with full.connect(role) as c, pytest.raises(psycopg.Error) as e:
        c.execute("select takt.drop_before('2000-01-01')")
    assert e.value.sqlstate == "42501"


def test_lists_find_every_run_whatever_the_filter(full):
    """Against a plain query as the owner, page by page."""
    with full.connect() as c, full.connect("takt_gateway") as gateway:
        org = c.execute("select id from takt.org where name = 'default'").fetchone()[0]
        task, device, other = c.execute("select id, device_id, (select id from bench.task where org = 'second' and no = 600) "
                                        "from bench.task where no = 0").fetchone()
        middle = SPANS[2][0]
        at = middle.strftime("%Y-%m-%dT%H:%M:%SZ")

        def expected(where, *params):
            return [str(r[0]) for r in c.execute(f"""select r.id from takt.run r left join takt.live l on l.run_id = r.id
                where r.org_id = %s and {where} order by r.id desc""", [org, *params])]
        device_runs = "exists (select from takt.unit u where u.run_id = r.id and u.device_id = %s)"
        cases = [({}, "true"), ({"task": task}, "task_id = %s", task), ({"device": device}, device_runs, device),
                 ({"from": at}, "r.id >= takt.uuid_floor(%s)", middle), ({"to": at}, "r.id < takt.uuid_floor(%s)", middle),
                 ({"status": "live"}, "r.state is null"), ({"status": "completed"}, "r.state = 'completed'"),
                 ({"status": "queued"}, "l.state = 'queued'"), ({"status": "running"}, "false"),
                 ({"status": "failed,queued,completed"}, "coalesce(r.state, l.state) in ('failed', 'queued', 'completed')"),
                 ({"status": "live,cancelled", "task": task}, "(r.state is null or r.state = 'cancelled') and r.task_id = %s", task),
                 ({"status": "failed", "device": device}, "r.state = 'failed' and " + device_runs, device),
                 ({"status": "completed", "device": device, "from": at}, "r.state = 'completed' and r.id >= takt.uuid_floor(%s) and "
                  + device_runs, middle, device),
                 ({"task": other}, "false")]
        cases += [({"status": s}, "r.state = %s", s) for s in ("failed", "timed_out", "cancelled", "expired")]
        found = 0
        for query, where, *params in cases:
            want = expected(where.replace("task_id = %s", "r.task_id = %s") if where.startswith("task_id") else where, *params)
            for limit in (7, 500):
                got = pages(gateway, limit=limit, **{k: str(v) for k, v in query.items()})
                assert got == want, (query, limit, len(got), len(want))
            found += bool(want)
        assert found >= 12


def test_a_list_passes_over_no_newer_runs_of_others(pg):
    """Most runs are of one organisation and task, says the statistics; the newest ones are not: none of those is read."""
    with pg.connect() as c, pg.connect("takt_gateway") as gateway:
        for no in (0, 600):
            c.execute("insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, created_at, policy, state, "
                      "finished_at) select takt.uuid_v7(), t.org_id, 'ABCDEFGH', t.id, 1, t.name, 'hello', 'manual', now(), '{}', 'completed', "
                      "now() from bench.task t, generate_series(1, 2500) where t.no = %s", [no])
        c.execute("vacuum analyze")
        task = str(c.execute("select id from bench.task where no = 0").fetchone()[0])
        for query in ({}, {"task": task}, {"status": "completed"}):
            before = rows_read(gateway)
            assert len(page(gateway, **query)["items"]) == 50
            assert 0 < rows_read(gateway) - before < 1000, query


def rows_read(connection):
    """Of takt.run, so far in this session; it says so when it is idle for a moment."""
    connection.execute("select pg_stat_force_next_flush()")
    return connection.execute("select sum(seq_tup_read + idx_tup_fetch)::bigint from pg_stat_user_tables where relname ~ '^run_[0-9]{6}$'").fetchone()[0]


def test_run_ids_of_others_are_not_told(full):
    with full.connect() as c, full.connect("takt_gateway") as gateway, gateway.transaction():
        task, device = c.execute("select id, device_id from bench.task where no = 600").fetchone()
        gateway.execute("select takt.session(%s, 1)", [history.token("default", "viewer")])
        floor, ceiling = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
        for one in ((task, None), (None, device)):
            assert gateway.execute("select takt.run_ids(%s, %s, %s, %s, 100)", [*one, ceiling, floor]).fetchone()[0] == []


def test_a_time_that_is_none_is_said(full):
    with full.connect("takt_gateway") as c, c.transaction():
        c.execute("select takt.session(%s, 1)", [history.token("default", "viewer")])
        for bad in ("2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z"):
            status, body = c.execute("select status, body from takt.runs_page(%s)", [json.dumps({"limit": 5, "from": bad})]).fetchone()
            assert status == 422 and body["errors"][0]["pointer"] == "/from"


def test_an_item_of_a_list_is_the_run_but_for_its_last_event(full):
    with full.connect("takt_gateway") as c, c.transaction():
        c.execute("select takt.session(%s, 1)", [history.token("default", "viewer")])
        body = c.execute("select body from takt.runs_page('{\"limit\": 20}')").fetchone()[0]
        for item in body["items"]:
            run = c.execute("select takt.run_json(r) from takt.run r where id = %s", [item["id"]]).fetchone()[0]
            run.pop("last_event")
            assert item == run
