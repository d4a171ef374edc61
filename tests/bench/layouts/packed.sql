-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Events of one commit are one row; the open attempt is in live; the attempt row is written once.
-- @ddl
drop index takt.live_claim, takt.live_task, takt.live_node, takt.live_one_started;
create index live_claim on takt.live (priority desc, next_at, run_id) where state = 'queued';
create unique index live_one_started on takt.live (task_id) where queue_depth and attempt > 0;
alter table takt.live set (fillfactor = 45);
alter table takt.live add column opened_at timestamptz, add column timeout_s int, add column last_batch uuid,
	add column units int, add column device_id uuid, add column device_name text not null default '',
	add column address text not null default '', add column journal_off bigint not null default 0,
	add column output_b bigint not null default 0, add column output_cut_b bigint not null default 0;
alter table takt.run add column last_batch uuid;
alter table takt.attempt add column unit_state text, add column device_id uuid, add column device_name text,
	add column address text, add column result jsonb, add column snapshot_id text, add column output_b bigint,
	add column output_cut_b bigint, add column journal_off bigint;
create index attempt_device on takt.attempt (device_id, run_id) where device_id is not null;
drop table takt.event cascade;
create table takt.event_batch (
	id uuid not null, org_id uuid not null, node_no int not null, incarnation bigint not null,
	feed_first bigint not null, feed_last bigint not null, at timestamptz not null,
	run_ids uuid[] not null, task_ids uuid[] not null, first_seqs bigint[] not null, prevs uuid[] not null,
	items json[] not null,
	primary key (id, org_id),
	check (cardinality(run_ids) = feed_last - feed_first + 1 and cardinality(items) = cardinality(run_ids))
) partition by range (id);
alter table takt.event_batch alter column items set compression lz4, alter column task_ids set compression lz4,
	alter column prevs set compression lz4, alter column first_seqs set compression lz4, alter column run_ids set compression lz4;
create index event_feed on takt.event_batch (node_no, incarnation, feed_last);
alter table takt.event_batch enable row level security;
create policy tenant on takt.event_batch to takt_gateway using (org_id = (select takt.current_org()));
create policy all_orgs on takt.event_batch to takt_engine, takt_auditor using (true) with check (true);
grant select, insert on takt.event_batch to takt_engine;
do $$ declare d text; begin
	select pg_get_functiondef('takt.make_partitions'::regproc) into d;
	d := replace(d, quote_literal('event'), quote_literal('event_batch'));
	execute replace(d, 'including all)', 'including all) with (fillfactor = %s)'', v_part, v_table, case v_table when ''run'' then 40 else 100 end); --');
end $$;
grant execute on function takt.uuid_v7() to takt_engine;
-- The check of a whole statement at once.
drop trigger live_check on takt.live;
create or replace function takt.live_begins() returns trigger language plpgsql as $$
begin
	if exists (select 1 from new_rows n where n.state <> 'queued' or n.epoch <> 0 or n.attempt <> 0) then
		raise exception 'a run begins as queued' using errcode = 'TK001';
	end if;
	return null;
end $$;
create or replace function takt.live_moves() returns trigger language plpgsql as $$
declare v record;
begin
	select o.run_id, o.state as was, n.state, n.epoch < o.epoch or n.event_seq < o.event_seq or n.attempt < o.attempt as back
	into v from old_rows o join new_rows n using (run_id)
	where n.epoch < o.epoch or n.event_seq < o.event_seq or n.attempt < o.attempt
	or (n.state <> o.state and not exists (select 1 from takt.run_move m join takt.run_state s on s.name = m.to_state
		and not s.terminal where m.from_state = o.state and m.to_state = n.state))
	limit 1;
	if found then
		raise exception 'run %: % -> % is not a legal move', v.run_id, v.was, v.state using errcode = 'TK001';
	end if;
	return null;
end $$;
create or replace function takt.live_ends() returns trigger language plpgsql as $$
declare v record;
begin
	select o.run_id, o.state into v from old_rows o left join takt.run r on r.id = o.run_id
	where r.state is null or (case when r.started_at is not null and o.state = 'dispatched' then 'running' else o.state end, r.state)
		not in (select m.from_state, m.to_state from takt.run_move m)
	limit 1;
	if found then
		raise exception 'run % cannot leave live from state %', v.run_id, v.state using errcode = 'TK001';
	end if;
	return null;
end $$;
create trigger live_begins after insert on takt.live referencing new table as new_rows
	for each statement execute function takt.live_begins();
create trigger live_moves after update on takt.live referencing old table as old_rows new table as new_rows
	for each statement execute function takt.live_moves();
