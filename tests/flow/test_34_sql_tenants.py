# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Organisations do not see each other, whatever statement the gateway sends; and least privilege of the roles."""
import hashlib
import pathlib
import sys
import uuid

import psycopg
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from pg import Pg  # noqa: E402

ORGS = ("alpha", "beta")
RANKS = ("viewer", "operator", "admin")


def token(org, role="admin"):
    return f"takt_{org}_{role}".ljust(48, "x")


def uid(org, what):
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{org}/{what}")


FILL = """
insert into takt.seal_key values ('%(key)s', decode(repeat('00', 32), 'hex')) on conflict do nothing;
insert into takt.platform (name, title) values ('p', 'P') on conflict do nothing;
insert into takt.org (id, name) values ('%(org)s', '%(name)s');
insert into takt.credential (id, org_id, name, members, key_id, sealed)
    values ('%(credential)s', '%(org)s', 'c', '{password}', '%(key)s', 'x');
insert into takt.device (id, org_id, name, address, platform, credential_id)
    values ('%(device)s', '%(org)s', 'd', '192.0.2.1', 'p', '%(credential)s');
insert into takt.host_key (device_id, org_id, key_type, public_key, fingerprint, learned_by)
    values ('%(device)s', '%(org)s', 'ssh-ed25519', 'x', 'x', 'x');
insert into takt.device_group (id, org_id, name) values ('%(group)s', '%(org)s', 'g');
insert into takt.group_member values ('%(group)s', '%(device)s', '%(org)s');
insert into takt.task (id, org_id, name, task_type, enabled, definition)
    values ('%(task)s', '%(org)s', 't', 'hello', true, '{}');
insert into takt.task_revision (task_id, revision, org_id, definition, source, actor)
    values ('%(task)s', 1, '%(org)s', '{}', 'x', 'a');
insert into takt.schedule (id, org_id, task_id, kind, enabled) values ('%(task)s', '%(org)s', '%(task)s', 'on_demand', true);
insert into takt.calendar (id, org_id, name, source) values ('%(calendar)s', '%(org)s', 'c', 'days');
insert into takt.calendar_day (calendar_id, day, org_id) values ('%(calendar)s', '2026-12-25', '%(org)s');
insert into takt.shared_schedule (id, org_id, name, definition) values ('%(shared)s', '%(org)s', 's', '{}');
insert into takt.schedule_calendar (org_id, schedule_id, calendar_id, is_exclude)
    values ('%(org)s', '%(task)s', '%(calendar)s', true);
insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule)
    values ('%(task)s', now(), '%(task)s', '%(org)s', 'skipped', 'due');
insert into takt.command (id, org_id, request_hash, kind, actor, body)
    values ('%(command)s', '%(org)s', 'x', 'run.create', 'a', '{}');
insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, created_at, policy)
    values ('%(run)s', '%(org)s', 'ABCDEFGH', '%(task)s', 1, 't', 'hello', 'manual', now(), '{}');
insert into takt.live (run_id, org_id, task_id, state, next_at, queue_depth)
    values ('%(run)s', '%(org)s', '%(task)s', 'queued', now(), true);
insert into takt.attempt_row (run_id, no, org_id, epoch, node_id, state, opened_at, timeout_s)
    values ('%(run)s', 1, '%(org)s', 1, '%(run)s', 'passed', now(), 1);
insert into takt.run_hold (run_id, org_id, reason, actor) values ('%(run)s', '%(org)s', 'r', 'a');
insert into takt.run_amiss values ('%(org)s', '%(task)s', '%(run)s', 'failed');
insert into takt.unit_row (run_id, attempt, no, org_id, epoch) values ('%(run)s', 1, 0, '%(org)s', 1);
insert into takt.event_batch values ('%(run)s', '%(org)s', 1, 1, %(feed)d, %(feed)d, now(), '{%(run)s}', '{%(task)s}', '{1}',
    '{null}', array['[{"type":"x"}]']::json[]);
insert into takt.event_mark values ('%(run)s', 64, '%(org)s', '%(run)s');
insert into takt.output values ('%(run)s', 1, 0, 0, '%(org)s', 1, now(), 'x');
insert into takt.snapshot (id, org_id, device_id, device_name, run_id, attempt, unit_no, captured_at, size_b, key_id,
    exact_hash, exact, normalised) values ('s', '%(org)s', '%(device)s', 'd', '%(run)s', 1, 0, now(), 1, '%(key)s', 'x', 'x', 'x');
"""


