# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Nodes that die: their runs go to others, once, and who comes back changes nothing.

A death takes 35 seconds to be believed, so everything that waits for it waits at once: `dead` has four nodes beside the
two that rescue (one killed, one stopped and gone on, one that is only a connection with half a transaction), `still`
has a database that stands still for longer than that, `stuck` a node that cannot renew its lease.
"""
import json
import os
import pathlib
import signal
import sys
import time

import psycopg
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import checker  # noqa: E402
from engine import Engine, uuid7  # noqa: E402
from forge import add_events  # noqa: E402
from pg import SOURCE, Pg, wait_until  # noqa: E402

FOREVER = 100000
LIMIT_S = 120


def witness(t, kind, file, limits=None, **parameters):
    target = parameters.pop("target", None)
    task = t.task(kind, {"file": str(file), "steps": FOREVER, "step_ms": 100, "until_file": f"{t.root}/end",
                         **parameters}, target=target, **(limits or {}))
    return t.run(task)


def lines(t, file):
    return t.witness(file) if file.exists() else []


def steps(t, file):
    return sum(line["phase"] == "step" for line in lines(t, file))


def only(nodes, node):
    """Draining is the way to say where a run goes; the claim itself looks. None: anywhere."""
    for other in nodes:
        other.drain(node is not None and other is not node)


class Killed:
    """Its executor is stopped at some moment, so that what was dispatched then is not started; then its engine is killed."""

    def __init__(self, t, nodes, node):
        self.node = node
        only(nodes, node)
        self.files = {n: t.root / f"killed-{n}" for n in ("rerun", "fail", "cancel", "gone", "later", "change")}
        self.rerun = witness(t, "witness", self.files["rerun"], {"max_retries": 1})
        self.fail = witness(t, "witness_each", self.files["fail"], {"max_retries": 3},
                            target={"type": "device", "id": t.device("killed")})
        self.cancel = witness(t, "witness", self.files["cancel"])
        self.gone = witness(t, "witness", self.files["gone"], {"max_retries": 5})
        for run in (self.rerun, self.fail, self.cancel, self.gone):
            t.wait_state(run, "running")
        node.executor_process.send_signal(signal.SIGSTOP)
        self.later = witness(t, "witness", self.files["later"], steps=2)
        self.change = witness(t, "witness_change", self.files["change"], {"max_retries": 3}, steps=2)
        for run in (self.later, self.change):
            t.wait_state(run, "dispatched")
        assert t.cancel(self.cancel)[0] == 202
        t.wait_state(self.cancel, "cancelling")
        node.kill_engine()
        self.runs = [self.rerun, self.fail, self.cancel, self.gone, self.later, self.change]
        # Nobody but the dead node may decide this one, until somebody has its run.
        self.command = t.command("run.cancel", {"run_id": self.gone, "reason": "its node is gone"}, self.gone)


class Stopped:
    """All of it goes on but the engine, which is stopped for longer than it takes to be dead."""

    def __init__(self, t, nodes, node):
        self.node = node
        only(nodes, node)
        self.files = {n: t.root / f"stopped-{n}" for n in ("rerun", "many", "change")}
        self.rerun = witness(t, "witness", self.files["rerun"], {"max_retries": 1})
        self.change = witness(t, "witness_change", self.files["change"])
        for run in (self.rerun, self.change):
            t.wait_state(run, "running")
        # The node has room for three: of these one starts, and says nothing that could be fenced; three wait in the
        # engine's memory, and there will be room for them when the change was ended with its lease.
        group = t.group("stopped", [t.device(f"stopped-{i}") for i in range(4)])
        self.many = witness(t, "witness_each", self.files["many"], target={"type": "device_group", "id": group},
                            step_ms=600000)
        wait_until(lambda: {"output", "progress"} <= set(t.types(self.many)), 30, "all that its first unit has to say")
        self.started = {(line["run"], line["unit"]) for line in lines(t, self.files["many"])}
        self.runs = [self.rerun, self.change, self.many]
        node.engine_process.send_signal(signal.SIGSTOP)


class Ghost:
    """A node that never returns: only its connection is left, in the middle of a pipeline, holding its run's row."""

    def __init__(self, t):
        self.id = uuid7()
        self.run = uuid7()
        task = t.task("witness", {"steps": 1}, max_retries=1)
        definition = json.dumps(t.one("select definition from takt.task where id = %s", task))
        t.sql("insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, created_at, "
              "policy) values (%s, %s, 'AAAAAAAA', %s, 1, 'x', 'witness', 'manual', now(), %s)", self.run, t.org, task,
              definition)
        self.c = t.pg.connect("takt_engine")
        self.c.execute("select pg_advisory_lock(hashtextextended('takt.node:' || %s::uuid, 0))", (self.id,))
        self.c.execute("insert into takt.node (id, name, epoch, incarnation, beat, lease_until, backend_pid) "
                       "values (%s, 'ghost', 1, 1, 7, now() + interval '30 s', pg_backend_pid())", (self.id,))
        with t.owner.transaction():
            t.sql("insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, queue_depth) "
                  "values (%s, %s, %s, 'queued', now() + interval '1 day', 0, true)", self.run, t.org, task)
            t.sql("update takt.live set state = 'dispatched', event_seq = 2, node_id = %s, epoch = 1, attempt = 1, units = 1, "
                  "opened_at = now(), attempt_started_at = now(), timeout_s = 300 where run_id = %s", self.id, self.run)
            at = "2026-01-01T00:00:00.000000Z"
            add_events(t.owner.execute, self.run, [
                {"type": "task_created", "severity": "info", "at": at, "state": "queued"},
                {"type": "task_dispatched", "severity": "info", "at": at, "state": "dispatched"}], 1, self.id)
        self.c.pgconn.enter_pipeline_mode()
        self.c.pgconn.send_query_params(b"update takt.live set event_seq = event_seq where run_id = $1",
                                        [self.run.encode()])
        self.c.pgconn.send_flush_request()
        self.c.pgconn.flush()
        wait_until(lambda: t.one("select 1 from pg_locks l join pg_class c on c.oid = l.relation where c.relname = 'live' "
                                 "and l.mode = 'RowExclusiveLock' and l.pid = %s", self.c.info.backend_pid), 30, "its lock")

    def is_ended(self):
        """The answer to its update was read, then nothing but the end can come."""
        try:
            self.c.pgconn.consume_input()
            return False
        except psycopg.OperationalError:
            return True


