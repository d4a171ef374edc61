#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Drop the oldest month of millions of runs beside readers and a writer: history_drop.py --dir DIR

DIR is a cluster of history.py; the month is gone afterwards. One run of the month is held and 20 are live. Meanwhile a
list of what was before the month's end is read again and again under the gateway's role (it must hold those runs each time),
a list of the newest runs too, and runs are put into the running month as the engine's role. First with a transaction that
reads the history and stays open: nothing may be dropped, and nobody may wait longer than the drop itself does.
Then the files go, without a lock that anybody needs. JSON lines: how long the drop took, what of that its backend computed (the rest is the disk, and other programs), and the
longest that each of the others waited, in ms.
"""
import argparse
import json
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from history import Cluster, token  # noqa: E402
from gateway import uuid7  # noqa: E402

GOAL_MS = 1000


class Loop(threading.Thread):
    """Does one thing over and over; remembers the longest and what went wrong."""

    def __init__(self, name, step):
        super().__init__(daemon=True)
        self.what, self.step = name, step
        self.longest_ms = self.n = 0
        self.wrong = []
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            began = time.perf_counter()
            try:
                problem = self.step()
            except Exception as e:  # pylint: disable=broad-except
                problem = repr(e)
            self.longest_ms = max(self.longest_ms, (time.perf_counter() - began) * 1000)
            self.n += 1
            if problem:
                self.wrong.append(problem)
            time.sleep(0.002)

    def end(self):
        self.over.set()
        self.join()


def lister(cluster, query, expected=None):
    c = cluster.connect("takt_gateway")

    def step():
        with c.transaction():
            c.execute("select takt.session(%s, 1)", [token("default", "viewer")])
            body = c.execute("select body from takt.runs_page(%s)", [json.dumps({"limit": 100, **query})]).fetchone()[0]
        missing = (expected or set()) - {r["id"] for r in body["items"]}
        return f"{len(missing)} runs are not in the list" if missing else None
    return step


def writer(cluster):
    c = cluster.connect("takt_engine")
    task, org = c.execute("select id, org_id from takt.task limit 1").fetchone()

    def step():
        c.execute("""with made as (insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, created_at, policy)
                values (%(id)s, %(org)s, 'BENCHRUN', %(task)s, 1, 'n', 'hello', 'manual', now(), '{}') returning id)
            insert into takt.live (run_id, org_id, task_id, state, next_at, queue_depth)
            select id, %(org)s, %(task)s, 'queued', now(), false from made""", {"id": uuid7(), "org": org, "task": task})
    return step


def cpu_ms(pid):
    """What a process has used so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def attempt(cluster, figure, to, expected, before):
    """One call of drop_before() beside the loops."""
    loops = [Loop("list of what stays", lister(cluster, {"to": to}, expected)), Loop("newest runs", lister(cluster, {})),
             Loop("new runs", writer(cluster))]
    for loop in loops:
        loop.start()
    time.sleep(3)  # as it is without a drop
    usual = {}
    for loop in loops:
        usual[loop.what], loop.longest_ms = round(loop.longest_ms, 1), 0
    with cluster.connect("takt_engine") as c:
        began, used = time.perf_counter(), cpu_ms(c.info.backend_pid)
        month, is_dropped, detail = c.execute("select month::text, is_dropped, detail from takt.drop_before(%s)", [before]).fetchone()
        took, used = (time.perf_counter() - began) * 1000, cpu_ms(c.info.backend_pid) - used
    time.sleep(0.5)
    for loop in loops:
        loop.end()
    print(json.dumps({"bench": "history-drop", "figure": figure, "month": month, "is_dropped": is_dropped, "detail": detail,
                      "ms": round(took, 1), "cpu_ms": round(used), "load": os.getloadavg()[0], "goal_ms": GOAL_MS, "longest_ms": {x.what: round(x.longest_ms, 1) for x in loops},
                      "longest_before_ms": usual, "lists_read": loops[0].n, "wrong": [w for x in loops for w in x.wrong][:5]}), flush=True)
    return is_dropped, took, [w for x in loops for w in x.wrong]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--dir", required=True)
    a = p.parse_args()
    cluster = Cluster(a.dir)
    with cluster.connect() as c:
        # held: the newest finished run of the month, so that it is on the list's first page
        month, end, rows, size = c.execute("""select m::text, (m + interval '1 month')::date::text, k.reltuples::bigint,
            (select sum(pg_total_relation_size(format('takt.%I', t.name || to_char(m, '"_"YYYYMM'))::regclass)) from takt.month_tables() t)::bigint / 1000000
            from (select min(to_date(right(p, 6), 'YYYYMM')) m from takt.partitions_before('run', '9999-01-01') p where p !~ 'kept') x
            join pg_class k on k.oid = format('takt.run_%s', to_char(m, 'YYYYMM'))::regclass""").fetchone()
        c.execute("""insert into takt.run_hold (run_id, org_id, reason, actor) select r.id, r.org_id, 'bench', 'bench' from takt.run r
            join takt.org o on o.id = r.org_id where o.name = 'default' and r.state is not null and r.id < takt.uuid_floor(%s)
            order by r.id desc limit 1 on conflict do nothing""", [end])
        kept = {str(r[0]) for r in c.execute("select run_id from takt.run_hold where run_id < takt.uuid_floor(%s)", [end])}
        listed = {max(kept)}
        live = {str(r[0]) for r in c.execute("select run_id from takt.live where run_id < takt.uuid_floor(%s)", [end])}
        print(json.dumps({"month": month, "runs": rows, "mb": size, "held": len(kept), "live": len(live)}), flush=True)
        with cluster.connect("takt_auditor") as reader, reader.transaction():
            reader.execute("select from takt.run where id = gen_random_uuid()")
            refused, _, wrong_1 = attempt(cluster, "somebody reads", f"{end}T00:00:00Z", listed, end)
        dropped, took, wrong_2 = attempt(cluster, "a month", f"{end}T00:00:00Z", listed, end)
        left = {str(r[0]) for r in c.execute("select id from takt.run where id < takt.uuid_floor(%s)", [end])}
        began, n = time.perf_counter(), 0
        while c.execute("select takt.remove_dropped()").fetchone()[0]:
            n += 1
        freed_ms = (time.perf_counter() - began) * 1000
        events = c.execute("select count(distinct run_id) from takt.event where run_id = any(%s::uuid[])", [list(left)]).fetchone()[0]
        whole = left == kept | live and events == len(left)
        print(json.dumps({"left": len(left), "as_expected": whole, "with_events": events, "freed_tables": n,
                          "freed_ms": round(freed_ms, 1)}))
    sys.exit(0 if dropped and not refused and whole and took < GOAL_MS and not wrong_1 + wrong_2 else 1)


if __name__ == "__main__":
    main()
