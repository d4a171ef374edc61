# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The run's state table: one source, no dead end, and a database that refuses every other move."""
import collections
import pathlib
import re
import subprocess
import sys
import uuid

import psycopg
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from pg import Pg  # noqa: E402

DEF = (ROOT / "lib/task/states.def").read_text()
STATES = {m[1]: m[2] == "1" for m in re.finditer(r"^STATE\((\w+), ([01])\)$", DEF, re.M)}
MOVES = {(m[1], m[2]) for m in re.finditer(r"^MOVE\((\w+), (\w+)\)$", DEF, re.M)}
LIVE = [s for s, terminal in STATES.items() if not terminal]
TERMINAL = [s for s, terminal in STATES.items() if terminal]
ORG, TASK, NODE = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()


@pytest.fixture(scope="module")
def engine():
    with Pg() as pg:
        pg.migrate()
        with pg.connect("takt_engine") as c:
            yield c


def path_to(state):
    """A shortest legal way from queued."""
    ways = collections.deque([["queued"]])
    while ways:
        way = ways.popleft()
        if way[-1] == state:
            return way
        ways.extend(way + [to] for frm, to in sorted(MOVES) if frm == way[-1] and to not in way)
    raise AssertionError(f"{state} cannot be reached")


def new_run(c):
    """A run with its live row; the UUIDv7 is made of the database's time, so that its partition is there."""
    run = c.execute("""select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '7'
        || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid""").fetchone()[0]
    c.execute("""insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, created_at,
        policy) values (%s, %s, 'ABCDEFGH', %s, 1, 'n', 't', 'manual', now(), '{}')""", [run, ORG, TASK])
    c.execute("insert into takt.live (run_id, org_id, task_id, state, next_at, queue_depth) "
              "values (%s, %s, %s, 'queued', now(), false)", [run, ORG, TASK])
    return run


def move(c, run, to):
    """A live state is set in live; a terminal one in run, and the live row goes."""
    if not STATES[to]:
        c.execute("update takt.live set state = %s where run_id = %s", [to, run])
    else:
        c.execute("update takt.run set state = %s, finished_at = now() where id = %s", [to, run])
        c.execute("delete from takt.live where run_id = %s", [run])


def run_in(c, state):
    run = new_run(c)
    for step in path_to(state)[1:]:
        move(c, run, step)
    return run


def test_the_migration_is_what_gen_states_writes():
    made = subprocess.run([ROOT / "tools/gen-states"], capture_output=True, text=True, check=True).stdout
    assert (ROOT / "sql/migrations/0002_states.sql").read_text() == made
    assert len(STATES) == 12 and made.count("insert into takt.run_move") == len(MOVES) > 0


def test_the_picture_shows_every_state_and_move():
    dot = subprocess.run([ROOT / "tools/gen-states", "dot"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"(\w+) -> (\w+);", dot)) == MOVES
    assert set(re.findall(r"(\w+) \[shape=doublecircle\]", dot)) == set(TERMINAL)


def test_the_database_holds_the_same_table(engine):
    assert dict(engine.execute("select name, terminal from takt.run_state").fetchall()) == STATES
    assert set(engine.execute("select from_state, to_state from takt.run_move").fetchall()) == MOVES


@pytest.mark.parametrize("state", STATES)
def test_a_way_out_of_every_state_but_the_last(state):
    out = {to for frm, to in MOVES if frm == state}
    if STATES[state]:
        assert not out
        return
    seen, todo = set(), [state]  # and each way leads to an end
    while todo:
        here = todo.pop()
        seen.add(here)
        todo += [to for frm, to in MOVES if frm == here and to not in seen]
    assert out and seen & set(TERMINAL)
    assert path_to(state)