def beat_of(t, node):
    return t.one("select beat from takt.node where id = %s", node.node())


@pytest.fixture(scope="module")
def still():
    """Every process of the server is stopped: no answer, no error, no lost connection."""
    with Engine() as t:
        second = t.second_node()
        file = t.root / "still"
        only((t, second), t)
        runs = [witness(t, "witness", file, label="first")]
        only((t, second), second)
        runs.append(witness(t, "witness", file, label="second"))
        for run in runs:
            t.wait_state(run, "running")
        only((t, second), None)
        # The first has seen the second's last renewal: its own comes some seconds later.
        for node in (second, t):
            beat = beat_of(t, node)
            wait_until(lambda n=node, b=beat: beat_of(t, n) > b, 30, "a renewal")
        t.still_runs, t.still_file, t.still_since = runs, file, time.clock_gettime(time.CLOCK_BOOTTIME)
        t.still_pids = server_pids(t)
        for pid in t.still_pids:
            os.kill(pid, signal.SIGSTOP)
        yield t
        go_on(t)
        (t.root / "end").touch()
        for run in runs:
            t.wait_end(run)


def go_on(t):
    for pid in t.still_pids:
        os.kill(pid, signal.SIGCONT)
    t.still_pids = []


def server_pids(t):
    top = t.pg.process.pid
    return [top, *map(int, pathlib.Path(f"/proc/{top}/task/{top}/children").read_text().split())]


@pytest.fixture(scope="module")
def stuck():
    """The node's row is locked by somebody: no renewal comes through."""
    with Engine() as t:
        with t.pg.connect("takt_owner", autocommit=False) as c:
            c.execute("select from takt.node for update")
            yield t, c


