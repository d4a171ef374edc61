# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The fault proxy does to a connection what it says, and nothing else."""
import pathlib
import sys
import threading
import time

import psycopg
import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "lib")]
from pg import Pg, wait_until  # noqa: E402
from proxy import DOWN, UP, Framer, Proxy  # noqa: E402


@pytest.fixture(scope="module")
def pg():
    with Pg() as pg:
        pg.sql("create table t (n int)")
        yield pg


@pytest.fixture
def proxy(pg):
    with Proxy(f"{pg.host}/.s.PGSQL.5432") as proxy:
        yield proxy


def connect(proxy, **more):
    return psycopg.connect(f"{proxy.conninfo} dbname=takt user=postgres", autocommit=True, **more)


def count(pg, n):
    return pg.sql("select count(*) from t where n = %s", (n,))[0][0]


class Asking(threading.Thread):
    """One statement in a thread: is_done, value or error."""

    def __init__(self, connection, text):
        super().__init__(daemon=True)
        self.connection, self.text, self.value, self.error = connection, text, None, None
        self.start()

    def run(self):
        try:
            cursor = self.connection.execute(self.text)
            self.value = cursor.fetchall() if cursor.description else []
        except psycopg.Error as e:
            self.error = e

    @property
    def is_done(self):
        return not self.is_alive()


def test_framer_takes_any_cut():
    stream = b"\0\0\0\x08\x04\xd2\x16\x2f" + b"\0\0\0\x0e\0\x03\0\0user\0\0" + b"S\0\0\0\x04" + b"Q\0\0\0\x06x\0"
    for step in (1, 2, 3, 5, len(stream)):
        framer = Framer(is_client=True)
        got = [m for i in range(0, len(stream), step) for m in framer.feed(stream[i:i + step])]
        assert [k for k, _ in got] == ["", "", "S", "Q"] and b"".join(m for _, m in got) == stream
    with pytest.raises(ValueError):
        Framer(is_client=False).feed(b"HTTP/1.1 200")


def test_passes_everything(proxy):
    with connect(proxy) as c:
        assert c.execute("select sum(length(repeat('x', n))) from generate_series(1, 2000) n").fetchone() == (2001000,)
        assert len(c.execute("select repeat('x', 3000000)").fetchone()[0]) == 3000000
    wait_until(lambda: not proxy.links, 10, "the link's end")


def test_drops_the_answer_of_a_commit_that_was_made(pg, proxy):
    drop = proxy.drop_commit(role="postgres", passing=1)
    with connect(proxy) as c:
        c.execute("insert into t values (10)")
        assert not drop.is_done
        with pytest.raises(psycopg.OperationalError):
            c.execute("insert into t values (11)")
    assert drop.wait(10) and count(pg, 10) == count(pg, 11) == 1
    with connect(proxy) as c:
        c.execute("insert into t values (12)")
    assert count(pg, 12) == 1


def test_a_failed_transaction_is_no_commit(pg, proxy):
    drop = proxy.drop_commit(role=None)
    with connect(proxy) as c:
        with pytest.raises(psycopg.errors.DivisionByZero):
            c.execute("select 1/0")
        assert not drop.is_done
        with pytest.raises(psycopg.OperationalError):
            c.execute("insert into t values (20)")
    assert drop.wait(10) and count(pg, 20) == 1


def test_drops_in_a_pipeline_only_its_own_answer(pg, proxy):
    """What was answered before arrives; the transaction behind it is lost with the connection or made, never half."""
    with connect(proxy) as c:
        c.execute("select 1")
        drop = proxy.drop_commit(role="postgres", passing=1)
        seen = []
        with pytest.raises(psycopg.OperationalError):
            with c.pipeline() as pipeline:
                seen.append(c.execute("insert into t values (30) returning n"))
                pipeline.sync()
                assert seen[0].fetchone() == (30,)
                c.execute("insert into t values (31)")
                c.execute("insert into t values (31)")
                pipeline.sync()
    assert drop.wait(10) and (count(pg, 30), count(pg, 31)) == (1, 2)


def test_holds_both_ways_and_delivers(pg, proxy):
    with connect(proxy) as c:
        proxy.hold()
        asking = Asking(c, "insert into t values (40) returning n")
        time.sleep(0.3)
        assert not asking.is_done and count(pg, 40) == 0
        proxy.heal()
        asking.join(10)
        assert asking.value == [(40,)]


def test_one_way_cut_makes_the_commit_but_hides_it(pg, proxy):
    with connect(proxy) as c:
        proxy.hold(ways=(DOWN,))
        asking = Asking(c, "insert into t values (50)")
        wait_until(lambda: count(pg, 50) == 1, 10, "the insert")
        assert not asking.is_done
        proxy.heal(reset=True)
        asking.join(10)
        assert isinstance(asking.error, psycopg.OperationalError)
    with connect(proxy) as c:
        proxy.hold(ways=(UP,))
        asking = Asking(c, "insert into t values (51)")
        time.sleep(0.3)
        assert count(pg, 51) == 0 and not asking.is_done
        proxy.heal()
        asking.join(10)
        assert count(pg, 51) == 1


def test_who_gives_up_in_a_black_hole_is_seen_by_the_server_at_healing(pg, proxy):
    c = connect(proxy)
    pid = c.info.backend_pid
    proxy.hold()
    c.close()
    assert pg.sql("select 1 from pg_stat_activity where pid = %s", (pid,))
    time.sleep(0.3)
    assert pg.sql("select 1 from pg_stat_activity where pid = %s", (pid,))
    proxy.heal()
    wait_until(lambda: not pg.sql("select 1 from pg_stat_activity where pid = %s", (pid,)), 10, "the backend's end")


def test_faults_are_for_a_role(pg, proxy):
    with connect(proxy) as held, psycopg.connect(f"{proxy.conninfo} dbname=takt user=takt_engine", autocommit=True) as free:
        proxy.hold(role="postgres")
        asking = Asking(held, "select 1")
        assert free.execute("select 2").fetchone() == (2,)
        assert not asking.is_done
        proxy.heal()
        asking.join(10)
        assert asking.value == [(1,)]


def test_forgotten_connections_stay_silent(proxy):
    with connect(proxy) as old:
        proxy.forget()
        asking = Asking(old, "select 1")
        with connect(proxy) as new:
            assert new.execute("select 2").fetchone() == (2,)
        assert not asking.is_done
        proxy.heal(reset=True)
        asking.join(10)
        assert asking.error


def test_reset_half_close_and_refuse(proxy):
    with connect(proxy) as c:
        proxy.reset()
        with pytest.raises(psycopg.OperationalError):
            c.execute("select 1")
    for way in (UP, DOWN):
        with connect(proxy) as c:
            proxy.half_close(way=way)
            with pytest.raises(psycopg.OperationalError):
                c.execute("select 1")
    proxy.refuse()
    with pytest.raises(psycopg.OperationalError):
        connect(proxy)
    proxy.heal()
    connect(proxy).close()


def test_delay_and_throttle(proxy):
    with connect(proxy) as c:
        proxy.slow(delay_s=0.25)
        began = time.monotonic()
        c.execute("select 1")
        assert time.monotonic() - began >= 0.5
        proxy.slow(rate_bps=200_000)
        began = time.monotonic()
        c.execute("select repeat('x', 100000)")
        assert time.monotonic() - began >= 0.4
        proxy.heal()


def test_a_server_that_is_away_is_a_reset(pg):
    with Proxy("/nonexistent/socket") as proxy, pytest.raises(psycopg.OperationalError):
        connect(proxy)
