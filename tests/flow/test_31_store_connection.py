# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""daemon/store on a real server: order, transactions, errors, loss of the backend and of the server, notifications."""
import json
import pathlib
import queue
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from pg import BUILD, Pg, wait_until  # noqa: E402

CONFLICT, INVALID, DENIED, TRANSIENT = 3, 1, 4, 6

SCHEMA = """
create schema probe;
create table probe.t (n int primary key, v text not null unique deferrable initially deferred);
create function probe.raise(state text, message text) returns void language plpgsql as $$
begin
    raise exception using errcode = state, message = message, hint = 'a hint';
end $$;
grant usage on schema probe to takt_engine;
grant select, insert on probe.t to takt_engine;
"""


class Probe:
    """One running storeprobe; replies are read by a thread into one list."""

    def __init__(self, pg, channels=(), role="takt_engine"):
        self.process = subprocess.Popen([BUILD / "tests/lib/storeprobe", pg.conninfo, role, *channels],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.seen = []
        self.log = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_log, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line)

    def expect(self, matches, limit_s=40):
        """Everything up to and with the first line that matches."""
        got = []
        while True:
            line = self.lines.get(timeout=limit_s)
            self.seen.append(line)
            got.append(line)
            if matches(line):
                return got

    def up(self):
        return self.expect(lambda l: l.get("up"))

    def send(self, tag, *statements, times=1, sync=True):
        self.process.stdin.write(json.dumps({"tag": tag, "tx": [list(s) for s in statements], "times": times,
                                             "sync": sync}) + "\n")
        self.process.stdin.flush()

    def tx(self, tag, *statements):
        self.send(tag, *statements)
        return self.expect(lambda l: l.get("tag") == tag and l["i"] == -1)

    def pid(self):
        return int(self.tx("pid", ("pid",))[0]["rows"][0][0])

    def close(self):
        self.process.stdin.close()
        rest = self.expect(lambda l: l.get("closed"))
        assert self.process.wait(30) == 0, "".join(self.log)
        return rest


@pytest.fixture(scope="module")
def pg():
    with Pg() as cluster:
        cluster.sql(SCHEMA)
        yield cluster


@pytest.fixture
def probe(pg):
    pg.sql("delete from probe.t")
    p = Probe(pg, ["takt_a", "takt_b"])
    p.up()
    yield p
    if p.process.poll() is None:
        p.process.kill()
        p.process.wait()


def rows(pg):
    return pg.sql("select n, v from probe.t order by n")


def test_answers_come_in_the_order_sent(pg, probe):
    probe.send("a", ("put", "1", "x"), ("div", "1"))
    probe.send("b", ("put", "2", "y"))
    got = probe.expect(lambda l: l.get("tag") == "b" and l["i"] == -1)
    assert [(l["tag"], l["i"]) for l in got] == [("a", 0), ("a", 1), ("a", -1), ("b", 0), ("b", -1)]
    assert got[0]["rows"] == [["1", "x"]] and got[2]["status"] == "PGRES_PIPELINE_SYNC"
    assert rows(pg) == [(1, "x"), (2, "y")]
    probe.close()


def test_parameters_binary_and_null(probe):
    assert probe.tx("p", ("bytes", "", None))[0]["rows"] == [["4", "000102ff", "t"]]
    assert probe.tx("p", ("bytes", "", ""))[0]["rows"] == [["4", "000102ff", "f"]]
    probe.close()


def test_an_error_in_the_middle_undoes_the_transaction_and_the_next_works(pg, probe):
    probe.send("bad", ("put", "1", "x"), ("div", "0"), ("put", "2", "y"))
    got = probe.tx("good", ("put", "3", "z"))
    assert [l.get("code") for l in got] == [None, INVALID, CONFLICT, INVALID, None, None]
    assert got[1]["state"] == "22012" and got[3]["state"] == "22012"
    assert got[2]["message"] == "aborted"
    assert rows(pg) == [(3, "z")]
    probe.close()


def test_an_error_at_the_commit_itself(pg, probe):
    got = probe.tx("late", ("put", "1", "same"), ("put", "2", "same"))
    assert [l.get("code") for l in got] == [None, None, CONFLICT] and got[2]["state"] == "23505"
    assert probe.tx("next", ("put", "3", "z"))[-1].get("code") is None
    assert rows(pg) == [(3, "z")]
    probe.close()


@pytest.mark.parametrize("state,code", [("23505", CONFLICT), ("23503", INVALID), ("22001", INVALID), ("42501", DENIED),
                                        ("40001", TRANSIENT), ("40P01", TRANSIENT), ("57014", TRANSIENT),
                                        ("55P03", TRANSIENT), ("53100", TRANSIENT), ("TK001", CONFLICT),
                                        ("P0001", INVALID)])
def test_sqlstates(probe, state, code):
    got = probe.tx("s", ("raise", state, "the message"))
    assert (got[0]["code"], got[0]["state"], got[0]["message"]) == (code, state, "the message")
    probe.close()