@pytest.fixture(scope="module")
def dead(still, stuck):
    with Engine() as t:
        other = t.second_node("other")
        killed = t.second_node("killed")
        stopped = t.second_node("stopped", max_units=3)
        nodes = (t, other, killed, stopped)
        t.killed = Killed(t, nodes, killed)
        t.stopped = Stopped(t, nodes, stopped)
        t.ghost = Ghost(t)
        t.dead_runs = [*t.killed.runs, *t.stopped.runs, t.ghost.run]
        for node in (t, other):
            node.drain(False)
        for run in t.dead_runs:
            wait_until(lambda r=run: "attempt_taken_over" in t.types(r), LIMIT_S, f"run {run} to be taken over")
        yield t
        (t.root / "end").touch()
        for run in t.dead_runs:
            t.wait_end(run)


def attempts(t, run):
    return [s for (s,) in t.sql("select state from takt.attempt where run_id = %s order by no", run)]


def taken_over(t, run):
    return [e for e in t.events(run) if e["type"] == "attempt_taken_over"]


def test_each_run_is_taken_over_once_under_a_new_epoch(dead):
    names = {"killed": dead.killed.runs, "stopped": dead.stopped.runs, "ghost": [dead.ghost.run]}
    for name, runs in names.items():
        for run in runs:
            event, = taken_over(dead, run)
            assert event["from"] == name and event["to"] in ("test-node", "other")
            assert (event["epoch"], event["attempt"]) == (2, 1)
            taken_from = dead.one("select n.name from takt.attempt a join takt.node n on n.id = a.taken_from "
                                  "where a.run_id = %s and a.no = 1", run)
            assert taken_from == name


def test_what_may_be_run_again_is_retried_elsewhere(dead):
    for it in (dead.killed, dead.stopped):
        wait_until(lambda i=it: attempts(dead, i.rerun) == ["lost", "running"], LIMIT_S, "the second attempt")
        assert str(dead.one("select node_id from takt.live where run_id = %s", it.rerun)) != it.node.node()


def test_what_may_not_fails_and_nothing_is_started_again(dead):
    for run in (dead.killed.fail, dead.killed.change, dead.stopped.change, dead.stopped.many):
        assert dead.wait_end(run) == "failed", dead.events(run)
        assert attempts(dead, run) == ["lost"]
        codes = {c for (c,) in dead.sql("select error ->> 'code' from takt.unit where run_id = %s", run)}
        assert codes == {"takt.lost"}


def test_what_was_not_started_starts_on_the_rescuer(dead):
    assert dead.wait_end(dead.killed.later) == "completed"
    assert attempts(dead, dead.killed.later) == ["passed"]
    assert checker.check_witness(lines(dead, dead.killed.files["later"]), 2) == []
    assert {line["epoch"] for line in lines(dead, dead.killed.files["later"])} == {2}


def test_what_was_being_cancelled_is_cancelled(dead):
    assert dead.wait_end(dead.killed.cancel) == "cancelled"
    assert dead.summary(dead.killed.cancel)["reason"] == "test"


def test_a_command_about_a_dead_nodes_run_is_decided_by_the_rescuer(dead):
    assert dead.answer(dead.killed.command)[0] in (200, 202)
    assert dead.wait_end(dead.killed.gone) == "cancelled"


def test_the_half_transaction_of_the_dead_is_ended(dead):
    assert dead.wait_end(dead.ghost.run) == "completed"
    assert attempts(dead, dead.ghost.run) == ["lost", "passed"]
    wait_until(dead.ghost.is_ended, 30, "the server's good-bye")


def units_of(node):
    return {p.name for p in (node.state / "units").glob("*.*.*")}


def came_back(t, it, live_run, file):
    """The stale units are dropped, the live run's timeline tells, and nothing is witnessed after that."""
    wait_until(lambda: "fenced" in t.types(live_run), LIMIT_S, "the fenced event")
    fenced = [e for e in t.events(live_run) if e["type"] == "fenced"]
    assert {(e["unit"], e["epoch"]) for e in fenced} == {(f"{live_run}.1.0", 1)}
    wait_until(lambda: not any(u.startswith(run) for u in units_of(it.node) for run in it.runs), LIMIT_S,
               "the stale units to be dropped")
    first = [line for line in lines(t, file) if line["run"] == live_run and line["attempt"] == 1]
    second = steps(t, file)
    wait_until(lambda: steps(t, file) >= second + 20, 60, "more steps of the second attempt")
    assert first == [line for line in lines(t, file) if line["run"] == live_run and line["attempt"] == 1]


