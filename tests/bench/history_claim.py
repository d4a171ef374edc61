#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What a run costs the server beside millions of runs of history: history_claim.py --dir DIR [--n 20000] [--rounds 3]

DIR is a cluster of history.py; the other is fresh and empty, with the same settings. In turns, each with n more queued
runs and `vacuum analyze` before the clock: one connection claims 200 runs a statement and ends them as the engine would
(layout.py's driver, sql/engine/claim.sql and record.sql), ten claims, then ten ends, until nothing is left. Per run and
statement: CPU and instructions of the backend, buffers, WAL. Goal: neither costs more than 15 % above the empty one's.
"""
import argparse
import ctypes
import os
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from common import (OURS, SETTINGS, STATEMENTS, Loader, Takt, checkpoint, cluster, figure, interleave,  # noqa: E402
                    own_cpu_us, statements_begin)
from history import Cluster  # noqa: E402
from layout import NODE, Batch, Engine, Run, layout_of  # noqa: E402

GOAL = 1.15
BATCH, WAVE = 200, 10
KEYS = {"cpu_us": "us", "kilo_instructions": "1000", "buffers": "", "blocks_read": "", "wal_b": "B"}


class Instructions:
    """What one thread executes in user space, readable at any moment. Always 0 where the kernel does not count."""

    OPEN, EXCLUDE_KERNEL_AND_HV = 298, 1 << 5 | 1 << 6

    def __init__(self, pid):
        event = bytearray(128)
        struct.pack_into("=IIQ", event, 0, 0, len(event), 1)  # hardware, instructions
        struct.pack_into("=Q", event, 40, self.EXCLUDE_KERNEL_AND_HV)
        buffer = (ctypes.c_char * len(event)).from_buffer(event)
        self.fd = ctypes.CDLL(None, use_errno=True).syscall(self.OPEN, buffer, pid, -1, -1, 0)

    def now(self):
        return struct.unpack("=Q", os.read(self.fd, 8))[0] if self.fd >= 0 else 0

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)


class Place(Takt):
    """A database to load and to drain; no engine works in it."""

    def __init__(self, pg):  # pylint: disable=super-init-not-called
        self.pg, self.node, self.nodes = pg, None, []
        self.owner = pg.connect("takt_owner", application_name=OURS)
        self.org = self.one("insert into takt.org (name) values ('bench') on conflict (name) do update set name = 'bench' returning id")
        self.one("insert into takt.node (id, name, epoch, incarnation) values (%s, 'bench', 1, 1) "
                 "on conflict (id) do update set incarnation = takt.node.incarnation + 1", NODE)

    def preload(self, n):  # pylint: disable=arguments-differ
        """As Takt.preload(), but months that nobody writes into are not vacuumed again."""
        if not self.one("select count(*) from takt.task where task_type = 'noop'"):
            self.tasks(100)
        with Loader(self.pg) as loader:
            loader.add(n)
        running = self.one("select string_agg(format('takt.%I', relname), ', ') from pg_class where relkind = 'r' and "
                           "relname ~ ('_' || to_char(now() at time zone 'UTC', 'YYYYMM') || '$')")
        self.pg.sql(f"vacuum analyze takt.live, takt.task, takt.node, {running}")

    def close(self):
        self.owner.close()


def claim_and_end(pg, n):
    """Per run: {claim: {cpu_us: …}, end: {…}}."""
    with Place(pg) as place:
        checkpoint(pg)
        place.preload(n)
        # The marks say which row of pg_stat_statements is whose.
        engine = Engine(pg, {k: v.replace("\n", f"\n/* bench {k} */ ", 1) for k, v in layout_of("product").items()})
        statements_begin(pg)
        counter = Instructions(engine.pid)
        spent, done = {"claim": [0, 0], "end": [0, 0]}, 0

        def send(kind, batch):
            before = own_cpu_us(engine.pid), counter.now()
            rows = engine.send(kind, batch)
            spent[kind][0] += own_cpu_us(engine.pid) - before[0]
            spent[kind][1] += counter.now() - before[1]
            return rows
        while True:
            batches = []
            for _ in range(WAVE):
                batch = Batch(BATCH)
                batch.runs = [Run(row) for row in send("claim", batch)]
                batches += [batch] if batch.runs else []
            if not batches:
                break
            for batch in batches:
                send("end", batch)
                done += len(batch.runs)
        counter.close()
        got = {}
        for kind, (cpu_us, instructions) in spent.items():
            buffers, read, wal = pg.sql(
                "select sum(shared_blks_hit + shared_blks_read)::bigint, sum(shared_blks_read)::bigint, sum(wal_bytes)::bigint "
                "from public.pg_stat_statements where query like %s", [f"%/* bench {kind}%"])[0]
            got[kind] = dict(zip(KEYS, (cpu_us / done, instructions / done / 1000, buffers / done, read / done, wal / done)))
        engine.c.close()
        assert done == n, f"{done} of {n} runs are done"
    return got


def on_empty(n):
    with cluster(**STATEMENTS) as pg:
        pg.migrate()
        pg.sql("select takt.make_partitions((current_date - interval '1 month')::date, 4)")
        return claim_and_end(pg, n)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--dir", required=True)
    p.add_argument("--n", type=int, default=20000)
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    history = Cluster(a.dir)
    history.stop()
    history.start(settings={**SETTINGS, **STATEMENTS})
    with history.connect() as c:
        runs = c.execute("select sum(greatest(reltuples, 0))::bigint from pg_class where relname ~ '^run_[0-9]{6}$'").fetchone()[0]
    got = interleave(a.rounds, {"empty": lambda: on_empty(a.n), "history": lambda: claim_and_end(history, a.n)})
    missed = False
    for kind in ("claim", "end"):
        for key, unit in KEYS.items():
            ours, peer = ([r[kind][key] for r in got[name]] for name in ("history", "empty"))
            has_goal = all(peer) and key in ("cpu_us", "kilo_instructions")
            line = figure("history-claim", f"{kind}: {key} per run", ours, peer if all(peer) else None, "empty", unit=unit,
                          better="less", n=a.n, runs=runs, goal=GOAL if has_goal else None)
            missed = missed or line.get("met") is False
    sys.exit(missed)


if __name__ == "__main__":
    main()
