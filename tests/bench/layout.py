#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What a layout of run, live, attempt, unit and event costs the server: `make bench-layout`.

    layout.py [--only classic,lean] [--n 30000] [--rounds 3] [--history 300000] [--batch 200]

A layout is a file layouts/NAME.sql in sections `-- @section`, each one or more statements:
`ddl` and `seed` (as owner, on top of Takt's migrations; seed makes :n queued runs), `history` (makes :n finished ones),
and the statements of two transactions, `claim…` and `end…`, prepared and sent in a pipeline by one connection as
takt_engine, as the engine would. `-- params:` names what they get from PARAMS below. Rows come back from `claim`:
run_id, epoch, attempt. The keys, checks, triggers and policies of the layout are on; what it writes per run is
a start and an end in one batch, six events. `product` is sql/migrations and sql/engine as they are.

CPU and instructions are those of the one backend, WAL the cluster's; time is that spent in the server's answers.
"""
import json
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import uuid

import psycopg

from common import Counters, cluster, checkpoint, figure, interleave, median, options, own_cpu_us

HERE = pathlib.Path(__file__).resolve().parent
LAYOUTS = sorted(p.stem for p in (HERE / "layouts").glob("*.sql")) + ["product"]
NODE = "00000000-0000-7000-8000-00000000000a"


def sections(path):
    """{name: text}, in order."""
    parts = re.split(r"^-- @(\w+)\n", path.read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


# What the engine would send about a batch of no-op runs that started and passed. -----------------------

def stamp(us):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(us // 10**6)) + f".{us % 10**6:06d}Z"


def items(run):
    at = time.time_ns() // 1000
    base = {"severity": "info", "at": stamp(at)}
    return [
        {"type": "task_started", **base, "retry": {"policy": "fixed", "max_retries": 0, "delay_s": 0}, "state": "running"},
        {"type": "attempt_started", **base, "attempt": run.attempt, "epoch": run.epoch, "timeout_s": 300},
        {"type": "unit_started", "severity": "info", "at": stamp(at - 431), "unit": 0},
        {"type": "unit_finished", "severity": "info", "at": stamp(at - 212), "unit": 0, "state": "passed",
         "class": "passed", "duration_ms": 0},
        {"type": "attempt_success", **base, "attempt": run.attempt, "passed": 1, "failed": 0},
        {"type": "task_completed", **base, "message": "passed", "units": 1, "passed": 1, "failed": 0,
         "attempts": run.attempt, "duration_ms": 1, "state": "completed"}]


SUMMARY = {"message": "passed", "units": 1, "passed": 1, "failed": 0, "attempts": 1, "duration_ms": 1}


def compact(x):
    return json.dumps(x, separators=(",", ":"))


def array(oid, values):
    """A binary one-dimensional array; values: bytes or None."""
    out = [struct.pack("!iiIii", 1, 1, oid, len(values), 1)]
    for v in values:
        out.append(struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v)
    return b"".join(out)


def ints(values):
    return array(23, [struct.pack("!i", v) for v in values])


def bigints(values):
    return array(20, [struct.pack("!q", v) for v in values])


def texts(values, oid=25):
    return array(oid, [None if v is None else v.encode() for v in values])


JSON_OID = 114


class Run:
    def __init__(self, row):
        self.id, self.epoch, self.attempt = uuid.UUID(row[0].decode()), int(row[1]), int(row[2])


def unit_row(r):
    return {"run_id": str(r.id), "attempt": r.attempt, "no": 0, "epoch": r.epoch, "journal_off": 300, "output_b": 0,
            "output_cut_b": 0, "state": "passed", "is_started": True, "age_us": 431, "result": {}}


def run_row(r):
    return {"run_id": str(r.id), "epoch": r.epoch, "attempt": r.attempt, "was": "dispatched", "state": "running",
            "end": "completed", "is_started": True, "age_us": 431, "attempt_state": "passed", "summary": SUMMARY,
            "items": items(r)}


# name -> (function of the batch's runs, is binary)
PARAMS = {
    "node": (lambda b: NODE.encode(), 0),
    "epoch": (lambda b: b"1", 0),
    "limit": (lambda b: str(b.limit).encode(), 0),
    "types": (lambda b: b'["noop"]', 0),
    "types_array": (lambda b: b"{noop}", 0),
    "classes": (lambda b: b'["transient","timeout","unreachable"]', 0),
    "classes_array": (lambda b: b"{transient,timeout,unreachable}", 0),
    "ids_json": (lambda b: compact([str(r.id) for r in b.runs]).encode(), 0),
    "units_json": (lambda b: compact([unit_row(r) for r in b.runs]).encode(), 0),
    "runs_json": (lambda b: compact([run_row(r) for r in b.runs]).encode(), 0),
    "ids": (lambda b: array(2950, [r.id.bytes for r in b.runs]), 1),
    "epochs": (lambda b: bigints([r.epoch for r in b.runs]), 1),
    "attempts": (lambda b: ints([r.attempt for r in b.runs]), 1),
    "was": (lambda b: texts(["dispatched"] * len(b.runs)), 1),
    "states": (lambda b: texts(["running"] * len(b.runs)), 1),
    "ends": (lambda b: texts(["completed"] * len(b.runs)), 1),
    "attempt_states": (lambda b: texts(["passed"] * len(b.runs)), 1),
    "unit_states": (lambda b: texts(["passed"] * len(b.runs)), 1),
    "ages": (lambda b: bigints([431] * len(b.runs)), 1),
    "offs": (lambda b: bigints([300] * len(b.runs)), 1),
    "delays": (lambda b: ints([0] * len(b.runs)), 1),
    "nulls": (lambda b: texts([None] * len(b.runs)), 1),
    "zeros": (lambda b: bigints([0] * len(b.runs)), 1),
    "ns": (lambda b: ints([6] * len(b.runs)), 1),
    "summaries": (lambda b: texts([compact(SUMMARY)] * len(b.runs)), 1),
    "results": (lambda b: texts(["{}"] * len(b.runs)), 1),
    "items": (lambda b: texts([compact(items(r)) for r in b.runs]), 1),
}


PRODUCT = {
    "claim:claim": "node, epoch, limit, types_array, classes_array",
    "claim_notify:feed_notify": "",
    "end:record": "node, ids, epochs, attempts, was, states, ends, ages, delays, attempt_states, nulls, nulls, summaries, items, "
                  "ns, unit_states, results, nulls, offs, zeros, zeros",
    "end_notify:feed_notify": "",
}


class Instructions:
    """What a process executes in user space meanwhile, by perf: unlike its time the same on a busy machine. 0 without perf."""

    def __init__(self, pid):
        self.n = 0
        self.perf = shutil.which("perf") and subprocess.Popen(
            ["perf", "stat", "-x,", "-e", "instructions:u", "-p", str(pid)], stderr=subprocess.PIPE, text=True)
        time.sleep(0.3 if self.perf else 0)

    def end(self):
        if self.perf:
            self.perf.send_signal(signal.SIGINT)
            first = self.perf.communicate()[1].partition(",")[0].strip()
            self.n = int(first) if first.isdigit() else 0
        return self.n


class Batch:
    def __init__(self, limit):
        self.limit, self.runs = limit, []


class Engine:
    """One connection in pipeline mode, statements prepared as daemon/store does."""

    def __init__(self, pg, layout):
        self.c = psycopg.connect(pg.dsn("takt_engine"), autocommit=True)
        for text in ("set search_path = takt", "set plan_cache_mode = force_generic_plan", "set jit = off", "set enable_seqscan = off"):
            self.c.execute(text)
        self.pid = self.c.info.backend_pid
        self.pq = self.c.pgconn
        self.transactions = {"claim": [], "end": []}
        for name, text in layout.items():
            kind = re.match(r"claim|end", name)
            if kind:
                params = re.search(r"^-- params: *(.*)$", text, re.M)[1]
                made = self.pq.prepare(name.encode(), text.encode())
                if made.status != psycopg.pq.ExecStatus.COMMAND_OK:
                    raise RuntimeError(f"{name}: {made.error_message.decode()}")
                self.transactions[kind[0]].append((name, [p.strip() for p in params.split(",") if p.strip()]))
        self.pq.enter_pipeline_mode()
        self.s = 0.0

    def send(self, kind, batch):
        """One transaction; the rows of its first statement."""
        prepared = []
        for name, params in self.transactions[kind]:
            made = [PARAMS[p] for p in params]
            prepared.append((name.encode(), [f(batch) for f, _ in made], [b for _, b in made]))
        begun = time.monotonic()
        for name, values, formats in prepared:
            self.pq.send_query_prepared(name, values, formats)
        self.pq.pipeline_sync()
        results = []
        while True:
            r = self.pq.get_result()
            if r is None:
                continue
            if r.status == psycopg.pq.ExecStatus.PIPELINE_SYNC:
                break
            if r.status not in (psycopg.pq.ExecStatus.TUPLES_OK, psycopg.pq.ExecStatus.COMMAND_OK):
                raise RuntimeError(r.error_message.decode())
            results.append(r)
        self.s += time.monotonic() - begun
        if kind != "claim":
            return []
        first = results[0]
        names = [first.fname(k) for k in range(first.nfields)]
        columns = [names.index(name) for name in (b"run_id", b"epoch", b"attempt")]
        return [[first.get_value(i, k) for k in columns] for i in range(first.ntuples)]

    def drain(self, size):
        """Claim and end batches until nothing is claimed; how many runs."""
        done = 0
        while True:
            batch = Batch(size)
            batch.runs = [Run(row) for row in self.send("claim", batch)]
            if not batch.runs:
                return done
            self.send("end", batch)
            done += len(batch.runs)


def layout_of(name):
    """A file's sections; the product's own statements with the seed of the one that it grew out of."""
    if name != "product":
        return sections(HERE / f"layouts/{name}.sql")
    found = {"ddl": "select 1", **{k: v for k, v in layout_of("packed").items() if k in ("seed", "history")}}
    found["history"] = found["history"].replace("takt.attempt ", "takt.attempt_row ")
    found["seed"] = found["seed"].replace("queue_depth, last_batch)", "queue_depth, last_batch, task_type, task_revision, "
                                          "policy_hash, timeout_s, target)").replace("takt.uuid_floor(now()) from asked", "takt.uuid_floor(now()), "
        "task_type, revision, takt.policy_hash(definition || '{\"revision\": 1}'), takt.policy_timeout_s(definition), "
        "takt.policy_target(definition) from asked")
    for part, params in PRODUCT.items():
        text = (HERE.parents[1] / f"sql/engine/{part.split(':')[1]}.sql").read_text(encoding="utf-8")
        found[part.split(":")[0]] = f"-- params: {params}\n{text}"
    return found


def migrate(pg, upto):
    """The migrations up to a number; all of them for None."""
    with pg.connect("takt_owner") as c:
        for path in sorted((HERE.parents[1] / "sql/migrations").glob("*.sql")):
            if upto is None or int(path.name[:4]) <= upto:
                c.execute(path.read_text(encoding="utf-8"))


def measure(name, opts, history):
    layout = layout_of(name)
    with cluster() as pg:
        with pg.connect() as c:
            c.execute("alter role takt_owner set search_path = takt")
        migrate(pg, None if name == "product" else 7)
        with pg.connect("takt_owner") as c:
            c.execute(layout["ddl"])
            c.execute("select takt.make_partitions((current_date - interval '1 month')::date, 4)")
            c.execute("insert into takt.node (id, name, epoch, incarnation) values (%s, 'bench', 1, 1)", [NODE])
            if history:
                c.execute(layout["seed"].replace(":runs", str(history)).replace(":kind", "history"))
                c.execute(layout["history"])
            checkpoint(pg)
            c.execute(layout["seed"].replace(":runs", str(opts.n)).replace(":kind", "queued"))
        pg.sql("vacuum analyze")
        engine = Engine(pg, layout)
        counted = Instructions(engine.pid)
        before = own_cpu_us(engine.pid)
        with Counters(pg) as counters:
            done = engine.drain(opts.batch)
            backend = own_cpu_us(engine.pid) - before
        instructions = counted.end()
        with pg.connect("takt_owner") as c:
            left = c.execute("select count(*) from takt.live").fetchone()[0]
            problems = c.execute(layout["check"]).fetchall() if "check" in layout else []
        engine.c.close()
    assert done == opts.n and left == 0 and not problems, (name, done, left, problems[:3])
    return {"kilo_instructions": round(instructions / done / 1000, 1), "backend_us": round(backend / done, 1), "server_us": round(counters.values["server_cpu_us"] / done, 1),
            "wal_b": round(counters.values["wal_b"] / done), "per_s": round(done / engine.s)}


def main():
    histories = [0, 300000]
    if "--history" in sys.argv:
        at = sys.argv.index("--history")
        histories = [int(x) for x in sys.argv[at + 1].split(",")]
        del sys.argv[at:at + 2]
    opts = options(rounds=3, n=30000)
    opts.batch = 200
    names = [n for n in LAYOUTS if not opts.only or n in opts.only]
    for history in histories:
        results = interleave(opts.rounds, {n: lambda n=n: measure(n, opts, history) for n in names})
        for n in names:
            figure("layout", n, [r["backend_us"] for r in results[n]], unit="us/run", better="less", history=history,
                   **{k: median([r[k] for r in results[n]]) for k in ("kilo_instructions", "server_us", "wal_b", "per_s")})


if __name__ == "__main__":
    main()