def test_a_stopped_engine_goes_on_and_finds_its_runs_gone(dead):
    it = dead.stopped
    it.node.engine_process.send_signal(signal.SIGCONT)
    came_back(dead, it, it.rerun, it.files["rerun"])
    # What waited in its memory was not started: the lease was over, and then its runs were not its own.
    assert {(line["run"], line["unit"]) for line in lines(dead, it.files["many"])} == it.started
    assert it.node.engine_process.poll() is None
    # Everything was read anew: because the lease had run out, or, if a stale report was answered first, because of that.
    assert (it.node.root / "engine.log").read_text().count("recovered: ") >= 2


def test_a_killed_node_comes_back_to_nothing(dead):
    it = dead.killed
    it.node.executor_process.send_signal(signal.SIGCONT)
    it.node.start_engine()
    came_back(dead, it, it.rerun, it.files["rerun"])
    # Its START had waited in the socket of the stopped executor for longer than the lease.
    assert lines(dead, it.files["change"]) == []


def test_who_came_back_works_again(dead):
    nodes = (dead, *dead.others)
    for it in (dead.killed, dead.stopped):
        only(nodes, it.node)
        run = dead.run(dead.task("hello"))
        assert dead.wait_end(run) == "completed"
        assert str(dead.one("select node_id from takt.attempt where run_id = %s", run)) == it.node.node()
    only(nodes, None)


def test_each_has_one_accepted_outcome(dead):
    (dead.root / "end").touch()
    for run in dead.dead_runs:
        dead.wait_end(run)
    for it in (dead.killed, dead.stopped):
        assert dead.state_of(it.rerun) == "completed"
        assert attempts(dead, it.rerun) == ["lost", "passed"]
    assert checker.check(dead.owner) == []


def test_a_node_that_cannot_renew_its_lease_begins_nothing(stuck):
    t, holder = stuck
    log = t.root / "engine.log"
    told = "nothing new is begun"
    wait_until(lambda: told in log.read_text(), LIMIT_S, "the self-fence")
    run = t.run(t.task("hello"), wait=False)
    count = log.read_text().count(told)
    # Between the renewals that wait for the lock the connection is free: there would be time to decide.
    wait_until(lambda: log.read_text().count(told) >= count + 3, LIMIT_S, "more time without a lease")
    assert t.one("select count(*) from takt.command where decided_at is not null") == 0
    assert t.one("select count(*) from takt.run") == 0
    holder.rollback()
    wait_until(lambda: t.state_of(run), 60, "the command's decision")
    assert t.wait_end(run) == "completed"


def test_a_database_that_stood_still_makes_nobody_dead(dead, still):
    """After `dead`: that took longer than a death, and all that time this server was stopped."""
    t = still
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    wait_until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > t.still_since + 40, 60, "more than a lease's time")
    assert now > t.still_since
    # In the end the server is killed, with all that waits in its sockets; and the second engine comes back a little
    # later than the first, which so sees a row that has not moved all the time.
    second = t.others[0]
    second.engine_process.send_signal(signal.SIGSTOP)
    for pid in t.still_pids[1:]:
        os.kill(pid, signal.SIGKILL)
    t.still_pids = []
    t.kill_database()
    beat = beat_of(t, t)
    wait_until(lambda: beat_of(t, t) > beat + 2, 60, "the first engine's return and two renewals")
    second.engine_process.send_signal(signal.SIGCONT)
    beats = dict(t.sql("select id, beat from takt.node"))
    wait_until(lambda: all(b > beats[n] + 2 for n, b in t.sql("select id, beat from takt.node")), 60, "renewals of both")
    (t.root / "end").touch()
    for run in t.still_runs:
        assert t.wait_end(run) == "completed"
        assert attempts(t, run) == ["passed"]
        assert taken_over(t, run) == []


# The statement by itself -----------------------------------------------------------------------


