# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The engine's statements on two connections, in orders that two engines or a slow gateway can bring about."""
import json
import pathlib
import re
import sys
import uuid

import psycopg
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from engine import uuid7  # noqa: E402
from pg import Pg  # noqa: E402

ORG = str(uuid.uuid4())
NODES = [str(uuid.uuid4()) for _ in range(2)]
SETTINGS = ("search_path = takt", "plan_cache_mode = force_generic_plan", "enable_seqscan = off", "jit = off",
            "lock_timeout = '2s'")


class Session:
    """An engine's connection: statements of sql/engine by name, transactions ended by hand."""

    def __init__(self, pg):
        self.c = pg.connect("takt_engine", autocommit=False)
        for setting in SETTINGS:
            self.c.execute(f"set {setting}")
        self.c.commit()
        self.prepared = set()

    def run(self, name, *args):
        if name not in self.prepared:
            text = (ROOT / f"sql/engine/{name}.sql").read_text(encoding="utf-8")
            self.c.execute(f"prepare {name} as " + re.sub(r"^--.*\n", "", text, flags=re.M).strip().rstrip(";"))
            self.prepared.add(name)
        quoted = ", ".join("null" if a is None else psycopg.sql.quote(str(a)) for a in args)
        cursor = self.c.execute(f"execute {name}({quoted})")
        return cursor.fetchall() if cursor.description else []

    def commit(self):
        self.c.commit()


class Lab:
    def __init__(self, pg):
        self.pg = pg
        self.a, self.b = Session(pg), Session(pg)
        self.c = pg.connect()
        self.c.execute("insert into takt.org (id, name) values (%s, 'o')", [ORG])
        for node in NODES:
            self.c.execute("insert into takt.node (id, name, epoch, incarnation, lease_until) "
                           "values (%s, 'n', 1, 1, now() + interval '1 hour')", [node])

    def one(self, text, *params):
        row = self.c.execute(text, params).fetchone()
        return row and row[0]

    def task(self, overlap="queue"):
        task = str(uuid.uuid4())
        self.c.execute("insert into takt.task (id, org_id, name, task_type, enabled, definition) "
                       "values (%s, %s, %s, 'hello', true, %s)",
                       [task, ORG, task, json.dumps({"overlap": overlap, "parameters": {}, "max_retries": 0})])
        return task

    def command(self, kind, run, body):
        command = uuid7()
        self.c.execute("insert into takt.command (id, org_id, request_hash, kind, actor, body, run_id) "
                       "values (%s, %s, 'x', %s, 'a', %s, %s)", [command, ORG, kind, json.dumps(body), run])
        return command

    def create(self, task, run=None):
        run = run or uuid7()
        return run, self.command("run.create", run, {"task_id": task})

    def decide_creates(self, *commands):
        self.a.run("command_create", NODES[0], json.dumps([{"id": c, "code": "AAAAAAAA"} for c in commands]))
        self.a.commit()

    def queued(self, task):
        run, command = self.create(task)
        self.decide_creates(command)
        return run

    def claim(self, session, node, limit=1):
        return [str(row[0]) for row in session.run("claim", node, 1, limit, "{hello}", "{transient}")]

    def status(self, command):
        return self.one("select status from takt.command where id = %s", command)


@pytest.fixture(scope="module")
def lab():
    with Pg() as pg:
        pg.migrate()
        yield Lab(pg)


def test_a_cancel_of_a_run_that_another_node_took_meanwhile_is_left_to_it(lab):
    """It was answered with 409, "finished already", and lost."""
    run = lab.queued(lab.task())
    command = lab.command("run.cancel", run, {"reason": "r"})
    assert [str(row[0]) for row in lab.a.run("command_open", NODES[0], 10)] == [command]
    lab.a.commit()
    assert lab.claim(lab.b, NODES[1]) == [run]
    lab.b.commit()
    assert lab.a.run("command_cancel", NODES[0], json.dumps([command])) == []
    lab.a.commit()
    assert lab.status(command) is None
    assert lab.a.run("command_open", NODES[0], 10) == []
    lab.a.commit()
    assert [str(row[0]) for row in lab.b.run("command_open", NODES[1], 10)] == [command]
    assert [str(row[0]) for row in lab.b.run("command_cancel", NODES[1], json.dumps([command]))] == [run]
    lab.b.commit()
    assert lab.status(command) == 202
    assert lab.one("select state from takt.live where run_id = %s", run) == "cancelling"


def test_two_commands_with_one_run_id_make_one_run(lab):
    """The second made the first fail too, and with it the commands of everybody, at each try."""
    task, other = lab.task("parallel"), lab.task("parallel")
    run, first = lab.create(task)
    _, second = lab.create(task, run)
    _, bystander = lab.create(other)
    lab.decide_creates(first, second, bystander)
    assert sorted(lab.status(c) for c in (first, second)) == [201, 422]
    assert lab.status(bystander) == 201
    _, third = lab.create(other, run)
    lab.decide_creates(third)
    assert lab.status(third) == 422
    assert lab.one("select count(*) from takt.live where run_id = %s", run) == 1
    assert lab.one("select count(*) from takt.run_events(%s)", run) == 1


def fire(lab, task, due):
    """Decide about the task's due time as a round of the engine would; the new run."""
    run = uuid7()
    place, was, version, read_at = lab.c.execute(
        "update takt.schedule set next_due_at = %s, next_fire_at = %s where id = %s "
        "returning ctid::text, next_due_at::text, version, extract(epoch from now())::bigint", [due, due, task]).fetchone()
    lab.a.run("schedule_fire", NODES[0], f"{{\"{place}\"}}", f"{{{task}}}", f"{{\"{was}\"}}", f"{{{version}}}", "{null}", "{null}",
              "{null}", f"{{{run}}}", "{AAAAAAAA}", "{null}", *["{}"] * 7, read_at)
    lab.a.commit()
    return run


def test_a_run_that_is_being_cancelled_is_not_cancelled_again_by_each_due_time(lab):
    """One that took a minute to stop got a command a due time."""
    task = lab.task("replace")
    lab.c.execute("insert into takt.schedule (id, org_id, task_id, kind, expr, enabled) values (%s, %s, %s, 'every', '1s', true)",
                  [task, ORG, task])
    lab.c.execute("select takt.make_partitions((current_date - interval '1 month')::date, 3)")
    run = lab.queued(task)
    assert run in lab.claim(lab.b, NODES[1], 10)
    lab.b.commit()

    def cancels():
        return lab.one("select count(*) from takt.command where run_id = %s and kind = 'run.cancel'", run)
    first = fire(lab, task, lab.one("select date_trunc('second', now()) - interval '3 s'"))
    assert cancels() == 1
    (command,) = lab.c.execute("select id from takt.command where run_id = %s and kind = 'run.cancel'", [run]).fetchone()
    lab.b.run("command_cancel", NODES[1], json.dumps([str(command)]))
    lab.b.commit()
    assert lab.one("select state from takt.live where run_id = %s", run) == "cancelling"
    second = fire(lab, task, lab.one("select date_trunc('second', now()) - interval '2 s'"))
    assert cancels() == 1
    assert set(lab.one("select detail -> 'replaces' from takt.occurrence where run_id = %s", second)) == {first, run}
