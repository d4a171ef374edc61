-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The first layout: every state is a row of its own that is updated where it is; one event row per run and commit.
-- @ddl
select 1;
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
	insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, queue_depth)
	select run_id, org_id, id, 'queued', now(), 1, false from asked
)
insert into takt.event (run_id, first_seq, org_id, task_id, node_no, incarnation, feed_seq, at, items)
select run_id, 1, org_id, asked.id, n.no, 1, g, now(), jsonb_build_array(jsonb_build_object('type', 'task_created',
	'severity', 'info', 'at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'state', 'queued',
	'trigger', 'manual', 'task_name', asked.name, 'task_type', task_type, 'actor', 'bench', 'code', code))
from asked, takt.node n where n.name = 'loader :kind';
-- @history
update takt.run set state = 'completed', started_at = created_at, finished_at = now(), attempts = 1,
	summary = '{"message": "passed", "units": 1, "passed": 1, "failed": 0, "attempts": 1, "duration_ms": 1}';
insert into takt.attempt (run_id, no, org_id, epoch, node_id, state, opened_at, started_at, finished_at, timeout_s)
select id, 1, org_id, 1, gen_random_uuid(), 'passed', created_at, created_at, now(), 300 from takt.run;
insert into takt.unit (run_id, attempt, no, org_id, epoch, state, started_at, finished_at, journal_off)
select id, 1, 0, org_id, 1, 'passed', created_at, now(), 300 from takt.run;
insert into takt.event (run_id, first_seq, org_id, task_id, node_no, incarnation, feed_seq, at, items)
select e.run_id, 2, e.org_id, e.task_id, e.node_no, 2, e.feed_seq, now(), e.items || e.items || e.items || e.items from takt.event e;
alter table takt.live disable trigger live_check;
truncate takt.live;
alter table takt.live enable trigger live_check;
-- @claim
-- params: node, epoch, limit, types, classes
-- Claim queued runs for this node: a new epoch, a new attempt, its units. The first attempt resolves the
-- target; a later one repeats the units that may pass when tried again. No unit at all: the target is
-- unresolved, the engine ends the attempt.
-- $1 node id, $2 node epoch, $3 limit, $4 ["task type", …], $5 ["retryable error class", …]
with me as (
	select n.id, n.no, n.name, n.incarnation, coalesce((select max(e.feed_seq) from takt.event e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid and n.epoch = $2::bigint
), cand as (
	select l.run_id, l.task_id, l.attempt, l.queue_depth, l.priority, l.next_at
	from takt.live l join takt.run r on r.id = l.run_id
	where l.state = 'queued' and l.next_at <= now()
	and $4::jsonb ? r.task_type
	and (l.attempt > 0 or not l.queue_depth or not exists (select from takt.live o
		where o.task_id = l.task_id and o.queue_depth and o.attempt > 0))
	order by l.priority desc, l.next_at, l.run_id
	limit $3::int
	for update of l skip locked
), pick as (
	select run_id from (select c.*, row_number() over (partition by task_id
			order by attempt desc, priority desc, next_at, run_id) as nth from cand c) c
	where nth = 1 or not queue_depth
), moved as (
	update takt.live l set state = 'dispatched', epoch = l.epoch + 1, attempt = l.attempt + 1,
		node_id = me.id, event_seq = l.event_seq + 1
	from pick p, me
	where l.run_id = p.run_id and l.state = 'queued'
	returning l.run_id, l.org_id, l.task_id, l.epoch, l.attempt, l.event_seq
), goal as (
	-- What cannot be read counts as unresolved: one bad definition must not hold up all others.
	select m.*, r.policy #>> '{target,type}' as target_type,
		case when r.policy #>> '{target,id}' ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
			then (r.policy #>> '{target,id}')::uuid end as target_id,
		case when r.policy ->> 'timeout_seconds' ~ '^[0-9]{1,6}$'
			then (r.policy ->> 'timeout_seconds')::int else 3600 end as timeout_s
	from moved m join takt.run r on r.id = m.run_id
), member as (
	select g.run_id, null::uuid as device_id, null::text as name, null::text as address
	from goal g where g.attempt = 1 and g.target_type is null
	union all
	select g.run_id, d.id, d.name, d.address
	from goal g join takt.device d on d.id = g.target_id and d.org_id = g.org_id
	where g.attempt = 1 and g.target_type = 'device'
	union all
	select g.run_id, d.id, d.name, d.address
	from goal g join takt.device_group dg on dg.id = g.target_id and dg.org_id = g.org_id
	join takt.group_member gm on gm.group_id = dg.id join takt.device d on d.id = gm.device_id
	where g.attempt = 1 and g.target_type = 'device_group'
), want as (
	select run_id, (row_number() over (partition by run_id order by name))::int - 1 as no,
		device_id, name, address
	from member
	union all
	select g.run_id, u.no, u.device_id, coalesce(d.name, u.device_name), coalesce(d.address, u.address)
	from goal g join takt.unit u on u.run_id = g.run_id and u.attempt = g.attempt - 1
	left join takt.device d on d.id = u.device_id
	where g.attempt > 1 and u.state not in ('passed', 'skipped') and $5::jsonb ? u.error_class
), opened as (
	insert into takt.attempt (run_id, no, org_id, epoch, node_id, state, opened_at, timeout_s)
	select g.run_id, g.attempt, g.org_id, g.epoch, me.id, 'dispatched', now(), g.timeout_s
	from goal g, me
), unit as (
	insert into takt.unit (run_id, attempt, no, org_id, epoch, device_id, device_name, address)
	select g.run_id, g.attempt, w.no, g.org_id, g.epoch, w.device_id, coalesce(w.name, ''),
		coalesce(w.address, '')
	from goal g join want w on w.run_id = g.run_id
), told as (
	insert into takt.event (run_id, first_seq, org_id, task_id, node_no, incarnation, feed_seq, at, items)
	select g.run_id, g.event_seq, g.org_id, g.task_id, me.no, me.incarnation,
		me.feed + row_number() over (order by g.run_id), now(),
		jsonb_build_array(jsonb_build_object('type', 'task_dispatched', 'severity', 'info', 'at', me.at,
			'state', 'dispatched', 'attempt', g.attempt, 'epoch', g.epoch, 'node', me.name,
			'units', (select count(*) from want w where w.run_id = g.run_id)))
	from goal g, me
)
select run_id, epoch, attempt from moved
-- @claim_notify
-- params: 
-- Ends a transaction that added events: wakes the readers of the feed, once.
select pg_notify('takt_feed', '')
-- @end_load_runs
-- params: node, ids_json
-- This node's runs with an open attempt: those just claimed, or (null) all of them, at recovery.
-- $1 node id, $2 [run id, …] or null
select l.run_id, l.org_id, l.task_id, l.state, l.epoch, l.attempt, coalesce(l.cancel_reason, '') as cancel_reason,
	r.task_type, r.task_name, r.policy, a.state as attempt_state, a.timeout_s,
	ceil(extract(epoch from a.opened_at + make_interval(secs => a.timeout_s) - now()) * 1000)::bigint
		as remaining_ms,
	floor(extract(epoch from now() - l.started_at) * 1000)::bigint as running_ms,
	(select count(*) from takt.unit u where u.run_id = l.run_id and u.attempt = 1) as units_total,
	(select count(distinct u.no) from takt.unit u where u.run_id = l.run_id and u.attempt < l.attempt
		and u.state in ('passed', 'skipped')) as passed_before
from takt.live l join takt.run r on r.id = l.run_id
join takt.attempt a on a.run_id = l.run_id and a.no = l.attempt
where l.node_id = $1::uuid and l.state in ('dispatched', 'running', 'cancelling')
and ($2::jsonb is null or $2::jsonb ? l.run_id::text)
order by l.run_id
-- @end_load_units
-- params: node, ids_json
-- The units of those runs' open attempts, with what each needs to be started.
-- $1 node id, $2 [run id, …] or null
select u.run_id, u.no, u.epoch, u.state, u.device_id, u.device_name, u.address, u.journal_off, u.output_b,
	u.error_class, u.error ->> 'code' as code, u.error ->> 'message' as message, u.error ->> 'hint' as hint, d.port, d.platform, d.host_key, c.id as credential_id, c.version as credential_version, c.username,
	c.key_id, encode(c.sealed, 'hex') as sealed,
	(select jsonb_agg(jsonb_build_object('key_type', k.key_type, 'public_key', k.public_key))
	 from takt.host_key k where k.device_id = u.device_id) as known
from takt.live l join takt.unit u on u.run_id = l.run_id and u.attempt = l.attempt
left join takt.device d on d.id = u.device_id
left join takt.credential c on c.id = d.credential_id
where l.node_id = $1::uuid and l.state in ('dispatched', 'running', 'cancelling')
and ($2::jsonb is null or $2::jsonb ? l.run_id::text)
order by u.run_id, u.no
-- @end_lock
-- params: ids_json
-- Hold the runs of a batch, in one order, so that its statements see the same rows.
-- $1 [run id, …]
select l.run_id from takt.live l
where l.run_id in (select x::uuid from jsonb_array_elements_text($1::jsonb) as a(x))
order by l.run_id
for update
-- @end_units
-- params: units_json
-- What units have done, by compare-and-set on epoch, state and journal offset.
-- $1 [{"run_id","attempt","no","epoch","journal_off","state","is_started","age_us","error_class","error","result",
--    "snapshot_id","output_b","output_cut_b"}]; state null: no change
update takt.unit u set
	journal_off = x.journal_off,
	state = coalesce(x.state, u.state),
	started_at = case when x.is_started then coalesce(u.started_at,
		greatest(now() - x.age_us * interval '1 microsecond', l.moved_at)) else u.started_at end,
	finished_at = case when x.state is not null and x.state <> 'running' then now() end,
	error_class = x.error_class, error = x.error, result = x.result, snapshot_id = x.snapshot_id,
	output_b = greatest(u.output_b, x.output_b), output_cut_b = greatest(u.output_cut_b, x.output_cut_b)
from jsonb_to_recordset($1::jsonb) as x(run_id uuid, attempt int, no int, epoch bigint, journal_off bigint,
	state text, is_started boolean, age_us bigint, error_class text, error jsonb, result jsonb, snapshot_id text,
	output_b bigint, output_cut_b bigint)
join takt.live l on l.run_id = x.run_id and l.epoch = x.epoch and l.attempt = x.attempt
where u.run_id = x.run_id and u.attempt = x.attempt and u.no = x.no and u.epoch = x.epoch
and u.state in ('pending', 'running') and u.journal_off <= x.journal_off
returning u.run_id, u.no
-- @end_runs
-- params: node, runs_json
-- One batch's events and moves: compare-and-set on node, epoch, attempt and state. A run that ends gets
-- its final row here; run_end then takes it out of live. What is not returned was fenced.
-- $1 node id, $2 [{"run_id","epoch","attempt","was","state","end","is_started","age_us","delay_s","attempt_state",
--    "error_class","error","summary","items"}]
with me as (
	select n.id, n.no, n.incarnation, coalesce((select max(e.feed_seq) from takt.event e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed
	from takt.node n where n.id = $1::uuid
), asked as (
	select * from jsonb_to_recordset($2::jsonb) as a(run_id uuid, epoch bigint, attempt int, was text,
		state text, "end" text, is_started boolean, age_us bigint, delay_s int, attempt_state text,
		error_class text, error jsonb, summary jsonb, items jsonb)
), moved as (
	update takt.live l set event_seq = l.event_seq + jsonb_array_length(a.items),
		state = coalesce(a.state, l.state),
		started_at = case when a.is_started then coalesce(l.started_at,
			greatest(now() - a.age_us * interval '1 microsecond', l.moved_at)) else l.started_at end,
		next_at = case when a.state = 'retry_wait' then now() + make_interval(secs => a.delay_s)
			else l.next_at end,
		node_id = case when a.state = 'retry_wait' then null else l.node_id end
	from asked a, me
	where l.run_id = a.run_id and l.node_id = me.id and l.epoch = a.epoch and l.attempt = a.attempt
	and l.state = a.was
	returning l.run_id, l.org_id, l.task_id, l.event_seq, l.started_at, l.next_at
), attempted as (
	update takt.attempt t set
		state = coalesce(a.attempt_state, t.state),
		started_at = case when a.is_started then coalesce(t.started_at,
			greatest(now() - a.age_us * interval '1 microsecond', t.opened_at)) else t.started_at end,
		finished_at = case when a.attempt_state not in ('dispatched', 'running') then now() end,
		error_class = a.error_class, error = a.error
	from asked a join moved m on m.run_id = a.run_id
	where t.run_id = a.run_id and t.no = a.attempt and t.epoch = a.epoch
	and (a.attempt_state is not null or a.is_started)
), ended as (
	update takt.run r set state = a."end", started_at = m.started_at, finished_at = now(),
		attempts = a.attempt, summary = a.summary
	from asked a join moved m on m.run_id = a.run_id
	where r.id = a.run_id and r.state is null and a."end" is not null
), told as (
	insert into takt.event (run_id, first_seq, org_id, task_id, node_no, incarnation, feed_seq, at, items)
	select m.run_id, m.event_seq - jsonb_array_length(a.items) + 1, m.org_id, m.task_id, me.no,
		me.incarnation, me.feed + row_number() over (order by m.run_id), now(),
		case when a.state = 'retry_wait' then jsonb_set(a.items, '{-1,next_at}', to_jsonb(
			to_char(m.next_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
		else a.items end
	from moved m join asked a on a.run_id = m.run_id, me
	where jsonb_array_length(a.items) > 0
)
select run_id from moved
-- @end_run_end
-- params: ids_json
-- Take finished runs out of live, in the transaction that finished them.
-- $1 [run id, …]
with gone as (
	delete from takt.live l using takt.run r
	where l.run_id in (select x::uuid from jsonb_array_elements_text($1::jsonb) as a(x))
	and r.id = l.run_id and r.state is not null
	returning l.task_id, coalesce(l.started_at, now()) as at
)
update takt.task t set last_run_at = greatest(t.last_run_at, g.at)
from (select task_id, max(at) as at from gone group by task_id) g
where t.id = g.task_id
-- @end_notify
-- params: 
-- Ends a transaction that added events: wakes the readers of the feed, once.
select pg_notify('takt_feed', '')
