# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The SQL that history.py makes its rows with. They are what engines would have written: `takt verify` finds nothing.

TOLD says by a run's end what its commits tell: each (seconds after its creation, whether the unit's time is added, items).
Everything else follows from the run's row, so that another layout of the tables needs another entry of FILL only.
"""
import json

# Of one item: $1 when, $2 when the attempt's unit started, $3 a minute later, $4 code, $5 trigger, $6 task, $7 actor,
# $8 due time and $9 output item or nothing, $10 milliseconds of the run, $11 device. $9 counts in FILL, not here.
AT, UNIT = {"severity": "info", "at": "%1$s"}, {"unit": 0, "device": "%11$s"}
CREATED = [{"type": "task_created", **AT, "state": "queued", "trigger": "%5$s", "task_name": "%6$s", "task_type": "hello",
            "actor": "%7$s", "code": "%4$s", "%8$s": None}]
SUMMARIES = {
    "completed": {"message": "1 of 1 passed", "units": 1, "passed": 1, "failed": 0, "attempts": 1, "duration_ms": "%10$s"},
    "cancelled": {"message": "cancelled, 0 of 1 had passed", "units": 1, "passed": 0, "failed": 1, "attempts": 1,
                  "duration_ms": "%10$s", "reason": "not today", "class": "cancelled",
                  "error": {"code": "unit.cancelled", "message": "cancelled", "hint": ""}},
    "expired": {"message": "expired", "attempts": 0}}
CLASSES = {"failed": "transient", "timed_out": "timeout", "cancelled": "cancelled", "retry_wait": "transient"}
for end, word in (("failed", "no answer"), ("timed_out", "not done in 600 s")):
    SUMMARIES[end] = {"message": "1 of 1 failed", "units": 1, "passed": 0, "failed": 1, "attempts": 2, "duration_ms": "%10$s",
                      "class": CLASSES[end], "error": {"code": f"unit.{CLASSES[end]}", "message": word, "hint": ""}}
SUMMARIES["retry_wait"] = SUMMARIES["failed"]


def dispatched(no):
    return [{"type": "task_dispatched", "severity": "info", "state": "dispatched", "at": "%1$s", "node": "history",
             "attempt": no, "epoch": no, "units": 1}]


def started(no):
    first = [{"type": "task_started", **AT, "retry": {"policy": "fixed", "max_retries": 1, "delay_s": 60},
              "state": "running"}] if no == 1 else []
    return first + [{"type": "attempt_started", **AT, "attempt": no, "epoch": no, "timeout_s": 600,
                     **({"state": "running"} if no > 1 else {})},
                    {"type": "unit_started", **AT, "at": "%2$s", **UNIT}]


def ended(no, end):
    """Unit and attempt."""
    if end == "completed":
        return ([{"%9$s": None}] if no == 1 else []) + [
            {"type": "unit_finished", **AT, **UNIT, "state": "passed", "class": "passed", "duration_ms": "%10$s",
             "result": {"message": "hello"}}, {"type": "attempt_success", **AT, "attempt": no, "passed": 1, "failed": 0}]
    error, kind = SUMMARIES[end]["error"], CLASSES[end]
    return ([{"%9$s": None}] if no == 1 else []) + [
        {"type": "unit_finished", "severity": "error", "at": "%1$s", **UNIT, "class": kind, "duration_ms": "%10$s", **error,
         "state": "cancelled" if end == "cancelled" else "failed"},
        {"type": "attempt_failed", "severity": "warning", "at": "%1$s", "attempt": no, "passed": 0, "failed": 1, "class": kind,
         "message": error["message"]}]


def over(end, severity):
    return [{"type": f"task_{end}", "severity": severity, "at": "%1$s", **SUMMARIES[end], "state": end}]


def tried_twice(end):
    retried = [{"type": "task_retried", "severity": "warning", "at": "%1$s", "state": "retry_wait", "attempt": 2, "delay_s": 60,
                "next_at": "%3$s"}]
    return [(0, False, CREATED), (0.1, False, dispatched(1)), (1.2, False, started(1) + ended(1, end) + retried),
            (61.2, False, [{"type": "task_queued", **AT, "state": "queued", "attempt": 2}]), (61.3, False, dispatched(2)),
            (61.4, True, started(2) + ended(2, end) + over(end, "error"))]


TOLD = {
    "completed": [(0, False, CREATED), (0.1, False, dispatched(1)),
                  (0.2, True, started(1) + ended(1, "completed") + over("completed", "info"))],
    "failed": tried_twice("failed"),
    "timed_out": tried_twice("timed_out"),
    "cancelled": [(0, False, CREATED), (0.1, False, dispatched(1)), (0.2, False, started(1)),
                  (1.2, False, [{"type": "task_cancelling", "severity": "warning", "at": "%1$s", "actor": "alice",
                                 "reason": "not today", "state": "cancelling"}]),
                  (2.2, False, ended(1, "cancelled") + over("cancelled", "warning"))],
    "expired": [(0, False, CREATED), (0.2, False, over("expired", "warning"))],
    "retry_wait": tried_twice("failed")[:3]}


def template(items):
    """JSON for format(); numbers that are filled in lose their quotes, what may be nothing its commas."""
    text = json.dumps(items, separators=(",", ":")).replace('"%10$s"', "%10$s")
    return text.replace(',"%8$s":null', "%8$s").replace('{"%9$s":null},', "%9$s")


def told_rows():
    """(end, commit's number, seconds, is the unit's time added, seconds until its unit started, first event, items)"""
    rows = []
    for end, commits in TOLD.items():
        seq = 1
        for stage, (after_s, is_long, items) in enumerate(commits, 1):
            items_n = sum(1 for i in items if "type" in i)
            rows.append((end, stage, after_s, is_long, 61.4 if after_s > 60 else 0.2, seq, template(items)))
            seq += items_n
    return rows


def summary_rows():
    return [(end, json.dumps(s).replace('"%10$s"', "%1$s")) for end, s in SUMMARIES.items()]


# Pseudorandom but the same each time: ids are made of the run's time, the rest of a hash of its number.
BASE = """
create schema bench;
create function bench.uid(what text) returns uuid language sql immutable as $$ select md5(what)::uuid $$;
create function bench.run_id(ms bigint, what text) returns uuid language sql immutable as $$
	select (lpad(to_hex(ms), 12, '0') || '7' || substr(md5(what), 1, 3) || '8' || substr(md5(what), 5, 15))::uuid $$;