create trigger live_ends after delete on takt.live referencing old table as old_rows
	for each statement execute function takt.live_ends();
drop trigger run_once on takt.run;
create trigger run_once after update on takt.run for each row when (old.state is not null)
	execute function takt.run_once();
-- @seed
insert into takt.org (name) values ('bench') on conflict do nothing;
insert into takt.task (id, org_id, name, task_type, enabled, definition)
select gen_random_uuid(), o.id, 'task ' || g, 'noop', true, jsonb_build_object('description', '', 'task_type', 'noop',
	'cron_expression', null, 'timezone', 'UTC', 'enabled', true, 'max_retries', 0, 'retry_delay_seconds', 0, 'timeout_seconds', 300,
	'dst_gap', 'run_at_gap_end', 'dst_fold', 'first', 'overlap', 'parallel', 'parameters', '{"type": "noop"}'::jsonb, 'target', null)
from takt.org o, generate_series(1, 100) g where o.name = 'bench' on conflict do nothing;
insert into takt.node (id, name, epoch, incarnation) values (gen_random_uuid(), 'loader :kind', 1, 1);
with task as (
	select *, row_number() over (order by id) as nth from takt.task
), asked as materialized (
	select g, overlay(takt.uuid_v7()::text placing left(takt.uuid_floor(now() - :runs * interval '1 ms' + g / 200 * interval '200 ms')::text, 13)
		from 1 for 13)::uuid as run_id, upper(substr(md5(g::text || random()::text), 1, 8)) as code, t.*
	from generate_series(1, :runs) g join task t on t.nth = g % 100 + 1 order by g
), made as (
	insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, actor, created_at, policy)
	select run_id, org_id, code, id, revision, name, task_type, 'manual', 'bench', now(), definition || '{"revision": 1}'
	from asked
), alive as (
	insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, queue_depth, last_batch)
	select run_id, org_id, id, 'queued', now(), 1, false, takt.uuid_floor(now()) from asked
)
insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs, prevs, items)
select takt.uuid_v7(), org_id, n.no, 1, min(g), max(g), now(), array_agg(run_id order by g), array_agg(asked.id order by g), array_agg(1 order by g), array_agg(null::uuid),
	array_agg(json_build_array(jsonb_build_object('type', 'task_created',
	'severity', 'info', 'at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'state', 'queued',
	'trigger', 'manual', 'task_name', asked.name, 'task_type', task_type, 'actor', 'bench', 'code', code)) order by g)
from asked, takt.node n where n.name = 'loader :kind' group by org_id, n.no, (g - 1) / 200;
-- @history
update takt.run set state = 'completed', started_at = created_at, finished_at = now(), attempts = 1,
	summary = '{"message": "passed", "units": 1, "passed": 1, "failed": 0, "attempts": 1, "duration_ms": 1}';