@pytest.fixture(scope="module")
def pg():
    with Pg() as cluster:
        cluster.migrate()
        with cluster.connect() as c:
            now_hex = c.execute("select lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0')").fetchone()[0]
            for i, org in enumerate(ORGS):
                names = {w: uid(org, w) for w in ("org", "credential", "device", "group", "task", "command", "calendar", "shared")}
                run = uuid.UUID(now_hex + "7000800000000000000" + str(i))
                c.execute(FILL % {**names, "name": org, "run": run, "feed": i + 1, "key": "k" * 16})
                for role in RANKS:
                    c.execute("insert into takt.token (org_id, name, actor, role, hash) values (%s, %s, %s, %s, %s)",
                              [names["org"], role, f"{role}@{org}", role, hashlib.sha256(token(org, role).encode()).digest()])
                c.execute("select takt.audit_add(%s, 'a', 'x', 'y', 'z', '{}')", [names["org"]])
        yield cluster


@pytest.fixture(scope="module")
def gateway(pg):
    with pg.connect("takt_gateway") as c:
        yield c


def present(c, text):
    c.execute("select set_config('takt.token', %s, true)", [text])


def org_tables(c):
    """Every table with an organisation in it, parents of partitions only, and whether rows are guarded."""
    return c.execute("""select t.relname, t.relrowsecurity, exists (select 1 from pg_policy p
            where p.polrelid = t.oid and p.polpermissive and 'takt_gateway'::regrole = any(p.polroles))
        from pg_class t join pg_namespace n on n.oid = t.relnamespace
        where n.nspname = 'takt' and t.relkind in ('r', 'p') and not t.relispartition
        and (t.relname = 'org' or exists (select 1 from pg_attribute a where a.attrelid = t.oid and a.attname = 'org_id'))
        order by 1""").fetchall()


def test_every_table_with_an_organisation_has_its_policy(pg):
    with pg.connect() as c:
        tables = org_tables(c)
        assert len(tables) >= 20
        assert [name for name, is_on, has_policy in tables if not (is_on and has_policy)] == []


def test_the_test_data_has_rows_of_both_in_every_table(pg):
    """Else the next test would prove nothing."""
    with pg.connect() as c:
        for name, *_ in org_tables(c):
            column = "id" if name == "org" else "org_id"
            assert c.execute(f"select count(distinct {column}) from takt.{name}").fetchone() == (2,), name


def test_partitions_are_not_a_way_around(pg):
    """A partition reached by its own name has no policies: no role but the owner may touch it."""
    with pg.connect() as c:
        granted = c.execute("""select c.relname, r.rolname from pg_class c join pg_namespace n on n.oid = c.relnamespace,
            pg_roles r where n.nspname = 'takt' and c.relispartition and c.relkind = 'r'
            and r.rolname in ('takt_gateway', 'takt_feed')
            and has_table_privilege(r.oid, c.oid, 'select, insert, update, delete')""").fetchall()
        assert granted == []


@pytest.mark.parametrize("org", ORGS)
def test_only_rows_of_the_own_organisation(gateway, org):
    with gateway.transaction(force_rollback=True):
        present(gateway, token(org))
        for name, *_ in org_tables(gateway):
            column = "id" if name == "org" else "org_id"
            rows = {r[0] for r in gateway.execute(f"select {column} from takt.{name}")}
            assert rows == {uid(org, "org")}, name
        assert {r[0] for r in gateway.execute("select org_id from takt.event_item")} == {uid(org, "org")}


@pytest.mark.parametrize("text", [None, "", "takt_", "takt_" + "z" * 43, token("alpha")[:-1], token("alpha") + "x"])
def test_without_a_live_token_nothing(gateway, text):
    with gateway.transaction(force_rollback=True):
        if text is not None:
            present(gateway, text)
        for name, *_ in org_tables(gateway):
            assert gateway.execute(f"select count(*) from takt.{name}").fetchone() == (0,), name
        assert gateway.execute("select takt.current_org(), takt.current_rank()").fetchone() == (None, 0)


@pytest.mark.parametrize("change", ["revoked_at = now()", "expires_at = now() - interval '1 second'"])
def test_a_dead_token_shows_nothing(pg, gateway, change):
    dead = "takt_" + uuid.uuid4().hex
    pg.sql("insert into takt.token (org_id, name, actor, role, hash) values (%s, %s, 'x', 'admin', %s)",
           [uid("alpha", "org"), dead, hashlib.sha256(dead.encode()).digest()])
    with gateway.transaction(force_rollback=True):
        present(gateway, dead)
        assert gateway.execute("select count(*) from takt.task").fetchone() == (1,)
    pg.sql(f"update takt.token set {change} where name = %s", [dead])
    with gateway.transaction(force_rollback=True):
        present(gateway, dead)
        assert gateway.execute("select count(*) from takt.task").fetchone() == (0,)


