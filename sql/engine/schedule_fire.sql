-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Decide about due times: each schedule whose row is still as it was read moves on, and the due time
-- becomes a run, or an occurrence that says why not. What was passed over besides (daemon/schedule/README.md) comes
-- in rows of its own, which are written if their schedule moves.
-- $1 node id; then arrays, an element a schedule: $2 the row's place, $3 id, $4 its due time as it was read,
-- $5 version, $6 the due time to decide (epoch s), null: that which was read, -1: none, $7 the next, null: never
-- again, $8 why it must not fire, else null, $9 run id, $10 code, $11 by how many seconds it is late, null: it is not;
-- then an element a row passed over: $12 schedule id, $13 decision, $14 rule, $15 due time, $16 the last one that it
-- covers, null: it alone, $17 how many, $18 detail (JSON) or null; $19 when it was read (epoch s): what an engine decided before
-- it stood still is too old by now, and is read anew; so is what was read before the clock was set back
with me as materialized (
	select n.no, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		format('[{"type":"task_created","severity":"info","state":"queued","trigger":"schedule","actor":"","at":%s',
			to_json(to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))) as head,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), asked as materialized (
	select a.place::tid as place, a.id, a.was::timestamptz as was, a.version, to_timestamp(a.next) as next, a.rule,
		case when a.due is null then a.was::timestamptz when a.due >= 0 then to_timestamp(a.due) end as due,
		a.run_id, a.code, a.late_s
	from unnest($2::text[], $3::uuid[], $4::text[], $5::int[], $6::bigint[], $7::bigint[], $8::text[], $9::uuid[],
		$10::text[], $11::int[]) as a(place, id, was, version, due, next, rule, run_id, code, late_s)
), passed as materialized (
	select p.id, p.decision, p.rule, to_timestamp(p.due) as due, to_timestamp(p.until) as until_at, p.n,
		p.detail::jsonb as detail
	from unnest($12::uuid[], $13::text[], $14::text[], $15::bigint[], $16::bigint[], $17::int[], $18::text[])
		as p(id, decision, rule, due, until, n, detail)
), held as (
	-- By place: an index on the due time finds all that are due with it, each time.
	select s.ctid as at, a.* from asked a join takt.schedule s on s.ctid = a.place
	where s.id = a.id and s.enabled and s.next_due_at = a.was and s.version = a.version
	and now() < to_timestamp($19::bigint) + interval '10 s'
	and now() >= to_timestamp($19::bigint)
	for update of s skip locked
), moved as (
	update takt.schedule s set next_due_at = h.next, next_fire_at = h.next + s.jitter_off_s * interval '1 s',
		last_due_at = coalesce(h.due, (select max(coalesce(p.until_at, p.due)) from passed p where p.id = h.id))
	from held h
	where s.ctid = h.at and s.id = h.id and s.enabled and s.next_due_at = h.was and s.version = h.version
	returning s.task_id, s.org_id, s.start_deadline_s, h.id, h.due, h.rule, h.run_id, h.code, h.late_s
), ready as materialized (
	select m.*, t.name, t.task_type, t.revision, o.overlap, o.at_most, b.busy,
		t.definition || jsonb_build_object('revision', t.revision) as policy,
		case when m.rule is not null then m.rule
		when not t.enabled then 'task.disabled'
		when o.overlap = 'queue' then case when (select count(*) from (select from takt.live l
				where l.task_id = m.task_id and l.state = 'queued' and l.attempt = 0
				and (select r.trigger from takt.run r where r.org_id = l.org_id and r.id = l.run_id) = 'schedule'
				limit coalesce(o.at_most, 1)) w) >= coalesce(o.at_most, 1) then 'overlap.queue_full' end
		when o.overlap = 'skip' and cardinality(b.busy) > 0 then 'overlap.skip'
		when o.overlap = 'parallel' and cardinality(b.busy) >= o.at_most then 'overlap.parallel_full' end as skip_rule
	from moved m join takt.task t on t.org_id = m.org_id and t.id = m.task_id,
	lateral (select coalesce(t.definition ->> 'overlap', 'queue') as overlap,
		(t.definition ->> 'overlap_limit')::int as at_most offset 0) o,
	-- Its unfinished runs, where they matter: each of the three by the one index that fits.
	lateral (select case when o.overlap in ('skip', 'replace') or o.overlap = 'parallel' and o.at_most is not null then array(
		select l.run_id from takt.live l where l.task_id = m.task_id and l.state = 'queued' and l.attempt = 0
		union all
		select l.run_id from takt.live l where l.task_id = m.task_id and l.queue_depth and l.attempt > 0
		union all
		select l.run_id from takt.live l where l.task_id = m.task_id and not l.queue_depth
			and (l.state <> 'queued' or l.attempt > 0)) end as busy offset 0) b
), passed_over as (
	insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, until_at, n, detail, event_id)
	select s.task_id, p.due, p.id, s.org_id, p.decision, p.rule, p.until_at, p.n, p.detail,
		takt.decision_event_id((select batch from me))
	from passed p cross join lateral (select s.task_id, s.org_id from takt.schedule s where s.id = p.id offset 0) s
	where (p.id in (select m.id from moved m)) is true
	on conflict do nothing
	returning *
), decided as (
	insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, run_id, event_id, detail)
	select task_id, due, id, org_id, case when skip_rule is null then 'fired' else 'skipped' end,
		coalesce(skip_rule, 'due'), case when skip_rule is null then run_id end,
		case when skip_rule is not null then takt.decision_event_id((select batch from me)) end,
		case when late_s is not null or skip_rule like 'overlap.%' or overlap = 'replace' and cardinality(busy) > 0 then
			jsonb_strip_nulls(jsonb_build_object('late_s', late_s,
				'limit', case when skip_rule in ('overlap.queue_full', 'overlap.parallel_full') then coalesce(at_most, 1) end,
				'run_id', case when skip_rule in ('overlap.skip', 'overlap.parallel_full') then busy[1] end,
				'replaces', case when skip_rule is null and overlap = 'replace' and cardinality(busy) > 0
					then to_jsonb(busy) end)) end
	from ready where due is not null
	on conflict do nothing
	returning *
), fired as materialized (
	-- `is true`: a hashed look-up; as a join it would go through all for each.
	select r.* from ready r
	where (r.run_id in (select d.run_id from decided d)) is true
), made as (
	insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger,
		due_at, created_at, policy)
	select f.run_id, f.org_id, f.code, f.task_id, f.revision, f.name, f.task_type, 'schedule', f.due,
		now(), f.policy
	from fired f
), alive as (
	insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, last_batch, queue_depth, task_type,
		task_revision, policy_hash, timeout_s, target, expires_at)
	select f.run_id, f.org_id, f.task_id, 'queued', now(), 1, me.batch, f.overlap <> 'parallel', f.task_type, f.revision,
		takt.policy_hash(f.policy), takt.policy_timeout_s(f.policy), takt.policy_target(f.policy),
		now() + f.start_deadline_s * interval '1 s'
	from fired f, me
), replaced as (
	-- Cancelled like by anybody, once; the new run waits until the old one has ended.
	insert into takt.command (id, org_id, request_hash, kind, actor, body, run_id)
	select takt.uuid_v7(), f.org_id, '', 'run.cancel', 'schedule', '{"reason": "overlap.replace"}', b.run_id
	from fired f, unnest(f.busy) as b(run_id)
	where f.overlap = 'replace' and not exists (select from takt.command c
		where c.run_id = b.run_id and c.kind = 'run.cancel' and c.decided_at is null)
	and not exists (select from takt.live l where l.run_id = b.run_id and l.state = 'cancelling')
	returning id
), item as (
	select f.org_id, f.run_id, f.task_id, (me.head || ',"task_name":' || to_json(f.name) || ',"task_type":' || to_json(f.task_type)
			|| ',"code":' || to_json(f.code) || ',"due_at":"' || to_char(f.due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
			|| '"}]')::json as items
	from fired f, me
	union all
	-- What makes no run has an element under an id of its own.
	select o.org_id, o.event_id, o.task_id, json_build_array(jsonb_strip_nulls(jsonb_build_object(
		'type', 'occurrence_' || o.decision, 'severity', case when o.rule = 'schedule.invalid' then 'error'
			when o.decision = 'missed' or o.rule like 'overlap.%' then 'warning' else 'info' end,
		'at', me.at, 'rule', o.rule, 'due_at', to_char(o.due_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'until_at', to_char(o.until_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'n', o.n, 'detail', o.detail)))
	from (select * from passed_over union all select * from decided d where d.event_id is not null) o, me
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, i.org_id, me.no, me.incarnation, me.feed + min(i.nth), me.feed + max(i.nth), now(),
		array_agg(i.run_id order by i.nth), array_agg(i.task_id order by i.nth), array_agg(1::bigint),
		array_agg(null::uuid), array_agg(i.items order by i.nth)
	from (select i.*, row_number() over (order by i.org_id, i.run_id) as nth from item i) i, me
	group by i.org_id, me.batch, me.no, me.incarnation, me.feed
)
select (select count(*) from moved) as moved, (select count(*) from fired) as fired,
	(select pg_notify('takt_command', '') from replaced limit 1) as replaced;