insert into takt.attempt (run_id, no, org_id, epoch, node_id, state, opened_at, started_at, finished_at, timeout_s, unit_state)
select id, 1, org_id, 1, gen_random_uuid(), 'passed', created_at, created_at, now(), 300, 'passed' from takt.run;
insert into takt.event_batch select takt.uuid_v7(), org_id, node_no, 2, feed_first, feed_last, at, run_ids, task_ids, first_seqs, prevs, items from takt.event_batch;
alter table takt.live disable trigger live_ends;
delete from takt.live;
alter table takt.live enable trigger live_ends;
-- @claim
-- params: node, epoch, limit, types_array, classes_array
with me as materialized (
	select n.id, n.no, n.name, n.incarnation, takt.uuid_v7() as batch, coalesce((select e.feed_last from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation order by e.feed_last desc limit 1), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid and n.epoch = $2::bigint
), cand as (
	select l.ctid as place, l.run_id, l.task_id, l.attempt, l.queue_depth, l.priority, l.next_at, l.last_batch, r.task_revision, r.task_name, r.task_type,
		r.code, r.policy
	from takt.live l join takt.run r on r.id = l.run_id
	where l.state = 'queued' and l.next_at <= now()
	and r.task_type = any($4::text[])
	and (l.attempt > 0 or not l.queue_depth or not exists (select from takt.live o
		where o.task_id = l.task_id and o.queue_depth and o.attempt > 0))
	order by l.priority desc, l.next_at, l.run_id
	limit $3::int
	for update of l skip locked
), pick as (
	select * from (select c.*, row_number() over (partition by task_id
			order by attempt desc, priority desc, next_at, run_id) as nth from cand c) c
	where nth = 1 or not queue_depth
), moved as (
	update takt.live l set state = 'dispatched', epoch = l.epoch + 1, attempt = l.attempt + 1,
		node_id = me.id, event_seq = l.event_seq + 1, moved_at = clock_timestamp(), opened_at = now(), last_batch = me.batch,
		timeout_s = case when jsonb_typeof(p.policy -> 'timeout_seconds') = 'number' then (p.policy ->> 'timeout_seconds')::int else 3600 end,
		units = 1
	from pick p, me
	where l.ctid = p.place and l.run_id = p.run_id and l.state = 'queued' and 5 <> cardinality($5::text[])
	returning l.run_id, l.org_id, l.task_id, l.epoch, l.attempt, l.event_seq, p.last_batch as prev, p.task_revision, l.timeout_s, p.task_type, p.task_name,
		jsonb_hash_extended(p.policy, 0) as policy_hash, p.policy -> 'target' as target
), item as (
	select m.org_id, m.run_id, m.task_id, m.event_seq as first_seq, m.prev, format(
		'[{"type":"task_dispatched","severity":"info","at":"%s","state":"dispatched","attempt":%s,"epoch":%s,"node":%s,"units":%s}]',
		me.at, m.attempt, m.epoch, to_json(me.name), 1)::json as items
	from moved m, me
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + min(t.nth), me.feed + max(t.nth), now(),
		array_agg(t.run_id order by t.nth), array_agg(t.task_id order by t.nth), array_agg(t.first_seq order by t.nth),
		array_agg(t.prev order by t.nth), array_agg(t.items order by t.nth)
	from (select m.*, row_number() over (order by m.org_id, m.run_id) as nth from item m) t, me
	group by t.org_id, me.batch, me.no, me.incarnation, me.feed
)
select run_id, epoch, attempt, org_id, task_id, task_revision, policy_hash, target, task_type, task_name, timeout_s from moved
-- @claim_notify
-- params:
select pg_notify('takt_feed', '')
-- @end
-- params: node, ids, epochs, attempts, was, states, ends, attempt_states, unit_states, ages, offs, ns, summaries, results, items
with me as materialized (
	select n.id, n.no, n.name, n.incarnation, takt.uuid_v7() as batch, coalesce((select e.feed_last from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation order by e.feed_last desc limit 1), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), asked as (
	select * from unnest($2::uuid[], $3::bigint[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
		$10::bigint[], $11::bigint[], $12::int[], $13::text[], $14::text[], $15::text[]) as a(run_id, epoch, attempt, was, state, "end",
		attempt_state, unit_state, age_us, off, n, summary, result, items)
), gone as (
	delete from takt.live l using asked a, me
	where l.run_id = a.run_id and l.node_id = me.id and l.epoch = a.epoch and l.attempt = a.attempt and l.state = a.was
	and a."end" is not null
	returning l.run_id, l.org_id, l.task_id, l.epoch, l.attempt, l.node_id, l.opened_at, l.timeout_s, l.event_seq, l.last_batch,
		l.device_id, l.device_name, l.address, coalesce(l.started_at, greatest(now() - a.age_us * interval '1 microsecond', l.moved_at)) as started_at,
		a.attempt_state, a.unit_state, a.off, a."end", a.n, a.summary, a.result, a.items
), attempted as (
	insert into takt.attempt (run_id, no, org_id, epoch, node_id, state, opened_at, started_at, finished_at, timeout_s, unit_state,
		device_id, device_name, address, result, output_b, output_cut_b, journal_off)
	select run_id, attempt, org_id, epoch, node_id, attempt_state, opened_at, started_at, now(), timeout_s, unit_state,
		device_id, device_name, address, result::jsonb, 0, 0, off
	from gone
), ended as (
	update takt.run r set state = g."end", started_at = g.started_at, finished_at = now(),
		attempts = g.attempt, summary = g.summary::jsonb, last_batch = me.batch
	from gone g, me
	where r.id = g.run_id and r.state is null
), item as (
	select g.org_id, g.run_id, g.task_id, g.event_seq + 1 as first_seq, g.last_batch as prev, g.items::json as items
	from gone g
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + min(t.nth), me.feed + max(t.nth), now(),
		array_agg(t.run_id order by t.nth), array_agg(t.task_id order by t.nth), array_agg(t.first_seq order by t.nth),
		array_agg(t.prev order by t.nth), array_agg(t.items order by t.nth)
	from (select m.*, row_number() over (order by m.org_id, m.run_id) as nth from item m) t, me
	group by t.org_id, me.batch, me.no, me.incarnation, me.feed
)
select run_id from gone
-- @end_notify
-- params:
select pg_notify('takt_feed', '')