@pytest.mark.parametrize("frm", LIVE)
@pytest.mark.parametrize("to", STATES)
def test_moves(engine, frm, to):
    """All pairs: legal ones pass, every other is refused and changes nothing."""
    with engine.transaction(force_rollback=True):
        run = run_in(engine, frm)
        if (frm, to) in MOVES:
            move(engine, run, to)
            rows = engine.execute("select r.state, l.state from takt.run r left join takt.live l on l.run_id = r.id "
                                  "where r.id = %s", [run]).fetchone()
            assert rows == ((to, None) if STATES[to] else (None, to))
        elif frm == to:
            move(engine, run, to)  # no move at all
        else:
            with pytest.raises(psycopg.Error) as e, engine.transaction():
                move(engine, run, to)
            assert e.value.sqlstate == "TK001"
            assert engine.execute("select state from takt.live where run_id = %s", [run]).fetchone() == (frm,)
            assert engine.execute("select state from takt.run where id = %s", [run]).fetchone() == (None,)


@pytest.mark.parametrize("frm", TERMINAL)
@pytest.mark.parametrize("to", [*STATES, None])
def test_a_finished_run_never_changes(engine, frm, to):
    with engine.transaction(force_rollback=True):
        before = next(f for f, t in sorted(MOVES) if t == frm and not STATES[f])
        run = run_in(engine, before)
        move(engine, run, frm)
        with pytest.raises(psycopg.Error) as e, engine.transaction():
            engine.execute("update takt.run set state = %s, finished_at = case when %s::text is null then null else now() end "
                           "where id = %s", [to, to, run])
        assert e.value.sqlstate == "TK003"
        with pytest.raises(psycopg.Error) as e:
            engine.execute("delete from takt.run where id = %s", [run])
        assert e.value.sqlstate == "42501"


@pytest.mark.parametrize("state", [s for s in STATES if s != "queued"])
def test_a_run_begins_as_queued(engine, state):
    with engine.transaction(force_rollback=True), pytest.raises(psycopg.Error) as e:
        engine.execute("insert into takt.live (run_id, org_id, task_id, state, next_at, queue_depth) "
                       "values (%s, %s, %s, %s, now(), false)", [uuid.uuid4(), ORG, TASK, state])
    assert e.value.sqlstate == "TK001"


@pytest.mark.parametrize("terminal", TERMINAL)
def test_a_live_row_is_never_in_a_terminal_state(engine, terminal):
    with engine.transaction(force_rollback=True):
        run = run_in(engine, next(f for f, t in sorted(MOVES) if t == terminal))
        with pytest.raises(psycopg.Error) as e:
            engine.execute("update takt.live set state = %s where run_id = %s", [terminal, run])
        assert e.value.sqlstate == "TK001"


@pytest.mark.parametrize("column", ["epoch", "attempt", "event_seq"])
def test_counters_never_go_back(engine, column):
    with engine.transaction(force_rollback=True):
        run = new_run(engine)
        engine.execute(f"update takt.live set {column} = 5 where run_id = %s", [run])
        with pytest.raises(psycopg.Error) as e:
            engine.execute(f"update takt.live set {column} = 4 where run_id = %s", [run])
        assert e.value.sqlstate == "TK002"


def test_a_live_row_cannot_go_without_an_end(engine):
    with engine.transaction(force_rollback=True):
        run = new_run(engine)
        with pytest.raises(psycopg.Error) as e:
            engine.execute("delete from takt.live where run_id = %s", [run])
        assert e.value.sqlstate == "TK001"


def test_two_started_runs_of_one_task_cannot_be(engine):
    """Overlap "queue": the index is the guard, whatever a statement forgets."""
    with engine.transaction(force_rollback=True):
        runs = [new_run(engine), new_run(engine)]
        engine.execute("update takt.live set queue_depth = true where run_id = any(%s)", [runs])
        engine.execute("update takt.live set attempt = 1 where run_id = %s", [runs[0]])
        with pytest.raises(psycopg.errors.UniqueViolation):
            engine.execute("update takt.live set attempt = 1 where run_id = %s", [runs[1]])
