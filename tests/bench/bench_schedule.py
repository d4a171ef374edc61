# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""bench-schedule: 1,000 schedules due in one second; 1M schedules with 10k due; 100k idle ones.

Parts (--only): burst, units, tick, idle, profile (not in the default). --n: schedules of the burst (1,000); tick takes 1,000 x that, idle 100 x.
"""
import statistics
import sys
import time

import peers
from common import (OUT, STATEMENTS, Counters, Takt, checkpoint, figure, interleave, options, percentile, quiet,
                    statements_begin, statements_text, wait_until, wanted)

AHEAD_S = 5


def come_due(t, n, skip=0):
    """n schedules, all in the same second soon; that second."""
    at = t.one("select date_trunc('second', now()) + %s * interval '1 s'", AHEAD_S)
    t.one("update takt.schedule set (next_due_at, next_fire_at) = (%s, %s) where id in (select id from takt.task order by id limit %s offset %s)", at, at, n, skip)
    if t.one("select now() >= %s", at):
        raise RuntimeError("the load took longer than the time ahead")
    return at


def add_schedules(t, n, task_type, expr, due):
    """n tasks with a schedule each; due: an SQL expression over g, the number."""
    t.tasks(n, task_type, overlap="queue", cron_expression=expr)
    t.one(f"""
        insert into takt.schedule (id, org_id, task_id, kind, expr, zone, enabled, next_due_at, next_fire_at)
        select id, org_id, id, 'cron', %s, 'UTC', true, {due}, {due}
        from (select *, row_number() over (order by id) as g from takt.task) x""", expr)
    t.pg.sql("vacuum analyze")


def burst_round(n, executor="null", max_units=2000):
    """Lateness of each unit's start, ms, by the clock of whoever started it."""
    kind = "noop" if executor == "null" else "hello"
    with Takt(executor=executor, max_units=max_units, plugins=("plugins/hello",)) as t:
        t.start()
        wait_until(lambda: t.one("select count(*) from takt.plugin"), 60, "the engine to know its executor")
        checkpoint(t.pg)
        add_schedules(t, n, kind, "0 0 1 1 *", "now() + interval '1 year'")
        due = come_due(t, n)
        with Counters(t.pg, engine=t.node.engine.pid) as c:
            wait_until(lambda: t.one("select count(*) from takt.run where state is not null") >= n, 120, "all runs to end")
        late = [ms for (ms,) in t.owner.execute(
            "select extract(epoch from started_at - %s)::float8 * 1000 from takt.unit", (due,)).fetchall()]
        assert len(late) == n, f"{len(late)} units of {n} runs"
        assert t.one("select count(*) from takt.occurrence where decision = 'fired'") == n
        assert min(late) >= 0, f"a unit started {-min(late)} ms early"
    return {"last": max(late), "p50": percentile(late, .5), **c.per(n)}


def spread(ms):
    return {"last": max(ms), "p50": percentile(ms, .5)}


def burst(opts):
    got = interleave(opts.rounds, {
        "takt": lambda: burst_round(opts.n), "graphile": lambda: spread(peers.graphile_cron(opts.n)),
        "pg_cron": lambda: spread(peers.pg_cron(opts.n))})
    last = {name: [r["last"] for r in rounds] for name, rounds in got.items()}
    more = {"n": opts.n, "p50": statistics.median(r["p50"] for r in got["takt"]), "executor": "null",
            "server_cpu_us": statistics.median(r["server_cpu_us"] for r in got["takt"])}
    for name, goal in (("pg_cron", .1), ("graphile", 1)):
        figure("schedule", f"{opts.n} due in one second, last start", last["takt"], last[name], peers.NAMES[name], unit="ms",
               better="less", goal=goal, peer_p50=statistics.median(r["p50"] for r in got[name]), **more)


def units(opts):
    """With a keeper and a process each: the units' own time comes on top."""
    got = interleave(opts.rounds, {"takt": lambda: burst_round(opts.n, "real", max_units=256)})["takt"]
    figure("schedule", f"{opts.n} due in one second, last start, keeper and process per unit", [r["last"] for r in got], unit="ms",
           better="less", n=opts.n, max_units=256, p50=statistics.median(r["p50"] for r in got))


def tick_once(t, i, due, statements=False):
    """Tick number i on this cluster: the next `due` schedules come due together."""
    t.pg.sql("vacuum analyze takt.schedule")
    checkpoint(t.pg)
    at = come_due(t, due, i * due)
    if statements:
        statements_begin(t.pg)
    wait_until(lambda: t.one("select now() > %s::timestamptz - interval '200 ms'", at), 60, "the due time")
    with Counters(t.pg, engine=t.node.engine.pid) as c:
        wait_until(lambda: t.one("select count(*) from takt.live") >= due * (i + 1), 300, "all to be decided")
        took_ms = t.one("select extract(epoch from clock_timestamp() - %s)::float8 * 1000", at)
    v = c.values
    return {"cpu_ms": (v["server_cpu_us"] + v["engine_cpu_us"]) / 1000, "engine_ms": v["engine_cpu_us"] / 1000,
            "took_ms": took_ms, "wal_b": v["wal_b"] / due}


def with_many(opts, settings=None):
    """A cluster with a million schedules of next year and an engine without an executor: it decides and does not claim."""
    t = Takt(settings=settings)
    try:
        add_schedules(t, opts.n * 1000, "noop", "0 0 1 1 *", "now() + interval '1 year'")
        t.node.start_engine()
        wait_until(lambda: t.one("select count(*) from takt.node where name = 'bench'"), 60, "the engine")
    except BaseException:
        t.close()
        raise
    return t


