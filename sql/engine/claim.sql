-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Claim queued runs for this node: a new epoch, a new attempt, its units. The first attempt resolves the
-- target; a later one repeats the units that may pass when tried again. No unit at all: the target is
-- unresolved, the engine ends the attempt.
-- $1 node id, $2 node epoch, $3 limit, $4 ["task type", …], $5 ["retryable error class", …]
with me as (
	select n.id, n.no, n.name, n.incarnation, coalesce((select max(e.feed_seq) from takt.event e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid and n.epoch = $2::bigint and not n.draining
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
select run_id from moved;
