# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""bench-feed: from a commit to a WebSocket client, and that no committed event is missed.

Parts (--only): latency, missed. --n: events a second (1,000). The clock of a commit is PostgreSQL's own
(track_commit_timestamp: taken before the commit is flushed, so the flush counts as latency).
"""
import contextlib
import itertools
import pathlib
import signal
import statistics
import subprocess
import sys
import threading
import time

import requests

from common import Counters, Loader, Takt, figure, interleave, options, percentile, quiet, wait_until, wanted

EVENTS_PER_RUN = 8
SETTINGS = {"track_commit_timestamp": "on"}


HERE = pathlib.Path(__file__).resolve().parent


class Journal:
    """A process that writes down what it gets: a line an event."""

    def __init__(self, path, argv):
        self.path = path
        self.process = subprocess.Popen([sys.executable, *argv, path])
        wait_until(lambda: "joined" in self.lines(), 60, "a client to join")

    def lines(self):
        return self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []

    def got(self):
        """[(microseconds, run, seq), …] as they came."""
        return [(int(at), run, int(seq)) for at, run, seq in
                (line.split() for line in self.lines() if line[:1].isdigit())]

    def close(self):
        self.process.terminate()
        self.process.wait()


def client(node, token, task, name="client"):
    """On the task's topic of this node's gateway."""
    secret = node.root / f"{name}.token"
    secret.write_text(token, encoding="utf-8")
    return Journal(node.root / f"{name}.got", [HERE / "feed_client.py", str(node.port), secret, task])


def reader(node):
    """The least that reading a feed can cost: woken by the same NOTIFY, it selects what is new."""
    return Journal(node.root / "reader.got", [HERE / "feed_reader.py", node.pg.dsn("takt_owner")])


def is_ready(node):
    try:
        return requests.get(f"http://127.0.0.1:{node.port}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def start_node(node):
    node.start_executor()
    node.start_engine()
    if node.port > 1:
        node.start_gateway()
        wait_until(lambda: is_ready(node), 60, "a gateway")


def committed(t, *columns):
    """(run, seq) of every event, and these columns of its row."""
    more = "".join(f", {c}" for c in columns)
    return t.owner.execute(f"select r.run_id::text, r.first_seq + i - 1{more} from takt.event_batch e, unnest(e.run_ids, "
                           "e.first_seqs, e.items) r(run_id, first_seq, items), generate_series(1, json_array_length(r.items)) i").fetchall()


def paced(t, per_s, seconds):
    """Runs at an even rate so that their events make per_s; the engine's own come as they come."""
    with Loader(t.pg) as loader:
        start, due = time.monotonic(), 0.
        while due < seconds:
            n = int((time.monotonic() - start) * per_s / EVENTS_PER_RUN) - loader.written
            if n > 0:
                loader.add(n)
            due = time.monotonic() - start
            time.sleep(0.02)
        return loader.written


def latency_round(per_s, with_gateway, seconds=15):
    with Takt(settings=SETTINGS, gateway=with_gateway) as t:
        t.tasks(1)
        start_node(t.node)
        task = str(t.one("select id from takt.task"))
        journal = client(t.node, t.token("viewer"), task) if with_gateway else reader(t.node)
        try:
            with Counters(t.pg, **({"gateway": t.node.gateway.pid} if with_gateway else {})) as c:
                paced(t, per_s, seconds)
                t.wait_drained()
            at = {(run, seq): commit.timestamp() for run, seq, commit in committed(t, "pg_xact_commit_timestamp(e.xmin)")}
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: len(journal.got()) >= len(at), 30, f"{len(at)} events")
            got = journal.got()
        finally:
            journal.close()
    ms = [(us / 1e6 - at[run, seq]) * 1000 for us, run, seq in got]
    return {"events": len(at), "p50": percentile(ms, .5), "p99": percentile(ms, .99), "max": max(ms),
            "missed": len(set(at) - {(run, seq) for _, run, seq in got}), **c.per(len(at))}


def latency(opts):
    got = interleave(opts.rounds, {"takt": lambda: latency_round(opts.n, True), "reader": lambda: latency_round(opts.n, False)})
    ours, theirs = got["takt"], got["reader"]
    more = {"events_per_s": opts.n, "max_ms": max(r["max"] for r in ours),
            "gateway_cpu_us": statistics.median(r["gateway_cpu_us"] for r in ours)}
    for p, goal in (("p50", 5), ("p99", 25)):
        figure("feed", f"commit to WebSocket client, {p}", [r[p] for r in ours], unit="ms", better="less", goal=goal, **more)
        figure("feed", f"the same against a reader on the same NOTIFY, {p}", [r[p] for r in ours], [r[p] for r in theirs],
               "psycopg reader", unit="ms", better="less")
    figure("feed", "events missed at that rate", [r["missed"] for r in ours], better="less", goal=0)


