# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""takt verify: a database that engines wrote is clean; each check goes red by its own damage, and by no other's.

Damage is planted by a superuser whom no trigger stops. Who can do that can also make the event chains anew (relink()):
so the checks of events are shown without the help of the chain, and the chain by damage that they do not see. Event rows are
damaged in a table of one row a run and commit, `event`, of which the stored rows are made again (repack()).
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
import checker  # noqa: E402
from engine import Engine  # noqa: E402
from pg import BUILD, Pg, wait_until  # noqa: E402

CHECKS = sorted(p.stem for p in (ROOT / "sql/verify").glob("*.sql") if "\n-- title: " in p.read_text(encoding="utf-8"))
LINK = re.sub(r"^--.*\n", "", (ROOT / "sql/engine/event_link.sql").read_text(encoding="utf-8"), flags=re.M)


def takt(*args, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TAKT_")}
    return subprocess.run([BUILD / "takt", *map(str, args)], capture_output=True, text=True, timeout=300, env={**clean, **env})


def verify(pg, *args):
    """(exit code, {check: violations}, {check: details})."""
    p = takt("verify", "--db", pg.conninfo, "-o", "json", *args)
    assert p.stdout, p.stderr
    checks = json.loads(p.stdout)["checks"]
    assert [c["name"] for c in checks if "problem" in c] == [], p.stdout
    return (p.returncode, {c["name"]: c["violations"] for c in checks if c["violations"]},
            {c["name"]: c["details"] for c in checks})


def wait_linked(t):
    wait_until(lambda: t.one("select coalesce(sum(n), 0) from takt.event_link") == t.one("select count(*) from takt.event_batch"),
               60, "every event to be linked")


def load(t):
    """Runs of all kinds: passed, retried, cancelled, with output and devices, scheduled, skipped, in every state of life."""
    devices = [t.device(f"v{n}") for n in range(2)]
    target = {"type": "device_group", "id": t.group("verify", devices)}
    runs = [t.run(t.task("hello")) for _ in range(3)]
    wait_linked(t)  # so that there are several links
    runs.append(t.run(t.task("witness", {"steps": 4, "step_ms": 200, "output_b": 300, "fail": "again",
                                         "fail_until_attempt": 2}, max_retries=2)))
    runs.append(t.run(t.task("witness_each", {"steps": 1, "step_ms": 20, "config": "hostname x\n"}, target=target)))
    scheduled = t.task("hello", cron="* * * * *")
    t.due(scheduled, "date_trunc('minute', now()) - interval '10 min'")
    wait_until(lambda: t.one("select count(*) from takt.occurrence") == 2, 30, "a decision and a skipped range")
    for run in runs:
        t.wait_end(run)
    wait_until(lambda: t.one("select count(*) from takt.live") == 0, 30, "all runs to end")
    runs.append(t.run(t.task("witness", {"steps": 1, "step_ms": 600000})))
    t.wait_state(runs[-1], "running")
    t.sql("select takt.audit_add(id, 'tester', 'task.create', 'task', 'x|y', '{\"a\": 1}') from takt.org, generate_series(1, 3)")
    return runs


@pytest.fixture(scope="module")
def healthy():
    """A database with history, a live run, and no engine that works in it any more."""
    t = Engine()
    try:
        load(t)
        wait_linked(t)
        t.kill_engine()
        t.owner.close()
        with t.pg.connect_to("postgres") as c:
            c.execute("create database whole template takt owner takt_owner")
        t.owner = t.pg.connect("takt_owner")
        yield t
        cancel_all(t)
    finally:
        t.close()


def cancel_all(t):
    t.start_engine()
    for (run,) in t.sql("select run_id from takt.live"):
        t.cancel(str(run))
        t.wait_end(str(run))


@pytest.fixture
def broken(healthy):
    """A superuser's connection that no trigger stops, to a copy of the healthy database."""
    pg = healthy.pg
    with pg.connect_to("postgres") as c:
        c.execute("create database broken template whole owner takt_owner")
    copy = Copy(pg, "broken")
    try:
        yield copy
    finally:
        copy.c.close()
        with pg.connect_to("postgres") as c:
            c.execute("drop database broken with (force)")


class Copy:
    def __init__(self, pg, dbname):
        self.conninfo = f"host={pg.host} dbname={dbname}"
        self.c = pg.connect_to(dbname)
        self.c.execute("set session_replication_role = replica")
        self.c.execute("set search_path = takt")
        self.c.execute("create temporary table event as select *, uuid_v7() as batch from takt.event")
        self.c.execute("alter table event alter column batch set default takt.uuid_v7()")
        self.relink()

    def repack(self):
        """The rows of events as `event` has them, each by itself, and what leads to them."""
        self.c.execute("delete from takt.event_batch")
        self.c.execute("insert into takt.event_batch select batch, org_id, node_no, incarnation, feed_seq, feed_seq, at, "
                       "array[run_id], array[task_id], array[first_seq], array[lag(batch) over (partition by run_id order by "
                       "first_seq)], array[items::json] from event")
        self.c.execute("delete from event_mark")
        newest = "(select batch from event e where e.run_id = {} order by first_seq desc limit 1)"
        self.c.execute(f"update live set last_batch = {newest.format('live.run_id')}")
        self.c.execute(f"update run set last_batch = {newest.format('run.id')} where id not in (select run_id from live)")

    def sql(self, *texts):
        for text in texts:
            changed = self.c.execute(text).rowcount
            assert changed != 0, f"changed nothing: {text}"

    def one(self, text):
        return self.c.execute(text).fetchone()[0]

    def drop_unique(self, table):
        """So that a second row of a key can be planted; of a partitioned table its partitions' go, too."""
        names = self.c.execute("select conname from pg_constraint where conrelid = %s::regclass and contype in ('p', 'u') "
                               "and conparentid = 0", [f"takt.{table}"]).fetchall()
        for (name,) in names:
            self.c.execute(f"alter table takt.{table} drop constraint {name} cascade")

    def relink(self):
        """The chains made anew over what is there now, as somebody would who can write everything."""
        self.repack()
        self.link()

    def link(self, rows=10):
        self.c.execute("truncate takt.event_link")
        # An implicit transaction a link; a gap or a hole in the numbers does not stop it.
        for (node,) in self.c.execute("select id from takt.node").fetchall():
            self.c.execute("prepare link as " + LINK.strip().rstrip(";"))
            while self.c.execute(f"execute link('{node}', false, {rows})").fetchone()[0]:
                pass
            self.c.execute("deallocate link")


FINISHED = "(select id from run where state is not null order by id limit 1)"
LIVE = "(select run_id from live limit 1)"
ONE_EVENT = "(select run_id from event where first_seq = 3 order by run_id limit 1)"
QUIET = """first_seq > 1 and run_id not in (select run_id from live) and not items @?
    '$[*] ? (exists (@.state) && (@.type starts with "task_" || @.type == "attempt_started"))'
    and first_seq < (select max(first_seq) from event x where x.run_id = event.run_id)"""
NEW_RUN = "(select overlay(id::text placing 'ffff' from 25 for 4)::uuid from run order by id limit 1)"


def columns(c, table, **changed):
    """A row's columns with some replaced by expressions."""
    names = [r[0] for r in c.c.execute("select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 "
                                       "and not attisdropped and attidentity = '' and attgenerated = '' order by attnum",
                                       ["pg_temp.event" if table == "event" else f"takt.{table}"]) if r[0] != "batch"]
    assert set(changed) <= set(names)
    return ", ".join(names), ", ".join(changed.get(n, n) for n in names)


def copy_row(c, table, where, **changed):
    into, values = columns(c, table, **changed)
    c.sql(f"insert into {table} ({into}) select {values} from {table} where {where} limit 1")


def renumber_feed(c):
    """Feed numbers as if a hole had never been."""
    c.c.execute("update event e set feed_seq = n.n from (select run_id, first_seq, row_number() over (partition by node_no, "
                "incarnation order by feed_seq) as n from event) n where n.run_id = e.run_id and n.first_seq = e.first_seq")


def without_event(c, condition):
    c.sql(f"delete from event where (run_id, first_seq) in (select run_id, first_seq from event where {condition} limit 1)")
    renumber_feed(c)


def add_move(c, run, state, kind="task_queued"):
    """One more event at the end of a run."""
    c.c.execute(f"""insert into event (run_id, first_seq, org_id, task_id, node_no, incarnation, feed_seq, at, items)
        select run_id, first_seq + jsonb_array_length(items), org_id, task_id, node_no, incarnation,
            (select max(feed_seq) + 1 from event x where (x.node_no, x.incarnation) = (e.node_no, e.incarnation)), at,
            '[{{"type": "{kind}", "severity": "info", "at": "x", "state": "{state}"}}]'
        from event e where run_id = {run} order by first_seq desc limit 1""")


def gone_run(c, table, where="true", **more):
    """A row of `table` whose run never was; it lies in the month of the others."""
    copy_row(c, table, where, run_id=NEW_RUN, **more)


def skip_attempt_number(c):
    """A run's last attempt gets the number behind the next, with all that hangs off it."""
    run, no = c.c.execute("select run_id, no from attempt_row where no > 1 order by no desc, run_id limit 1").fetchone()
    for table, column in (("unit_row", "attempt"), ("output", "attempt"), ("attempt_row", "no")):
        c.c.execute(f"update {table} set {column} = {column} + 1 where run_id = %s and {column} = %s", [run, no])


# One or more ways of damage a check; each must make exactly it go red.
DAMAGE = {
    "attempt_count": [
        lambda c: c.sql(f"update run set attempts = attempts + 1 where id = {FINISHED}"),
        lambda c: c.sql("update run set policy = policy || '{\"max_retries\": 0}' where attempts > 1"),
    ],
    "attempt_numbers": [
        lambda c: c.sql("update attempt_row set epoch = 1 where no = 2"),
        skip_attempt_number,
    ],
    "attempt_ended": [
        lambda c: c.sql("update attempt_row set finished_at = null where unit_state is null"),
    ],
    "attempt_run": [lambda c: gone_run(c, "attempt_row", unit_state="null")],
    "unit_ended": [lambda c: c.sql("update unit_row set state = 'running'"),
                   lambda c: c.sql("update unit_row set finished_at = null")],
    "unit_attempt": [lambda c: copy_row(c, "unit_row", "true", attempt="attempt + 7", output_b="0"),
                     lambda c: gone_run(c, "unit_row", output_b="0")],
    "event_run": [lambda c: (gone_run(c, "event", "first_seq = 1", feed_seq="(select max(feed_seq) + 1 from event)"),
                             c.relink()),
                  lambda c: c.sql("delete from occurrence where event_id is not null")],
    "output_unit": [lambda c: gone_run(c, "output")],
    "output_bytes": [
        lambda c: c.sql("delete from output where off = 0"),
        lambda c: c.sql("update output set raw_b = raw_b + 1"),
        lambda c: copy_row(c, "output", "raw_b > 1", off="off + 1", raw_b="raw_b - 1"),
    ],
    "snapshot_run": [lambda c: gone_run(c, "snapshot", id="'snap-other'")],
    "event_numbers": [
        lambda c: (without_event(c, QUIET), c.relink()),
        lambda c: (c.sql("update event set first_seq = first_seq + 1 where (run_id, first_seq) in (select run_id, "
                         "max(first_seq) from event where run_id in (select id from run where state is not null) group by run_id)"),
                   c.relink()),
    ],
    "event_begin": [lambda c: (c.sql(f"update event set items = jsonb_set(items, '{{0,type}}', '\"task_made\"') "
                                     f"where first_seq = 1 and run_id = {FINISHED}"), c.relink())],
    "event_moves": [
        # a first state that is none, a move that is none, an end that comes twice
        lambda c: (c.sql(f"update event set items = jsonb_set(items, '{{0,state}}', '\"dispatched\"') "
                         f"where first_seq = 1 and run_id = {FINISHED}"), c.relink()),
        lambda c: (c.sql(f"update event set items = jsonb_set(items, '{{0,state}}', '\"paused\"') "
                         f"where first_seq = 2 and run_id = {FINISHED}"), c.relink()),
        lambda c: (add_move(c, "(select id from run where state = 'completed' limit 1)", "completed", "task_completed"),
                   c.relink()),
    ],
    "event_fold": [
        lambda c: c.sql("update run set state = 'failed' where id = (select id from run where state = 'completed' limit 1)"),
        lambda c: c.sql("update live set state = 'dispatched' where state = 'running'"),
        lambda c: c.sql("update live set event_seq = event_seq + 1"),
    ],
    "event_walk": [
        lambda c: c.sql(f"update run set last_batch = uuid_v7() where id = {FINISHED}"),
        lambda c: c.sql("insert into event_mark select run_id, first_seq + jsonb_array_length(items) - 1, org_id, uuid_v7() "
                        "from event where first_seq = 3 limit 1"),
        lambda c: (c.sql("update event_batch set prevs = array[uuid_v7()] where first_seqs[1] = 3 and run_ids[1] not in "
                         "(select run_id from live)"), c.link()),
    ],
    "feed_numbers": [
        lambda c: (c.sql("update event set feed_seq = feed_seq + 1 where feed_seq = (select max(feed_seq) from event)"),
                   c.repack(), c.link(rows=1000)),  # in one link: at the beginning of one its chain would show the hole, too
    ],
    "event_links": [
        lambda c: c.sql("update event_link set at = at + interval '1 s' where link_no = 2"),
        lambda c: c.sql("update event_link set hash = sha256('x') where link_no = (select max(link_no) from event_link)"),
        lambda c: c.sql("update event_link set prev_hash = sha256('x') where link_no = 1"),
        lambda c: c.sql("delete from event_link where link_no = 1"),
        # an incarnation's last events, that no link has
        lambda c: (c.sql("update event set incarnation = 0, feed_seq = 1 where feed_seq = (select max(feed_seq) from event)"),
                   c.sql("delete from event_link where last_feed = (select max(last_feed) from event_link)")),
    ],
    "event_digest": [
        lambda c: c.sql(f"update event set items = jsonb_set(items, '{{0,at}}', '\"2020-01-01T00:00:00Z\"') where run_id = {ONE_EVENT}"),
        lambda c: c.sql(f"update event set at = at - interval '1 h' where run_id = {ONE_EVENT}"),
        lambda c: c.sql("update event_link set digest = sha256('x'), hash = link_hash(prev_hash, node_no, link_no, incarnation, "
                        "first_feed, last_feed, n, oldest, at, sha256('x')) "
                        "where link_no = (select max(link_no) from event_link)"),
    ],
    "run_live": [
        lambda c: (copy_row(c, "run", f"id = {FINISHED}", id=NEW_RUN, state="null", finished_at="null", trigger="'manual'",
                            attempts="0", due_at="null"),
                   gone_run(c, "event", f"first_seq = 1 and run_id = {FINISHED}",
                            feed_seq="(select max(feed_seq) + 1 from event)", items=ENDLESS), c.relink()),
    ],
    "live_run": [lambda c: (gone_run(c, "live", epoch="0", attempt="0", state="'queued'", node_id="null")),
                 lambda c: c.sql("update live set task_id = gen_random_uuid()")],
    "live_epoch": [lambda c: c.sql("update live set epoch = epoch + 1"),
                   lambda c: (c.sql("update event set items = jsonb_set(items, '{0,epoch}', '7') where first_seq = 2 and run_id = "
                                    f"{LIVE}"), c.relink())],
    "live_overlap": [lambda c: (c.sql("drop index live_one_started"), second_live(c))],
    "decision_once": [
        lambda c: (c.drop_unique("occurrence"), copy_row(c, "occurrence", "decision = 'missed'", until_at="null", n="1", event_id="null")),
        lambda c: copy_row(c, "occurrence", "until_at > due_at", due_at="due_at + interval '1 min'", until_at="null", n="1",
                           event_id="null"),
        lambda c: c.sql("update occurrence set until_at = due_at - interval '1 s' where until_at is not null"),
    ],
    "decision_event": [
        lambda c: c.sql("update occurrence set rule = 'catchup.none' where event_id is not null"),
        lambda c: c.sql("update occurrence set n = n + 1 where event_id is not null"),
        lambda c: copy_row(c, "occurrence", "decision = 'missed'", due_at="due_at - interval '1 day'", until_at="null", n="1",
                           event_id=NEW_RUN),
    ],
    "decision_run": [
        lambda c: c.sql("update occurrence set due_at = due_at + interval '1 s' where run_id is not null"),
        lambda c: c.sql("update occurrence set run_id = null where decision = 'fired'"),
        lambda c: c.sql("delete from occurrence where decision = 'fired'"),
        lambda c: copy_row(c, "occurrence", "decision = 'fired'", due_at="due_at + interval '1 min'", run_id=NEW_RUN),
    ],
    "command_key": [
        lambda c: (c.drop_unique("command"), c.sql("update command set idem_key = 'k'"),
                   c.sql("update command set org_id = org_id")),
        lambda c: copy_row(c, "command", "kind = 'run.create'", id="gen_random_uuid()"),
    ],
    "command_run": [lambda c: c.sql(f"update command set run_id = {NEW_RUN} where id = (select id from command limit 1)"),
                    lambda c: c.sql("update command set status = null where id = (select id from command limit 1)")],
    "schedule_task": [lambda c: copy_row(c, "schedule", "true", id=NEW_RUN, task_id=NEW_RUN)],
    "audit_chain": [
        lambda c: c.sql("update audit set object_id = 'x', object_type = 'task|y' where seq = 2"),
        lambda c: c.sql("update audit set detail = '{\"a\": 2}' where seq = 2"),
        lambda c: c.sql("delete from audit where seq = 1"),
        lambda c: c.sql("update audit set hash = sha256('x') where seq = 3"),
    ],
    "month_dropped": [lambda c: c.sql("insert into dropped_month (month, actor, kept) values ('2020-01-01', 'x', '{}')")],
}
# A run that was made and then forgotten: its events fold to nothing that a row could say.
ENDLESS = """'[{"type": "task_created", "severity": "info", "at": "x"}]'"""


def second_live(c):
    """A second started run of the live run's task, whole in itself."""
    run = c.one(f"select {NEW_RUN}")
    was = c.one("select run_id from live")
    copy_row(c, "run", f"id = '{was}'", id=f"'{run}'")
    copy_row(c, "live", f"run_id = '{was}'", run_id=f"'{run}'", output_b="0")
    into, values = columns(c, "event", run_id=f"'{run}'", feed_seq="(select max(feed_seq) from event) + first_seq")
    c.sql(f"insert into event ({into}) select {values} from event where run_id = '{was}'")
    renumber_feed(c)
    c.relink()


def test_what_engines_wrote_is_clean(healthy):
    code, violations, _ = verify(healthy.pg)
    assert (code, violations) == (0, {})
    assert checker.check(healthy.owner, may_be_live=True) == []
    p = takt("verify", "--db", healthy.pg.conninfo)
    lines = [line.split() for line in p.stdout.splitlines()]
    assert p.returncode == 0 and [line[0] for line in lines] == ["CHECK", *[n for n in CHECKS if n != "heads"], "clean"]
    examined = {line[0]: int(line[2]) for line in lines[1:-1]}
    assert [n for n, rows in examined.items() if rows == 0] == ["month_dropped"], "the load is to touch every check"


def test_every_check_has_a_damage():
    assert set(DAMAGE) == {*CHECKS} - {"heads"}


@pytest.mark.parametrize("check,n", [(check, n) for check, ways in DAMAGE.items() for n in range(len(ways))])
def test_damage_is_found_by_its_check_alone(broken, check, n):
    DAMAGE[check][n](broken)
    if check != "event_walk":
        broken.repack()
    code, violations, details = verify(broken)
    assert (code, set(violations)) == (1, {check}), details
    assert details[check] and all(details[check])


def test_an_end_is_missing(broken):
    """A run whose live row went without its end is an orphan, and its events do not end either."""
    broken.sql("delete from live")
    _, violations, _ = verify(broken)
    assert {"run_live", "event_fold"} <= set(violations)


def test_a_live_run_lost_its_events(broken):
    """The checks of live rows read a run's events from its newest row on."""
    broken.sql("update live set last_batch = null")
    assert set(verify(broken)[1]) == {"event_walk", "event_fold", "live_epoch"}


def test_heads_show_what_was_cut_off_or_made_anew(broken, tmp_path):
    heads = tmp_path / "heads.json"
    assert verify(broken, "--heads", heads)[:2] == (0, {})
    said = json.loads(heads.read_text())
    assert said["events"] and said["audit"] and said["at"]
    assert verify(broken, "--against", heads)[:2] == (0, {})
    # Cut off: what is left is a whole chain. Only the heads tell.
    broken.sql("delete from audit where seq = 3", "delete from event_link where link_no = (select max(link_no) from event_link)")
    assert verify(broken)[:2] == (0, {})
    code, violations, details = verify(broken, "--against", heads)
    assert (code, violations) == (1, {"heads": 2}) and all("cut off" in d for d in details["heads"])


def test_heads_show_a_chain_made_anew(broken, tmp_path):
    heads = tmp_path / "heads.json"
    assert verify(broken, "--heads", heads)[0] == 0
    broken.sql(f"update event set at = at - interval '1 h' where run_id = {ONE_EVENT}")
    broken.relink()
    assert verify(broken)[:2] == (0, {})
    code, violations, _ = verify(broken, "--against", heads)
    assert (code, set(violations)) == (1, {"heads"})


def test_no_heads_are_written_of_what_is_violated(broken, tmp_path):
    broken.sql("delete from audit where seq = 1")
    p = takt("verify", "--db", broken.conninfo, "--heads", tmp_path / "heads")
    assert p.returncode == 1 and "not written" in p.stderr and not (tmp_path / "heads").exists()


def test_a_check_that_fails_does_not_end_the_others(broken):
    broken.sql("update run set policy = '{\"max_retries\": \"many\"}'")
    p = takt("verify", "--db", broken.conninfo, "-o", "json")
    checks = json.loads(p.stdout)["checks"]
    assert p.returncode == 2 and [c["name"] for c in checks if "problem" in c] == ["attempt_count"]
    assert len(checks) == len(CHECKS) - 1


def test_since_leaves_older_months_out(broken):
    first = broken.one("select to_char(now(), 'YYYY-MM')")
    broken.sql("update unit_row set state = 'running'")
    assert verify(broken, "--since", first)[0] == 1
    assert verify(broken, "--since", "2099-01")[:2] == (0, {})


def test_no_statement_changes_history(healthy):
    import psycopg
    for text in ("update takt.event_batch set at = now()", "delete from takt.event_batch", "update takt.audit set actor = 'x'",
                 "delete from takt.audit", "truncate takt.audit", "update takt.event_link set n = 1",
                 "delete from takt.event_link", "truncate takt.event_link"):
        with healthy.pg.connect("takt_owner") as c, pytest.raises(psycopg.Error) as e:
            c.execute(text)
        assert e.value.sqlstate == "TK004", text


@pytest.mark.parametrize("args,words", [
    (["--db", "host=/nonexistent dbname=takt"], ["no connection", "takt_auditor"]),
    (["--db", "nonsense"], ["--db", "host="]),
    (["--db", "host=/tmp password=x"], ["password", ".pgpass"]),
    (["--state", "/nonexistent/state"], ["--db"]),
    (["--since", "yesterday"], ["--since", "2026-11"]),
    (["--since", "2026-13"], ["--since"]),
    (["--against", "/nonexistent/heads"], ["--against", "/nonexistent/heads"]),
])
def test_what_cannot_be_checked_is_2_and_says_why(args, words):
    p = takt("verify", *args)
    assert p.returncode == 2, p
    assert all(w in p.stderr for w in words), p.stderr


def test_a_database_that_is_not_ours_or_a_role_that_sees_too_little():
    with Pg() as pg:
        p = takt("verify", "--db", pg.conninfo)
        assert p.returncode == 2 and "no schema of Takt" in p.stderr
        pg.migrate()
        for role in ("takt_gateway", "takt_engine"):
            p = takt("verify", "--db", pg.dsn(role))
            assert p.returncode == 2 and "takt_auditor" in p.stderr, (role, p.stderr)
        for role in ("takt_auditor", "takt_owner", "postgres"):
            assert takt("verify", "--db", pg.dsn(role)).returncode == 0, role
        pg.sql("delete from takt.schema_version where version = (select max(version) from takt.schema_version)")
        p = takt("verify", "--db", pg.conninfo)
        assert p.returncode == 2 and "--migrate" in p.stderr
        pg.sql("insert into takt.schema_version values (999, 'of_tomorrow')")
        p = takt("verify", "--db", pg.conninfo)
        assert p.returncode == 2 and "999" in p.stderr


def test_the_database_is_taken_from_the_state_of_takt_dev(healthy, tmp_path):
    (tmp_path / "taktd.conf").write_text(f'state_dir = "/x"\ndb = "{healthy.pg.conninfo}"\nplatform_dirs = {{"/a", "/b"}}\n')
    assert takt("verify", "--state", tmp_path).returncode == 0
    (tmp_path / "taktd.conf").write_text('state_dir = "/x"\n')
    p = takt("verify", "--state", tmp_path)
    assert p.returncode == 2 and "taktd.conf" in p.stderr and "--db" in p.stderr


def test_chains_survive_kills_and_dead_nodes_are_linked_by_others():
    with Engine() as t:
        for life in range(1, 4):
            for _ in range(4):
                t.run(t.task("hello"), wait=False)
            wait_until(lambda n=life: t.one("select count(*) from takt.event_batch where incarnation = %s", n)
                       > t.one("select coalesce(sum(n), 0) from takt.event_link where incarnation = %s", n),
                       30, "events of this life that are not linked")
            t.kill_engine(signal.SIGKILL)
            t.start_engine()
        wait_until(lambda: t.one("select count(*) from takt.live") == 0 and t.one("select count(*) from takt.run") == 12, 90,
                   "all runs to end")
        other = t.second_node()
        wait_linked(t)
        assert t.one("select count(distinct (node_no, incarnation)) from takt.event_link") >= 3
        # Now this node's end is not linked and the node does not come back: the other one does it.
        t.kill_engine(signal.SIGKILL)
        t.sql("update takt.node set lease_until = now() where name = 'test-node'")
        with t.pg.connect() as c:
            c.execute("set session_replication_role = replica")
            c.execute("delete from takt.event_link l where node_no = (select no from takt.node where name = 'test-node') and "
                      "link_no > 1")
        wait_linked(other)
        code, violations, details = verify(t.pg)
        assert (code, violations) == (0, {}), details
        t.start_engine()