def tick(opts):
    due, rounds = opts.n * 10, []
    with quiet(), with_many(opts) as t:
        for i in range(opts.rounds):
            rounds.append(tick_once(t, i, due))
            print(f"  {rounds[-1]}", file=sys.stderr, flush=True)
        assert t.one("select count(*) from takt.occurrence where decision = 'fired'") == due * opts.rounds
    figure("schedule", f"one tick: {due} due of {opts.n * 1000}, CPU of engine and server", [r["cpu_ms"] for r in rounds], unit="ms",
           better="less", goal=500, engine_ms=statistics.median(r["engine_ms"] for r in rounds),
           took_ms=statistics.median(r["took_ms"] for r in rounds), wal_b_per_run=statistics.median(r["wal_b"] for r in rounds))


def minute(opts):
    """Schedules spread over the hour, of which so many are due in each second of a minute; no executor, as in tick()."""
    due, seconds, rounds = opts.n, 60, []
    for _ in range(opts.rounds):
        with quiet(), Takt() as t:
            add_schedules(t, due * 100, "noop", "0 0 1 1 *", "now() + interval '10 min' + g %% 3000 * interval '1 s'")
            at = t.one("select date_trunc('second', now()) + (%s + 10) * interval '1 s'", due * seconds // 3000)
            t.one("""
                update takt.schedule s set (next_due_at, next_fire_at) = (x.at, x.at)
                from (select id, %s + (row_number() over (order by id) - 1) / %s * interval '1 s' as at from takt.schedule) x
                where s.id = x.id and x.at < %s + %s * interval '1 s'""", at, due, at, seconds)
            t.pg.sql("vacuum analyze takt.schedule")
            t.node.start_engine()
            wait_until(lambda: t.one("select count(*) from takt.node where name = 'bench'"), 60, "the engine")
            if t.one("select clock_timestamp() >= %s", at):
                raise RuntimeError("the load took longer than the time ahead")
            checkpoint(t.pg)
            wait_until(lambda: t.one("select clock_timestamp() > %s - interval '200 ms'", at), 60, "the minute")
            with Counters(t.pg, engine=t.node.engine.pid) as c:
                # asked rarely: a look is CPU of the server's, too
                time.sleep(t.one("select extract(epoch from %s + %s * interval '1 s' - clock_timestamp())::float8", at, seconds))
                while t.one("select count(*) from takt.live") < due * seconds:
                    time.sleep(1)
            late = t.one("select max(extract(epoch from decided_at - due_at))::float8 * 1000 from takt.occurrence")
            assert t.one("select count(*) from takt.occurrence where decision = 'fired'") == due * seconds
            v = c.values
        rounds.append({"cpu_ms": (v["server_cpu_us"] + v["engine_cpu_us"]) / 1000 / seconds,
                       "engine_ms": v["engine_cpu_us"] / 1000 / seconds, "late_ms": late, "wal_b": v["wal_b"] / due / seconds})
        print(f"  {rounds[-1]}", file=sys.stderr, flush=True)
    figure("schedule", f"a minute of ticks: {due} of {due * 100} due each second, CPU of engine and server a tick",
           [r["cpu_ms"] for r in rounds], unit="ms", better="less", goal=60,
           engine_ms=statistics.median(r["engine_ms"] for r in rounds), last_decided_ms=max(r["late_ms"] for r in rounds),
           wal_b_per_run=statistics.median(r["wal_b"] for r in rounds))


def profile(opts):
    """What the statements of a tick cost, into build/bench/profile-schedule.txt."""
    due, path = opts.n * 10, OUT / "profile-schedule.txt"
    OUT.mkdir(parents=True, exist_ok=True)
    with quiet(), with_many(opts, STATEMENTS) as t:
        got = tick_once(t, 0, due, statements=True)
        path.write_text(f"{got}\n{statements_text(t.pg, due)}", encoding="utf-8")
    print(path)


def idle(opts):
    n, seconds, rounds = opts.n * 100, 20, []
    with quiet(), Takt() as t:
        add_schedules(t, n, "noop", "0 0 1 1 *", "now() + interval '1 year' + g * interval '1 s'")
        t.start()
        wait_until(lambda: t.one("select count(*) from takt.plugin"), 60, "the engine to know its executor")
        time.sleep(5)
        for _ in range(opts.rounds):
            with Counters(t.pg, engine=t.node.engine.pid) as c:
                time.sleep(seconds)  # what is measured: how much happens when nothing does
            rounds.append({k: v / seconds / 1000 for k, v in c.values.items()})
            print(f"  {rounds[-1]}", file=sys.stderr, flush=True)
    figure("schedule", f"idle with {n} schedules, CPU of engine and server", [r["engine_cpu_us"] + r["server_cpu_us"] for r in rounds],
           unit="ms/s", better="less", engine=statistics.median(r["engine_cpu_us"] for r in rounds))


def main():
    opts = options(n=1000, rounds=3)
    for name, part in (("burst", burst), ("units", units), ("tick", tick), ("minute", minute), ("idle", idle)):
        if wanted(opts, name):
            part(opts)
    if "profile" in opts.only:
        profile(opts)


if __name__ == "__main__":
    sys.exit(main())
