-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Claim queued runs for this node: a new epoch and attempt, its units. The first attempt resolves the target; a later
-- one repeats the units that may pass when tried again. No unit at all: the target is unresolved, the engine ends the
-- attempt. Answers with what load_runs would.
-- $1 node id, $2 node epoch, $3 limit, $4 task types, $5 retryable error classes (text arrays)
with me as materialized (
	select n.id, n.no, n.name, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		format('[{"type":"task_dispatched","severity":"info","state":"dispatched","at":%s,"node":%s', to_json(to_char(
			now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')), to_json(n.name)) as head
	from takt.node n where n.id = $1::uuid and n.epoch = $2::bigint and not n.draining
), cand as materialized (
	select l.ctid as place, l.run_id, l.task_id, l.org_id, l.attempt, l.queue_depth, l.priority, l.next_at, l.units,
		l.device_id, l.last_batch, coalesce(l.task_type, r.task_type) as task_type,
		coalesce(l.task_revision, r.task_revision) as task_revision, coalesce(l.policy_hash, r.policy_hash) as policy_hash,
		coalesce(l.timeout_s, r.timeout_s) as timeout_s, coalesce(l.target, r.target) as target
	from takt.live l left join lateral (
		select r.task_type, r.task_revision, takt.policy_hash(r.policy) as policy_hash,
			takt.policy_timeout_s(r.policy) as timeout_s, takt.policy_target(r.policy) as target
		from takt.run r where r.org_id = l.org_id and r.id = l.run_id and l.task_type is null offset 0) r on true
	-- queued means now: next_at orders, and a database whose clock was set back makes nobody wait
	where l.state = 'queued' and exists (select from me)
	and (l.expires_at is null or l.expires_at > now())
	and coalesce(l.task_type, r.task_type) = any ($4::text[])
	and (l.attempt > 0 or not l.queue_depth or not exists (select from takt.live o
		where o.task_id = l.task_id and o.queue_depth and o.attempt > 0))
	order by l.priority desc, l.next_at, l.run_id
	limit $3::int
	for update of l skip locked
), late as materialized (
	-- of a task's runs that may not overlap, all but the first
	select run_id from (select run_id, row_number() over (partition by task_id
		order by attempt desc, priority desc, next_at, run_id) as nth from cand where queue_depth) c
	where nth > 1
), aimed as materialized (
	-- What cannot be read counts as unresolved: one bad definition must not hold up all others.
	select run_id, org_id, target ->> 'type' as target_type, takt.as_uuid(target ->> 'id') as target_id
	from cand where attempt = 0 and target is not null
), member as materialized (
	select p.run_id, d.id, d.name, d.address from aimed p join takt.device d on d.id = p.target_id and d.org_id = p.org_id
	where p.target_type = 'device'
	union all
	select p.run_id, d.id, d.name, d.address
	from aimed p join takt.device_group dg on dg.id = p.target_id and dg.org_id = p.org_id
	join takt.group_member gm on gm.group_id = dg.id join takt.device d on d.id = gm.device_id
	where p.target_type = 'device_group'
	union all
	select p.run_id, d.id, d.name, d.address from cand p join takt.device d on d.id = p.device_id
	where p.attempt > 0 and p.units = 1
), sized as materialized (
	select run_id, count(*)::int as n, (array_agg(id))[1] as device_id, (array_agg(name))[1] as name,
		(array_agg(address))[1] as address from member group by run_id
), moved as (
	update takt.live l set state = 'dispatched', epoch = l.epoch + 1, attempt = l.attempt + 1, node_id = $1::uuid,
		event_seq = l.event_seq + 1, last_batch = (select batch from me), opened_at = now(), attempt_started_at = null,
		taken_from = null, expires_at = null, timeout_s = p.timeout_s, journal_off = 0, output_b = 0, output_cut_b = 0,
		units = case when l.attempt > 0 then l.units when p.target is null then 1 else coalesce(s.n, 0) end,
		device_id = case when l.attempt > 0 then l.device_id when s.n = 1 then s.device_id end,
		device_name = case when s.n = 1 then s.name else l.device_name end,
		address = case when s.n = 1 then s.address else l.address end
	from cand p left join sized s on s.run_id = p.run_id
	-- By place only, and of `= 1` the planner expects few: else a plan may read all of live instead.
	where l.ctid = p.place and (l.run_id = p.run_id) is true and l.state = 'queued'
	and case when p.run_id = any (array(select run_id from late)) then 2 else 1 end = 1
	returning l.org_id, l.run_id, l.task_id, l.event_seq, p.last_batch as prev, l.epoch, l.attempt, l.units, l.started_at,
		l.device_id, l.device_name, l.address, p.task_type, p.task_revision, p.policy_hash, p.timeout_s
), want as materialized (
	select m.run_id, m.attempt, (row_number() over (partition by m.run_id order by b.name))::int - 1 as no, m.org_id,
		m.epoch, b.id, b.name, b.address
	from moved m join member b on b.run_id = m.run_id
	where m.attempt = 1 and m.units > 1
	union all
	select m.run_id, m.attempt, u.no, m.org_id, m.epoch, u.device_id, coalesce(d.name, u.device_name),
		coalesce(d.address, u.address)
	from moved m join takt.unit_row u on u.run_id = m.run_id and u.attempt = m.attempt - 1
	left join takt.device d on d.id = u.device_id
	where m.attempt > 1 and m.units > 1 and u.state not in ('passed', 'skipped') and u.error_class = any ($5::text[])
), unit as (
	insert into takt.unit_row (run_id, attempt, no, org_id, epoch, device_id, device_name, address)
	select run_id, attempt, no, org_id, epoch, id, coalesce(name, ''), coalesce(address, '') from want
), told as (
	-- Sorted once; grouping by what it is sorted by first keeps the order.
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + t.upto - t.n + 1, me.feed + t.upto, now(), t.run_ids,
		t.task_ids, t.first_seqs, t.prevs, t.items
	from (select org_id, count(*) as n, sum(count(*)) over (order by org_id)::bigint as upto, array_agg(run_id) as run_ids,
			array_agg(task_id) as task_ids, array_agg(event_seq) as first_seqs, array_agg(prev) as prevs,
			array_agg(concat((select head from me), ',"attempt":', attempt, ',"epoch":', epoch, ',"units":',
				case when units > 1 then (select count(*) from want w where w.run_id = m.run_id) else units end,
				'}]')::json) as items
		from (select org_id, run_id, task_id, event_seq, prev, attempt, epoch, units from moved
			order by org_id, run_id) m
		group by org_id) t, me
)
select m.run_id, m.org_id, m.task_id, 'dispatched' as state, m.epoch, m.attempt, '' as cancel_reason, m.task_type,
	m.task_revision || '.' || m.policy_hash as policy_key, false as is_attempt_started, m.timeout_s,
	m.timeout_s::bigint * 1000 as remaining_ms,
	floor(extract(epoch from now() - m.started_at) * 1000)::bigint as running_ms,
	false as is_rescued, m.units as units_total,
	case when m.units > 1 and m.attempt > 1 then (select count(distinct u.no) from takt.unit_row u where u.run_id = m.run_id
		and u.attempt < m.attempt and u.state in ('passed', 'skipped')) else 0 end as passed_before,
	0 as no, 'pending' as unit_state, 0 as journal_off, 0 as output_b, m.device_id, m.device_name, m.address, d.port,
	d.platform, d.host_key, d.credential_id, d.credential_version, d.username, d.sealed, d.known
from moved m left join lateral (select d.port, d.platform, d.host_key, c.id as credential_id,
		c.version as credential_version, c.username, encode(c.sealed, 'hex') as sealed,
		(select jsonb_agg(jsonb_build_object('key_type', k.key_type, 'public_key', k.public_key))
			from takt.host_key k where k.device_id = d.id) as known
	from takt.device d left join takt.credential c on c.id = d.credential_id
	where d.id = m.device_id offset 0) d on true;