def statement(name, *params):
    """A file under sql/engine with $n as psycopg wants it; parameters in the file's order."""
    text = (SOURCE / "sql/engine" / f"{name}.sql").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--")).replace("%", "%%")
    for n in range(len(params), 0, -1):
        text = text.replace(f"${n}", f"%(p{n})s")
    return text, {f"p{n + 1}": p for n, p in enumerate(params)}


@pytest.fixture(scope="module")
def rows():
    """Two nodes that may rescue and a dead one with a run; no program."""
    with Pg() as pg:
        pg.migrate()
        with pg.connect("takt_owner") as c:
            c.execute("select takt.make_partitions(current_date, 2)")
            org = c.execute("insert into takt.org (name) values ('acme') returning id").fetchone()[0]
            pg.nodes = [uuid7() for _ in range(3)]
            for node in pg.nodes:
                c.execute("insert into takt.node (id, name, epoch, incarnation, beat) values (%s, 'n', 1, 1, 5)", (node,))
            pg.run = uuid7()
            c.execute("insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, "
                      "created_at, policy) values (%s, %s, 'AAAAAAAA', %s, 1, 'x', 'hello', 'manual', now(), '{}')",
                      (pg.run, org, uuid7()))
            c.execute("insert into takt.live (run_id, org_id, task_id, state, next_at, queue_depth) "
                      "select id, org_id, task_id, 'queued', now(), true from takt.run")
            c.execute("update takt.live set state = 'dispatched', node_id = %s, epoch = 1, attempt = 1, units = 1, "
                      "opened_at = now(), timeout_s = 300", (pg.nodes[2],))
        yield pg


def rescue(c, me, dead_node, beat):
    return c.execute(*statement("rescue", me, dead_node, beat, 200, '["hello"]')).fetchall()


def test_of_two_rescuers_at_once_one_wins(rows):
    first, second, gone = rows.nodes
    with rows.connect("takt_engine", autocommit=False) as a, rows.connect("takt_engine", autocommit=False) as b:
        assert rescue(a, first, gone, 4) == []  # it has renewed since
        assert len(rescue(a, first, gone, 5)) == 1
        assert rescue(b, second, gone, 5) == []  # while the first one is at it
        b.rollback()
        a.rollback()
        assert len(rescue(a, first, gone, 5)) == 1
        a.commit()
        assert rescue(b, second, gone, 5) == []
        b.commit()
    with rows.connect("takt_owner") as c:
        assert c.execute("select node_id::text, epoch from takt.live").fetchone() == (first, 2)
        assert c.execute("select count(*) from takt.event").fetchone()[0] == 1


def test_a_renewal_at_the_same_moment_keeps_the_runs(rows):
    """The rescue finds the row locked and lets go; it does not wait and then take."""
    first, second, _ = rows.nodes
    with rows.connect("takt_engine", autocommit=False) as a, rows.connect("takt_engine", autocommit=False) as b:
        a.execute(*statement("node_lease", first, 1))
        assert rescue(b, second, first, 5) == []
        a.commit()
        assert rescue(b, second, first, 5) == []
        b.rollback()
        with rows.connect("takt_owner") as c:
            beat = c.execute("select beat from takt.node where id = %s", (first,)).fetchone()[0]
        assert beat == 6 and len(rescue(b, second, first, beat)) == 1


def test_only_the_backend_that_the_row_names_is_ended(rows):
    gone = rows.nodes[2]
    key = "hashtextextended('takt.node:' || %s::uuid, 0)"
    with rows.connect("takt_engine") as other, rows.connect("takt_engine") as c:
        other.execute(f"select pg_advisory_lock({key})", (gone,))
        assert c.execute(*statement("rescue_end_backend", gone, 5)).fetchall() == []
        with rows.connect("takt_owner") as owner:
            owner.execute("update takt.node set backend_pid = %s where id = %s", (other.info.backend_pid, gone))
        assert c.execute(*statement("rescue_end_backend", gone, 4)).fetchall() == []
        assert c.execute(*statement("rescue_end_backend", gone, 5)).fetchall() == [(other.info.backend_pid, True)]
        with pytest.raises(psycopg.OperationalError):
            wait_until(lambda: other.execute("select false").fetchone()[0], 30, "the connection's end")