def test_the_token_ends_with_its_transaction(gateway):
    with gateway.transaction():
        present(gateway, token("alpha"))
    assert gateway.execute("select count(*) from takt.task").fetchone() == (0,)


def refused(c, sql, params, *states):
    with pytest.raises(psycopg.Error) as e, c.transaction():
        c.execute(sql, params)
    assert e.value.sqlstate in states, e.value


A, B = ORGS
FOREIGN = [
    ("a row of the other's", "insert into takt.device_group (id, org_id, name) values (gen_random_uuid(), %s, 'n')",
     [uid(B, "org")], "42501"),
    ("a row that moves over", "update takt.device_group set org_id = %s", [uid(B, "org")], "42501"),
    ("the other's credential at one's own device", "update takt.device set credential_id = %s", [uid(B, "credential")], "23503"),
    ("the other's device in one's own group",
     "insert into takt.group_member values (%s, %s, %s)", [uid(A, "group"), uid(B, "device"), uid(A, "org")], "23503"),
    ("one's own device in the other's group",
     "insert into takt.group_member values (%s, %s, %s)", [uid(B, "group"), uid(A, "device"), uid(A, "org")], "23503"),
    ("a schedule on the other's task", "insert into takt.schedule (id, org_id, task_id, kind, enabled) "
     "values (%s, %s, %s, 'on_demand', true)", [uid(B, "task"), uid(A, "org"), uid(B, "task")], "23505"),
    ("an audit row of the other's", "select takt.audit_add(%s, 'admin@alpha', 'x', 'y', 'z', '{}')", [uid(B, "org")], "42501"),
    ("a command in another's name", "insert into takt.command (id, org_id, request_hash, kind, actor, body) "
     "values (gen_random_uuid(), %s, 'x', 'run.create', 'somebody', '{}')", [uid(A, "org")], "42501"),
    ("a command with its answer", "insert into takt.command (id, org_id, request_hash, kind, actor, body, decided_at, status) "
     "values (gen_random_uuid(), %s, 'x', 'run.create', 'admin@alpha', '{}', now(), 201)", [uid(A, "org")], "42501"),
    ("a revision in another's name", "insert into takt.task_revision (task_id, revision, org_id, definition, source, actor) "
     "values (%s, 2, %s, '{}', 'x', 'somebody')", [uid(A, "task"), uid(A, "org")], "42501"),
    ("a hold in another's name", "insert into takt.run_hold (run_id, org_id, reason, actor) "
     "values (gen_random_uuid(), %s, 'r', 'somebody')", [uid(A, "org")], "42501"),
    ("a hold on the other's run", "update takt.run_hold set org_id = %s, actor = 'admin@alpha'", [uid(B, "org")], "42501"),
    ("an audit row in another's name", "select takt.audit_add(%s, 'somebody', 'x', 'y', 'z', '{}')", [uid(A, "org")], "42501"),
]


@pytest.mark.parametrize("sql,params,state", [f[1:] for f in FOREIGN], ids=[f[0] for f in FOREIGN])
def test_nothing_leads_to_the_other(gateway, sql, params, state):
    with gateway.transaction(force_rollback=True):
        present(gateway, token(A))
        refused(gateway, sql, params, state)


def test_a_day_does_not_move_to_the_others_calendar(gateway):
    """A day with the own organisation in the other's calendar: the engine goes by the calendar only."""
    with gateway.transaction(force_rollback=True):
        present(gateway, token(A))
        refused(gateway, "update takt.calendar_day set calendar_id = %s", [uid(B, "calendar")], "42501")
        refused(gateway, "insert into takt.calendar_day (calendar_id, day, org_id) values (%s, '2026-12-26', %s)",
                [uid(B, "calendar"), uid(A, "org")], "42501")
        refused(gateway, "insert into takt.schedule_calendar (org_id, schedule_id, calendar_id, is_exclude) values (%s, %s, %s, true)",
                [uid(A, "org"), uid(A, "task"), uid(B, "calendar")], "42501")