-- 200 runs go together: what is told of them at the same step is a commit, its last digit the step's number.
create function bench.batch_id(ms bigint, no bigint, stage int) returns uuid language sql immutable as $$
	select (lpad(to_hex(ms), 12, '0') || '70008' || lpad(to_hex(no), 14, '0') || stage)::uuid $$;
create function bench.iso(at timestamptz) returns text language sql immutable as $$
	select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;
create table bench.told (state text, stage int, after_s float8, is_long bool, began_s float8, first_seq int, items text,
	primary key (state, stage));
create table bench.summary (state text primary key, summary text);
create table bench.piece (incarnation bigint, no bigint, first_feed bigint, last_feed bigint, n int, oldest uuid,
	at timestamptz, digest bytea);
insert into takt.node (id, name) values (bench.uid('node'), 'history');
insert into takt.seal_key (id, public_key) values ('0123456789abcdef', decode(repeat('00', 32), 'hex'));
insert into takt.platform (name, title) values ('sim', 'Simulated');
insert into takt.org (id, name) select bench.uid('org ' || o), o from unnest(%(orgs)s::text[]) o
	on conflict (name) do nothing;
insert into takt.device (id, org_id, name, address, platform)
	select bench.uid('device ' || i), o.id, 'device-' || i, '10.0.' || i / 250 || '.' || i %% 250 + 1, 'sim'
	from generate_series(0, %(devices)s - 1) i
	join takt.org o on o.name = (%(orgs)s::text[])[case when i < 1200 then 1 when i < 1700 then 2 when i < 1990 then 3 else 4 end];
