# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Rows of events that many runs share: by feed from any cursor, by run in pages, of a long run without reading it whole."""
import json
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from pg import Pg  # noqa: E402

COMMITS = 1000
UUID = "00000000-0000-7000-8000-{:012d}".format
# Three runs of two organisations; each commit tells run 1 two things, and runs 2 and 3 one.
FILL = f"""
insert into takt.node (id, name, epoch, incarnation) values (gen_random_uuid(), 'n', 1, 2);
insert into takt.org (id, name) values ('{UUID(1)}', 'one'), ('{UUID(2)}', 'two');
select takt.make_partitions(current_date, 1);
create table run_of as select i, case when i < 3 then '{UUID(1)}' else '{UUID(2)}' end::uuid as org, ('0' || to_hex(i))::text as nth,
    overlay(takt.uuid_v7()::text placing lpad(i::text, 12, '0') from 25)::uuid as id from generate_series(1, 3) i;
create table told as select g, overlay(takt.uuid_v7()::text placing lpad(g::text, 12, '0') from 25)::uuid as id
    from generate_series(1, {COMMITS}) g;
insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, created_at, policy)
    select id, org, 'RUN' || i, id, 1, 't', 'x', 'manual', now(), '{{}}' from run_of;
insert into takt.event_batch
    select b.id, '{UUID(1)}'::uuid, 1, 1, g * 3 - 2, g * 3 - 1, now(), array_agg(r.id order by i), array_agg(r.id order by i),
        array_agg(case i when 1 then g * 2 - 1 else g end order by i), array_agg((select id from told p where p.g = b.g - 1)),
        array_agg(case i when 1 then '[{{"type":"a"}},{{"type":"b"}}]' else '[{{"type":"c"}}]' end::json order by i)
    from told b, run_of r where i < 3 group by b.id, g
    union all
    select b.id, '{UUID(2)}'::uuid, 1, 1, g * 3, g * 3, now(), array[r.id], array[r.id], array[g],
        array[(select id from told p where p.g = b.g - 1)], array['[{{"type":"d"}}]'::json]
    from told b, run_of r where i = 3;
insert into takt.event_mark select r.id, g * 2, org, b.id from told b, run_of r where i = 1 and g % 32 = 0;
insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, queue_depth, last_batch)
    select r.id, org, r.id, 'queued', now(), case i when 1 then {COMMITS} * 2 else {COMMITS} end, false, b.id
    from run_of r, told b where b.g = {COMMITS};
"""


@pytest.fixture(scope="module")
def c():
    with Pg() as cluster:
        cluster.migrate()
        with cluster.connect() as connection:
            connection.execute("set jit = off")
            connection.execute("set search_path = takt")
            connection.execute(FILL)
            text = (ROOT / "sql/api/feedRead.sql").read_text(encoding="utf-8")
            connection.execute("prepare feed as " + re.sub(r"^--.*\n", "", text, flags=re.M).strip().rstrip(";"))
            yield connection


def run(c, i):
    return c.execute("select id from run_of where i = %s", [i]).fetchone()[0]


def test_a_run_is_walked_from_its_end_to_its_beginning(c):
    for i, first in ((1, range(1, 2 * COMMITS, 2)), (2, range(1, COMMITS + 1)), (3, range(1, COMMITS + 1))):
        rows = c.execute("select first_seq, org_id, feed_seq from takt.run_events(%s)", [run(c, i)]).fetchall()
        assert [r[0] for r in rows] == list(first)
        assert {str(r[1]) for r in rows} == {UUID(1 if i < 3 else 2)}
        assert [r[2] for r in rows] == [3 * g - 3 + i for g in range(1, COMMITS + 1)]
    assert c.execute("select * from takt.run_events(gen_random_uuid())").fetchall() == []


@pytest.mark.parametrize("after,upto", [(0, 1), (0, 64), (1, 2), (3, 3), (5, 8), (63, 65), (64, 164), (1990, 5000), (2000, None), (1999, None)])
def test_a_page_has_the_events_asked_for(c, after, upto):
    rows = c.execute("select first_seq from takt.run_events(%s, %s, %s)", [run(c, 1), after, upto]).fetchall()
    last = min(upto or 2 * COMMITS, 2 * COMMITS)
    assert [r[0] for r in rows] == [n for n in range(1, 2 * COMMITS, 2) if n + 1 > after and n <= last]


def test_a_page_of_a_long_run_is_not_a_long_read(c):
    def rows_walked(after, upto):
        plan = c.execute("explain (analyze, format json) select * from takt.run_events(%s, %s, %s)",
                         [run(c, 1), after, upto]).fetchone()[0][0]["Plan"]
        found = []

        def look(node):
            if node["Node Type"] == "Recursive Union":
                found.append(node["Actual Rows"])
            for child in node.get("Plans", []):
                look(child)
        look(plan)
        assert len(found) == 1
        return found[0]
    assert rows_walked(0, None) == COMMITS
    assert rows_walked(0, 50) <= 32 and rows_walked(1000, 1050) <= 64


def test_the_timeline_goes_through_a_run_in_pages(c):
    seen, since = [], 0
    while since is not None:
        body = c.execute("select body from takt.timeline(%s, 'run', 'x', %s, 37)", [run(c, 1), since]).fetchone()[0]
        seen += [i["seq"] for i in body["items"]]
        since = body["next_since"]
    assert seen == list(range(1, 2 * COMMITS + 1)) and body["run"]["last_event"] == 2 * COMMITS


@pytest.mark.parametrize("limit", [1, 2, 7, 5000])
def test_the_feed_goes_on_from_any_cursor(c, limit):
    for start in (0, 1, 2, 3, 4, 3 * COMMITS - 5, 3 * COMMITS):
        at, rows = start, []
        for _ in range(6):
            page = c.execute(f"execute feed ('{json.dumps([{'no': 1, 'inc': 1, 'seq': at}])}', {limit})").fetchall()
            assert len(page) >= min(limit, 3 * COMMITS - at) and len(page) <= limit + 1
            rows += page
            at = page[-1][5] if page else at
        assert [r[5] for r in rows] == list(range(start + 1, at + 1))
    assert len(c.execute("execute feed ('[]', 4)").fetchall()) in (4, 5)