def test_many_transactions_at_once(pg, probe):
    """More than any socket buffer holds: sends wait in the store, nothing is lost or reordered."""
    probe.send("m", ("notify", "takt_none", "x" * 7000), ("div", "1"), times=4000)
    for i in range(12000):
        line = probe.lines.get(timeout=60)
        assert (line["i"], line.get("code")) == ([0, 1, -1][i % 3], None)
    probe.close()


def test_notifications_while_idle(pg, probe):
    with pg.connect() as c:
        c.execute("notify takt_a, 'one'")
        c.execute("notify takt_b")
        c.execute("notify takt_c, 'not listened to'")
        c.execute("notify takt_a, 'two'")
    got = probe.expect(lambda l: l.get("notify") == ["takt_a", "two"])
    assert [l["notify"] for l in got] == [["takt_a", "one"], ["takt_b", ""], ["takt_a", "two"]]
    probe.close()


def test_loss_of_the_backend(pg, probe):
    """Waiting callbacks learn of it, then on_down, on_up by itself; statements and channels are there again."""
    pid = probe.pid()
    with pg.connect() as lock:
        lock.execute("begin")
        lock.execute("lock table probe.t")
        probe.send("stuck", ("put", "1", "x"), ("put", "2", "y"))
        wait_until(lambda: pg.sql("select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'", [pid]))
        pg.sql("select pg_terminate_backend(%s)", [pid])
        got = probe.expect(lambda l: l.get("down"))
        lock.execute("rollback")
    assert [(l.get("tag"), l.get("i")) for l in got[:-1]] == [("stuck", 0), ("stuck", 1), ("stuck", -1)]
    # Behind the statement that failed: "aborted", or lost too; the sync, which decides, is TRANSIENT.
    assert got[0]["code"] == got[2]["code"] == TRANSIENT and got[1]["code"] in (TRANSIENT, CONFLICT)
    assert got[-1]["depth"] == 0
    probe.up()
    assert probe.pid() != pid
    pg.sql("notify takt_b, 'after'")
    probe.expect(lambda l: l.get("notify") == ["takt_b", "after"])
    assert probe.tx("w", ("put", "5", "v"))[-1].get("code") is None
    assert rows(pg) == [(5, "v")]
    probe.close()


def test_an_idle_connection_that_is_ended_comes_back(pg, probe):
    pid = probe.pid()
    pg.sql("select pg_terminate_backend(%s)", [pid])
    assert probe.expect(lambda l: l.get("down"))[-1]["depth"] == 0
    probe.up()
    assert probe.pid() != pid
    probe.close()


def test_the_tail_of_a_lost_transaction_is_not_executed(pg, probe):
    """Its head died with the first connection; sent on the second, the tail alone would be half a transaction."""
    pid = probe.pid()
    probe.send("half", ("put", "1", "x"), sync=False)
    wait_until(lambda: pg.sql("select 1 from pg_stat_activity where pid = %s and state = 'active' or "
                              "pid = %s and query like 'insert into probe%%'", [pid, pid]))
    pg.sql("select pg_terminate_backend(%s)", [pid])
    probe.expect(lambda l: l.get("down"))
    probe.up()
    got = probe.tx("half", ("put", "2", "y"))
    assert [l["code"] for l in got] == [TRANSIENT, TRANSIENT]
    assert probe.tx("whole", ("put", "3", "z"))[-1].get("code") is None
    assert rows(pg) == [(3, "z")]
    probe.close()


@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_restart_of_the_server(pg, probe, how):
    getattr(pg, how)()
    probe.expect(lambda l: l.get("down"))
    got = probe.tx("off", ("put", "1", "x"))  # answered at once, not held back
    assert [l["code"] for l in got] == [TRANSIENT, TRANSIENT]
    pg.start()
    probe.up()
    assert probe.tx("on", ("put", "2", "y"))[-1].get("code") is None
    assert rows(pg) == [(2, "y")]
    probe.close()


def test_close_answers_what_waits(pg, probe):
    with pg.connect() as lock:
        lock.execute("begin")
        lock.execute("lock table probe.t")
        pid = probe.pid()
        probe.send("stuck", ("put", "1", "x"))
        wait_until(lambda: pg.sql("select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'", [pid]))
        got = probe.close()
    assert [(l["tag"], l["i"], l["code"]) for l in got[:-1]] == [("stuck", 0, TRANSIENT), ("stuck", -1, TRANSIENT)]


def test_a_missing_schema_keeps_the_store_down_and_names_the_statement():
    with Pg() as bare:
        p = Probe(bare)
        wait_until(lambda: any("put" in l and "takt_engine" in l and "3F000" in l or "42P01" in l for l in p.log))
        bare.sql(SCHEMA)
        p.up()
        p.close()


def test_absent_server(tmp_path):
    """store_open() never fails; the probe just is not up, and closes cleanly."""
    class Nowhere:
        conninfo = f"host={tmp_path} dbname=takt"
    p = Probe(Nowhere)
    got = p.tx("x", ("div", "1"))
    assert [l["code"] for l in got] == [TRANSIENT, TRANSIENT]
    wait_until(lambda: sum("connection failed" in l for l in p.log) >= 3)
    p.close()