class Naive(threading.Thread):
    """The reader that everybody writes first: each 5 ms, whatever has a larger number than the last one seen."""

    def __init__(self, t):
        super().__init__(daemon=True)
        self.c, self.seen, self.stopping = t.pg.connect("takt_owner"), [], threading.Event()
        self.last = self.c.execute("select coalesce(max(bench_no), 0) from takt.event_batch").fetchone()[0]

    def run(self):
        while not self.stopping.wait(0.005):
            rows = self.c.execute("select b.bench_no, r.run_id::text, r.first_seq from takt.event_batch b, unnest(b.run_ids, "
                                  "b.first_seqs) r(run_id, first_seq) where b.bench_no > %s order by 1", (self.last,)).fetchall()
            if rows:
                self.last = rows[-1][0]
                self.seen += [(run, seq) for _, run, seq in rows]

    def close(self):
        self.stopping.set()
        self.join()
        self.c.close()


def number_rows(t):
    """What the naive reader goes by: a sequence's number on each row, as an identity column would give it."""
    with t.pg.connect() as c:
        c.execute("create sequence takt.bench_no")
        c.execute("grant usage on sequence takt.bench_no to takt_owner, takt_engine")
        c.execute("alter table takt.event_batch add column bench_no bigint default nextval('takt.bench_no')")
        c.execute("create index on takt.event_batch (bench_no)")


def until(stopping, action):
    """A thread that repeats the action."""
    def loop():
        while not stopping.is_set():
            action()
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread


def disturb(nodes, stopping):
    """kill -9 of one engine after the other, every 2 s, and at once a new one; and of the second gateway, once."""
    kills = 0
    for node in itertools.cycle(nodes):
        if stopping.wait(2):
            return kills
        node.engine.send_signal(signal.SIGKILL)
        node.engine.wait()
        node.start_engine()
        kills += 1
        if kills == 5:
            nodes[1].gateway.send_signal(signal.SIGKILL)
            nodes[1].gateway.wait()
            node = nodes[1]
            node.start_gateway()


def judge(client, truth):
    """How the client's journal differs from what was committed."""
    got = [(run, seq) for _, run, seq in client.got()]
    last, disorder = {}, 0
    for run, seq in got:
        disorder += seq <= last.get(run, 0)
        last[run] = seq
    return {"missed": len(truth - set(got)), "twice": len(got) - len(set(got)), "made_up": len(set(got) - truth),
            "out_of_order": disorder}


def missed_round(seconds):
    """Two nodes; a writer that holds its transactions for 200 ms beside a quick one; engines that are killed."""
    with Takt(settings=SETTINGS, gateway=True) as t:
        second = t.add_node(name="second", gateway=True)
        t.tasks(1, max_retries=10)
        number_rows(t)
        for node in t.nodes:
            start_node(node)
        task, token = str(t.one("select id from takt.task")), t.token("viewer")
        clients = {"first gateway": client(t.node, token, task), "second gateway": client(second, token, task)}
        naive, stopping = Naive(t), threading.Event()
        naive.start()
        try:
            with Loader(t.pg) as quick, Loader(t.pg) as slow:
                writers = [until(stopping, lambda: (quick.add(1), time.sleep(0.02))), until(stopping, lambda: slow.add(3, hold_s=.2))]
                timer = threading.Timer(seconds, stopping.set)
                timer.start()
                kills = disturb(t.nodes, stopping)
                for w in writers:
                    w.join()
            t.wait_drained(180)
            truth = {(run, seq) for run, seq in committed(t)}
            wait_until(lambda: all(len(c.got()) >= len(truth) for c in clients.values()) or None, 20, "the clients") \
                if all(judge(c, truth)["missed"] == 0 for c in clients.values()) else time.sleep(5)
            naive.close()
            rows = t.one("select count(*) from takt.event")
            return {"events": len(truth), "engines_killed": kills, "naive_rows_missed": rows - len(set(naive.seen)), "rows": rows,
                    **{name: judge(c, truth) for name, c in clients.items()}}
        finally:
            stopping.set()
            for c in clients.values():
                c.close()


def missed(opts):
    with quiet():
        r = missed_round(30 if not opts.quick else 10)
    print(f"  {r}", file=sys.stderr)
    for name in ("first gateway", "second gateway"):
        figure("feed", f"committed events not received exactly once and in order, {name}", [sum(r[name].values())], better="less",
               goal=0, events=r["events"], engines_killed=r["engines_killed"], **r[name])
    figure("feed", "rows missed by the naive reader (it must miss some, or this test proves nothing)", [r["naive_rows_missed"]],
           goal=1, rows_written=r["rows"])


def main():
    opts = options(n=1000, rounds=3)
    if opts.quick:
        opts.n = 1000
    for name, part in (("latency", latency), ("missed", missed)):
        if wanted(opts, name):
            part(opts)


if __name__ == "__main__":
    sys.exit(main())