def test_the_engine_keeps_off_the_organisations_calendars(pg):
    with pg.connect("takt_engine") as c:
        for sql in ("update takt.calendar set title = 'x'", "update takt.calendar_day set reason = 'x'", "delete from takt.calendar_day"):
            assert c.execute(sql).rowcount == 0, sql
        for sql in ("delete from takt.calendar", "update takt.calendar set name = 'x'", "update takt.calendar_day set day = day + 1",
                    "update takt.zone set name = 'x'"):
            refused(c, sql, None, "42501")
        refused(c, "insert into takt.calendar (id, org_id, name, source) values (gen_random_uuid(), %s, 'n', 'days')", [uid(A, "org")],
                "42501")


@pytest.mark.parametrize("kind,actor", [("run.create", "schedule"), ("run.cancel", "admin@alpha")])
def test_the_engine_commands_nothing_but_to_replace(pg, kind, actor):
    insert = ("insert into takt.command (id, org_id, request_hash, kind, actor, body, run_id) "
              "values (gen_random_uuid(), %s, '', %s, %s, '{}', gen_random_uuid())")
    with pg.connect("takt_engine") as c:
        refused(c, insert, [uid(A, "org"), kind, actor], "42501")
        with c.transaction(force_rollback=True):
            c.execute(insert, [uid(A, "org"), "run.cancel", "schedule"])


def test_nobody_calls_what_he_was_not_given(pg):
    assert pg.sql("select p.proname from pg_proc p, unnest(coalesce(p.proacl, acldefault('f', p.proowner))) a(item) "
                  "where p.pronamespace = 'takt'::regnamespace and a.item::text like '=%' and p.prosecdef") == []


def test_a_type_of_the_callers_own_does_not_run_as_the_owner(pg):
    """A domain pg_temp.timestamptz with a check would be used inside of audit_add() if pg_temp came first."""
    with pg.connect() as owner:
        paths = owner.execute("select proname, proconfig from pg_proc where prosecdef and pronamespace = 'takt'::regnamespace").fetchall()
        assert len(paths) >= 6 and all("search_path=pg_catalog, takt, pg_temp" in p for _, p in paths), paths
        owner.execute(f"grant temporary on database {pg.dbname} to takt_gateway")  # as on a server that grants it to all
    said = []
    with pg.connect("takt_gateway") as c:
        c.add_notice_handler(lambda notice: said.append(notice.message_primary))
        c.execute("create function pg_temp.trap(timestamp with time zone) returns boolean language plpgsql as "
                  "$$ begin raise warning 'I am %', current_user; return true; end $$")
        c.execute("create domain pg_temp.timestamptz as timestamp with time zone check (pg_temp.trap(value))")
        with c.transaction(force_rollback=True):
            present(c, token(A))
            c.execute("select takt.audit_add(%s, 'admin@alpha', 'x', 'y', 'z', '{}')", [uid(A, "org")])
    assert said == []


def test_migrations_take_temporary_objects_from_the_public():
    with Pg(dbname="other") as pg:
        pg.sql("grant temporary on database other to public")
        pg.migrate()
        assert pg.sql("select has_database_privilege(r, 'other', 'temporary') from unnest(%s::text[]) r",
                      [["takt_engine", "takt_gateway", "takt_feed"]]) == [(False,)] * 3


def test_the_own_audit_row_is_taken(gateway):
    with gateway.transaction(force_rollback=True):
        present(gateway, token(A))
        gateway.execute("select takt.audit_add(%s, 'admin@alpha', 'x', 'y', 'z', '{}')", [uid(A, "org")])
        assert gateway.execute("select count(*), max(seq) from takt.audit").fetchone() == (2, 2)


@pytest.mark.parametrize("what", ["device", "task", "command", "token"])
@pytest.mark.parametrize("role", RANKS)
def test_the_rank_holds_in_the_database(gateway, role, what):
    """Operators write tasks and commands, administrators inventory and tokens, viewers nothing."""
    org = uid(A, "org")
    inserts = {
        "device": ("insert into takt.device (id, org_id, name, address, platform) values (gen_random_uuid(), %s, 'n', 'x', 'p')", 2),
        "task": ("insert into takt.task (id, org_id, name, task_type, enabled, definition) "
                 "values (gen_random_uuid(), %s, 'n', 'hello', true, '{}')", 1),
        "command": ("insert into takt.command (id, org_id, request_hash, kind, actor, body) "
                    f"values (gen_random_uuid(), %s, 'x', 'run.create', '{role}@{A}', '{{}}')", 1),
        "token": ("insert into takt.token (org_id, name, actor, role, hash) values (%s, 'n', 'n', 'admin', sha256('n'))", 2)}
    sql, least = inserts[what]
    with gateway.transaction(force_rollback=True):
        present(gateway, token(A, role))
        if RANKS.index(role) >= least:
            gateway.execute(sql, [org])
        else:
            refused(gateway, sql, [org], "42501")