create table bench.task as
	select i as no, bench.uid('task ' || i) as id, o.id as org_id, o.name as org,
		'task ' || i as name, d.id as device_id, d.name as device_name, d.address,
		jsonb_build_object('name', 'task ' || i, 'task_type', 'hello', 'enabled', true, 'overlap', 'parallel',
			'max_retries', 1, 'retry_delay_seconds', 60, 'timeout_seconds', 600, 'timezone', 'UTC',
			'parameters', jsonb_build_object('message', 'hello from ' || i),
			'target', jsonb_build_object('type', 'device', 'id', d.id)) as definition
	from generate_series(0, %(tasks)s - 1) i
	join takt.org o on o.name = (%(orgs)s::text[])[case when i < 600 then 1 when i < 900 then 2 when i < 998 then 3 else 4 end]
	join takt.device d on d.name = 'device-' || case when i < 600 then i * 2 when i < 900 then 1200 + (i - 600) %% 500
		when i < 998 then 1700 + (i - 900) * 2 else 1000 + i end;
create unique index on bench.task (no);
insert into takt.task (id, org_id, name, task_type, enabled, definition)
	select id, org_id, name, 'hello', true, definition from bench.task;
insert into takt.task_revision (task_id, revision, org_id, definition, source, actor)
	select id, 1, org_id, definition, convert_to(definition::text, 'UTF8'), 'alice' from bench.task;
insert into takt.schedule (id, org_id, task_id, kind, enabled) select id, org_id, id, 'on_demand', true from bench.task;
analyze;
"""

# {ms} from when, {span} ms, {first} number, {runs}, {month} a number; {source} the runs that are told of.
FILL = {
    # One row a run; what ends other than well is spread evenly.
    "run": """
insert into takt.{run} (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, actor, due_at, created_at,
	policy, state, started_at, finished_at, attempts, summary, last_batch)
select bench.run_id(ms, 'run' || n), t.org_id, upper(substr(md5('code' || n), 1, 8)), t.id, 1, t.name, 'hello',
	case when n % 5 = 0 then 'manual' else 'schedule' end, case when n % 5 = 0 then 'alice' else '' end,
	case when n % 5 <> 0 then at end, at, t.definition || '{{"revision": 1}}', s.state,
	case when s.state <> 'expired' then at + interval '0.2 s' end, at + make_interval(secs => s.end_s),
	s.attempts, format(m.summary, ((s.end_s - 0.2) * 1000)::bigint)::jsonb,
	bench.batch_id({ms} + least((n - {first}) / 200 * 200 + 199, {runs} - 1) * {span} / {runs}, (n - {first}) / 200, s.stages)
from (select n, {ms} + (n - {first}) * {span} / {runs} as ms,
		to_timestamp(({ms} + (n - {first}) * {span} / {runs}) / 1000.0) as at,
		('x' || substr(md5('state' || n), 1, 6))::bit(24)::int as r,
		case when n % 50000 = 7 then 998 + n / 50000 % 2 when n % 2 = 0 then 0
			else 1 + (997 * power(('x' || substr(md5('task' || n), 1, 6))::bit(24)::int / 16777216.0, 3))::int % 997 end as task
	from generate_series({first}::bigint, {first}::bigint + {runs} - 1) n offset 0) g
join bench.task t on t.no = g.task,
lateral (select case when r < 16273899 then 0 when r < 16609443 then 1 when r < 16710107 then 2 when r < 16775538 then 3 else 4 end
	as k offset 0) k,
lateral (select (array['completed', 'failed', 'timed_out', 'cancelled', 'expired'])[k + 1] as state,
	(array[0.2 + t.no % 60, 61.4 + t.no % 60, 61.4 + t.no % 60, 2.2, 0.2]::float8[])[k + 1] as end_s,
	(array[1, 2, 2, 1, 0])[k + 1] as attempts, (array[3, 6, 6, 5, 2])[k + 1] as stages offset 0) s
