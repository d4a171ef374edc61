# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Partitions are made while others read and write, by several engines at once; migrations run by several at once."""
import concurrent.futures
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from pg import BUILD, Pg  # noqa: E402

PARENTS = ("run", "run_amiss", "attempt_row", "unit_row", "event_batch", "event_mark", "output", "occurrence")


@pytest.fixture(scope="module")
def pg():
    with Pg() as cluster:
        cluster.migrate()
        yield cluster


def make(pg, first, months):
    with pg.connect("takt_engine") as c:
        c.execute("set lock_timeout = '5s'")
        return c.execute("select takt.make_partitions(%s, %s)", [first, months]).fetchone()[0]


def test_an_open_reader_does_not_hold_it_up(pg):
    with pg.connect("takt_auditor") as reader, reader.transaction():
        for parent in PARENTS:
            reader.execute(f"select count(*) from takt.{parent}")
        assert make(pg, "2031-01-01", 2) == 2 * len(PARENTS)
    assert make(pg, "2031-01-01", 2) == 0


def test_several_at_once_make_each_one_once(pg):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: make(pg, "2030-01-01", 6), range(4)))
    assert sum(made) == 6 * len(PARENTS)


@pytest.mark.parametrize("parent", PARENTS)
def test_a_partition_is_as_its_parent(pg, parent):
    """Same indexes, constraints, triggers and storage; read and written through the parent only."""
    make(pg, "2032-01-01", 1)
    part = f"{parent}_203201"
    same = """select array_agg(x order by x) from (
        select 'index ' || regexp_replace(pg_get_indexdef(indexrelid), '.* USING ', '') x from pg_index where indrelid = %(t)s::regclass
        union all select 'constraint ' || pg_get_constraintdef(oid) from pg_constraint where conrelid = %(t)s::regclass
        union all select 'trigger ' || tgname from pg_trigger where tgrelid = %(t)s::regclass
        union all select attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attstorage::text || ' ' || attnotnull::text from pg_attribute
            where attrelid = %(t)s::regclass and attnum > 0) s"""
    with pg.connect() as c:
        of_parent = c.execute(same, {"t": f"takt.{parent}"}).fetchone()
        assert of_parent[0] and c.execute(same, {"t": f"takt.{part}"}).fetchone() == of_parent
        assert c.execute("select relispartition, relacl from pg_class where oid = %s::regclass", [f"takt.{part}"]).fetchone() == (True, None)


def test_several_migrate_at_once():
    with Pg() as fresh:
        tools = [subprocess.Popen([BUILD / "tests/lib/migrate", fresh.conninfo], stderr=subprocess.PIPE, text=True) for _ in range(4)]
        said = [t.communicate(timeout=120)[1] for t in tools]
        assert [t.returncode for t in tools] == [0] * 4, said
        assert sum("applied migration 0001" in s for s in said) == 1