def test_a_viewer_changes_and_deletes_nothing(gateway):
    with gateway.transaction(force_rollback=True):
        present(gateway, token(A, "viewer"))
        for sql in ("update takt.task set name = 'n'", "delete from takt.task", "delete from takt.device",
                    "update takt.token set revoked_at = now()", "delete from takt.host_key"):
            assert gateway.execute(sql).rowcount == 0, sql
        assert gateway.execute("select count(*) from takt.audit").fetchone() == (0,)
        refused(gateway, "select takt.audit_add(%s, 'viewer@alpha', 'x', 'y', 'z', '{}')", [uid(A, "org")], "42501")


def test_a_hold_is_of_an_own_run(pg, gateway):
    (own,), (other,) = (pg.sql("select id from takt.run where org_id = %s", [uid(org, "org")])[0] for org in ORGS)
    with gateway.transaction(force_rollback=True):
        present(gateway, token(A))
        hold = "insert into takt.run_hold (run_id, org_id, reason, actor) values (%s, %s, 'r', 'admin@alpha')"
        refused(gateway, hold, [other, uid(A, "org")], "42501")
        gateway.execute("delete from takt.run_hold")
        gateway.execute(hold, [own, uid(A, "org")])


@pytest.mark.parametrize("when", ["-infinity", "infinity", "4000-01-01 BC", "12000-01-01"])
def test_a_due_time_is_one_that_can_be_reckoned_with(gateway, when):
    """Each engine's poll subtracts from it: an infinite one stopped them all."""
    with gateway.transaction(force_rollback=True):
        present(gateway, token(A, "operator"))
        refused(gateway, "update takt.schedule set (next_due_at, next_fire_at) = (%s, %s)", [when, when], "23514")


@pytest.mark.parametrize("table", ["task_revision", "schedule"])
def test_what_belongs_to_a_task_goes_with_it_only(gateway, table):
    with gateway.transaction(force_rollback=True):
        present(gateway, token(A))
        refused(gateway, f"delete from takt.{table}", None, "42501")
        gateway.execute("delete from takt.task")
        assert gateway.execute(f"select count(*) from takt.{table}").fetchone() == (0,)


@pytest.mark.parametrize("table", ["attempt_row", "occurrence"])
def test_what_is_written_once_is_not_the_engines_to_change(pg, table):
    with pg.connect("takt_engine") as c:
        refused(c, f"update takt.{table} set org_id = org_id", None, "42501")


@pytest.mark.parametrize("table", ["run", "live", "attempt_row", "unit_row", "event_batch", "event_mark", "output", "snapshot", "audit", "occurrence", "run_amiss"])
def test_the_gateway_writes_no_history(gateway, table):
    with gateway.transaction(force_rollback=True):
        present(gateway, token(A))
        refused(gateway, f"delete from takt.{table}", None, "42501")
        refused(gateway, f"insert into takt.{table} select * from takt.{table}", None, "42501")


def test_the_feed_reader_sees_events_and_no_secrets(pg):
    with pg.connect("takt_feed") as c:
        assert c.execute("select count(distinct org_id) from takt.event").fetchone() == (2,)
        for table in ("credential", "token", "device", "task", "run", "snapshot", "output", "audit"):
            refused(c, f"select * from takt.{table}", None, "42501")


@pytest.mark.parametrize("role", ["takt_engine", "takt_gateway", "takt_feed", "takt_auditor"])
def test_no_role_but_the_owner_makes_objects_or_deletes_history(pg, role):
    with pg.connect(role) as c:
        refused(c, "create table takt.mine (n int)", None, "42501")
        refused(c, "create table public.mine (n int)", None, "42501", "3F000")
        refused(c, "drop table takt.run", None, "42501")
        refused(c, "truncate takt.event_batch", None, "42501")
        refused(c, "delete from takt.event_batch", None, "42501")
        refused(c, "update takt.event_batch set at = now()", None, "42501")
        refused(c, "delete from takt.audit", None, "42501")


def test_the_auditor_only_reads(pg):
    with pg.connect("takt_auditor") as c:
        for table, *_ in org_tables(c):
            c.execute(f"select count(*) from takt.{table}")
            refused(c, f"delete from takt.{table}", None, "42501")