join bench.summary m on m.state = s.state
order by n""",
    "attempt_row": """
insert into takt.{attempt_row} (run_id, no, org_id, epoch, node_id, state, opened_at, started_at, finished_at, timeout_s, error_class,
	error, unit_state, device_id, device_name, address, result, output_b)
select r.id, a, r.org_id, a, bench.uid('node'), case r.state when 'completed' then 'passed' else r.state end,
	r.created_at + case a when 2 then interval '61.3 s' else interval '0.1 s' end,
	r.created_at + case a when 2 then interval '61.4 s' else interval '0.2 s' end,
	case when a < r.attempts then r.created_at + interval '1.2 s' else r.finished_at end, 600, r.summary ->> 'class',
	r.summary -> 'error', case r.state when 'completed' then 'passed' when 'cancelled' then 'cancelled' else 'failed' end,
	t.device_id, t.device_name, t.address, case when r.state = 'completed' then '{{"message": "hello"}}'::jsonb end,
	case when a = 1 and r.code < '028F5C28' then 200 else 0 end
from takt.{run} r join bench.task t on t.id = r.task_id, generate_series(1, r.attempts) a""",
    "event_batch": """
insert into takt.{event_batch} (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs, prevs, items)
select batch, org_id, (select no from takt.node where name = 'history'), {month}, min(feed), max(feed), max(at),
	array_agg(id order by feed), array_agg(task_id order by feed), array_agg(first_seq order by feed),
	array_agg(prev order by feed), array_agg(format((select items from bench.told w where w.state = x.state and w.stage = x.stage),
		bench.iso(at), case when stage > 2 then bench.iso(created_at + began_s * interval '1 s') end,
		case when stage = 3 then bench.iso(at + interval '1 min') end, code, trigger, task_name, actor,
		case when stage = 1 and due_at is not null then ',"due_at":"' || bench.iso(due_at) || '"' end,
		case when stage > 2 and has_output then '{{"type":"output","severity":"info","at":"' || bench.iso(at)
			|| '","unit":0,"device":"' || device_name || '","to":200}},' end,
		(extract(epoch from at - started_at) * 1000)::bigint, device_name)::json order by feed)
from (select r.id, r.org_id, r.task_id, r.code, r.trigger, r.task_name, r.actor, r.due_at, r.created_at, r.started_at, r.state,
		k.device_name, w.stage, w.began_s, b.batch, b.has_output,
		r.created_at + (w.after_s + case when w.is_long then k.no % 60 else 0 end) * interval '1 s' as at,
		w.first_seq + (b.has_output and w.stage > b.speaks)::int as first_seq,
		case when w.stage > 1 then overlay(b.batch::text placing (w.stage - 1)::text from 36 for 1)::uuid end as prev,
		row_number() over (order by b.batch, r.org_id, r.id) as feed
	from {source} r join bench.task k on k.id = r.task_id join bench.told w on w.state = r.state,
	lateral (select overlay(r.last_batch::text placing w.stage::text from 36 for 1)::uuid as batch,
		r.code < '028F5C28' and r.state not in ('expired', 'retry_wait') as has_output,
		case when r.state = 'cancelled' then 5 else 3 end as speaks offset 0) b) x
group by batch, org_id""",
    # A bounded number: one run in a hundred said something.
    "output": """
insert into takt.{output} (run_id, attempt, unit_no, off, org_id, raw_b, at, data)
select r.id, 1, 0, 0, r.org_id, 200, r.finished_at, -- a zstd frame of one uncompressed block
	decode('28b52ffd20c8410600', 'hex') || convert_to(left(repeat(md5(r.code) || chr(10), 7), 200), 'UTF8')
from takt.{run} r where r.code < '028F5C28' and r.state <> 'expired'""",
    "run_amiss": """
insert into takt.{run_amiss} (org_id, task_id, run_id, state)
select r.org_id, r.task_id, r.id, r.state from takt.{run} r where r.state <> 'completed'""",
    "occurrence": """
