-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Decide about due times: each schedule whose row is still as it was read moves on, and the due time
-- becomes a run, or an occurrence that says why not. Earlier due times that were passed over are one
-- skipped range.
-- $1 node id; then arrays, an element a schedule: $2 the row's place, $3 id, $4 its due time as it was read,
-- $5 expression, $6 zone, $7 the due time to decide (epoch s), null: that which was read, $8 the next, null: never again,
-- $9 why it must not fire, else null, $10 the last due time passed over, $11 how many were, $12 run id, $13 code
with me as materialized (
	select n.no, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		format('[{"type":"task_created","severity":"info","state":"queued","trigger":"schedule","actor":"","at":%s',
			to_json(to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))) as head
	from takt.node n where n.id = $1::uuid
), asked as materialized (
	select a.place::tid as place, a.id, a.was::timestamptz as was, a.expr, a.zone,
		coalesce(to_timestamp(a.due), a.was::timestamptz) as due, to_timestamp(a.next) as next, a.rule,
		to_timestamp(a.skip_until) as skip_until, a.skip_n, a.run_id, a.code
	from unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
		$10::bigint[], $11::int[], $12::uuid[], $13::text[])
		as a(place, id, was, expr, zone, due, next, rule, skip_until, skip_n, run_id, code)
), held as (
	-- By place: an index on the due time finds all that are due with it, each time.
	select s.ctid as at, a.* from asked a join takt.schedule s on s.ctid = a.place
	where s.id = a.id and s.enabled and s.next_due_at = a.was and s.expr = a.expr and s.zone = a.zone
	for update of s skip locked
), moved as (
	update takt.schedule s set next_due_at = h.next,
		next_fire_at = h.next + s.jitter_off_s * interval '1 s', last_due_at = h.due
	from held h
	where s.ctid = h.at and s.id = h.id and s.enabled and s.next_due_at = h.was and s.expr = h.expr and s.zone = h.zone
	returning s.task_id, s.org_id, h.id, h.was, h.due, h.rule, h.skip_until, h.skip_n, h.run_id, h.code
), ready as materialized (
	select m.*, t.name, t.task_type, t.revision, o.is_queue,
		t.definition || jsonb_build_object('revision', t.revision) as policy,
		case when m.rule is not null then m.rule
		when not t.enabled then 'task.disabled'
		when o.is_queue and exists (select from takt.live l where l.task_id = m.task_id and l.state = 'queued'
			and l.attempt = 0 and (select r.trigger from takt.run r where r.org_id = l.org_id and r.id = l.run_id) = 'schedule')
			then 'overlap.queue_full' end as skip_rule
	from moved m join takt.task t on t.org_id = m.org_id and t.id = m.task_id,
	lateral (select coalesce(t.definition ->> 'overlap', 'queue') = 'queue' as is_queue offset 0) o
), passed_over as (
	insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, until_at, n)
	select task_id, was, id, org_id, 'skipped', 'catchup.latest', skip_until, skip_n
	from ready where skip_n > 0
	on conflict do nothing
), decided as (
	insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, run_id)
	select task_id, due, id, org_id, case when skip_rule is null then 'fired' else 'skipped' end,
		coalesce(skip_rule, 'due'), case when skip_rule is null then run_id end
	from ready
	on conflict do nothing
	returning run_id
), fired as materialized (
	-- `is true`: a hashed look-up; as a join it would go through all for each.
	select r.*, row_number() over (order by r.org_id, r.run_id) as nth from ready r
	where (r.run_id in (select d.run_id from decided d)) is true
), made as (
	insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger,
		due_at, created_at, policy)
	select f.run_id, f.org_id, f.code, f.task_id, f.revision, f.name, f.task_type, 'schedule', f.due,
		now(), f.policy
	from fired f
), alive as (
	insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, last_batch, queue_depth, task_type,
		task_revision, policy_hash, timeout_s, target)
	select f.run_id, f.org_id, f.task_id, 'queued', now(), 1, me.batch, f.is_queue, f.task_type, f.revision,
		takt.policy_hash(f.policy), takt.policy_timeout_s(f.policy), takt.policy_target(f.policy)
	from fired f, me
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, f.org_id, me.no, me.incarnation, me.feed + min(f.nth), me.feed + max(f.nth), now(),
		array_agg(f.run_id order by f.nth), array_agg(f.task_id order by f.nth), array_agg(1::bigint),
		array_agg(null::uuid), array_agg((me.head || ',"task_name":' || to_json(f.name) || ',"task_type":' || to_json(f.task_type)
			|| ',"code":' || to_json(f.code) || ',"due_at":"' || to_char(f.due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
			|| '"}]')::json order by f.nth)
	from fired f, me
	group by f.org_id, me.batch, me.no, me.incarnation, me.feed
)
select (select count(*) from moved) as moved, (select count(*) from fired) as fired;