insert into takt.{occurrence} (task_id, due_at, schedule_id, org_id, decision, rule, run_id, decided_at)
select r.task_id, r.due_at, r.task_id, r.org_id, 'fired', 'due', r.id, r.created_at from takt.{run} r where r.due_at is not null""",
}

# Unfinished runs that no engine may start yet: their first attempt failed and the next one is years away.
LIVE = """
with made as (
	insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, actor, created_at, policy)
	select bench.run_id((extract(epoch from at) * 1000)::bigint, 'live' || i), t.org_id, upper(substr(md5('live' || i), 1, 8)), t.id, 1,
		t.name, 'hello', 'manual', 'alice', at, t.definition || '{"revision": 1}'
	from (select i, case when i < 20 then %(first)s::timestamptz + i * interval '1 h' else now() - i * interval '1 min' end as at
		from generate_series(0, 299) i) g
	join bench.task t on t.no = g.i
	returning id, org_id, task_id, created_at)
insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, queue_depth, started_at, opened_at, timeout_s, units,
	device_id, device_name, address, last_batch)
select m.id, m.org_id, m.task_id, 'queued', now() + interval '10 years', 8, false, m.created_at + interval '0.2 s',
	m.created_at + interval '0.1 s', 600, 1, t.device_id, t.device_name, t.address,
	bench.batch_id((extract(epoch from created_at) * 1000)::bigint, (1::bigint << 40) + t.no, 3)
from made m join bench.task t on t.id = m.task_id;
update takt.live set state = 'dispatched', epoch = 1, attempt = 1, node_id = bench.uid('node');
update takt.live set state = 'retry_wait', node_id = null;
insert into takt.attempt_row (run_id, no, org_id, epoch, node_id, state, opened_at, started_at, finished_at, timeout_s, error_class,
	error, unit_state, device_id, device_name, address)
select run_id, 1, org_id, 1, bench.uid('node'), 'failed', opened_at, started_at, started_at + interval '1 s', 600, 'transient',
	'{"code": "unit.transient", "message": "no answer", "hint": ""}', 'failed', device_id, device_name, address from takt.live
"""
LIVE_SOURCE = """(select r.id, r.org_id, r.task_id, r.code, r.trigger, r.task_name, r.actor, r.due_at, r.created_at, l.started_at,
	'retry_wait' as state, l.last_batch from takt.run r join takt.live l on l.run_id = r.id)"""

# The links of one incarnation as the engine makes them, 200 rows each, but for what comes out of the link before.
PIECES = """
insert into bench.piece
select %(month)s, g.no, e.*
from (select (nth - 1) / 200 as no, min(feed_last) as first, max(feed_last) as last
	from (select feed_last, row_number() over (order by feed_last) as nth from takt.event_batch
		where node_no = (select no from takt.node where name = 'history') and incarnation = %(month)s) f group by 1) g,
lateral (select min(e.feed_first), max(e.feed_last), count(*), min(e.id::text collate "C")::uuid, max(e.at),
		sha256(string_agg(takt.event_hash(e), '' order by e.feed_last))
	from takt.event_batch e where e.node_no = (select no from takt.node where name = 'history') and e.incarnation = %(month)s
		and e.feed_last between g.first and g.last) e
"""
CHAIN = """
do $$
declare
	v_node int := (select no from takt.node where name = 'history');
	v_no bigint := 0; v_prev bytea := '\\x'; v_hash bytea; p bench.piece;
begin
	for p in select * from bench.piece order by incarnation, no loop
		v_no := v_no + 1;
		v_hash := takt.link_hash(v_prev, v_node, v_no, p.incarnation, p.first_feed, p.last_feed, p.n, p.oldest, p.at, p.digest);
		insert into takt.event_link values (v_node, v_no, p.incarnation, p.first_feed, p.last_feed, p.n, p.oldest, p.at, p.digest,
			v_prev, v_hash);
		v_prev := v_hash;
	end loop;
end $$
"""
