-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Decide about due times: each schedule whose row is still as it was read moves on, and the due time
-- becomes a run, or an occurrence that says why not. Earlier due times that were passed over are one
-- skipped range.
-- $1 node id, $2 [{"id","was","expr","zone","due","next","rule","skip_from","skip_until","skip_n",
--    "run_id","code"}]; rule: why it must not fire, else null
with me as materialized (
	select n.no, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), asked as (
	select * from jsonb_to_recordset($2::jsonb) as a(id uuid, was timestamptz, expr text, zone text,
		due timestamptz, next timestamptz, rule text, skip_from timestamptz,
		skip_until timestamptz, skip_n int, run_id uuid, code text)
), held as (
	select s.id from takt.schedule s join asked a on a.id = s.id
	where s.enabled and s.next_due_at = a.was and s.expr = a.expr and s.zone = a.zone
	for update of s skip locked
), moved as (
	update takt.schedule s set next_due_at = a.next
	from asked a join held h on h.id = a.id
	where s.id = a.id and s.enabled and s.next_due_at = a.was and s.expr = a.expr and s.zone = a.zone
	returning s.id, s.task_id, s.org_id
), ready as (
	select a.*, m.task_id, m.org_id, t.name, t.task_type, t.revision, t.definition,
		coalesce(t.definition ->> 'overlap', 'queue') = 'queue' as is_queue,
		case when a.rule is not null then a.rule
		when coalesce(t.definition ->> 'overlap', 'queue') = 'queue' and exists (
			select from takt.live l join takt.run r on r.id = l.run_id
			where l.task_id = m.task_id and l.state = 'queued' and l.attempt = 0
			and r.trigger = 'schedule') then 'overlap.queue_full' end as skip_rule
	from moved m join asked a on a.id = m.id join takt.task t on t.id = m.task_id
), passed_over as (
	insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, until_at, n)
	select task_id, skip_from, id, org_id, 'skipped', 'catchup.latest', skip_until, skip_n
	from ready where skip_n > 0
	on conflict do nothing
), decided as (
	insert into takt.occurrence (task_id, due_at, schedule_id, org_id, decision, rule, run_id)
	select task_id, due, id, org_id, case when skip_rule is null then 'fired' else 'skipped' end,
		coalesce(skip_rule, 'due'), case when skip_rule is null then run_id end
	from ready
	on conflict do nothing
	returning run_id
), made as (
	insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger,
		due_at, created_at, policy)
	select r.run_id, r.org_id, r.code, r.task_id, r.revision, r.name, r.task_type, 'schedule', r.due,
		now(), r.definition || jsonb_build_object('revision', r.revision)
	from ready r join decided d on d.run_id = r.run_id
	returning id
), alive as (
	insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, last_batch, queue_depth)
	select r.run_id, r.org_id, r.task_id, 'queued', now(), 1, me.batch, r.is_queue
	from ready r join made m on m.id = r.run_id, me
), item as (
	select r.org_id, r.run_id, r.task_id, 1 as first_seq, null::uuid as prev,
		json_build_array(jsonb_build_object('type', 'task_created', 'severity', 'info', 'at', me.at,
			'state', 'queued', 'trigger', 'schedule', 'task_name', r.name,
			'task_type', r.task_type, 'actor', '', 'code', r.code,
			'due_at', to_char(r.due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))) as items
	from ready r join made m on m.id = r.run_id, me
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + min(t.nth), me.feed + max(t.nth), now(),
		array_agg(t.run_id order by t.nth), array_agg(t.task_id order by t.nth), array_agg(t.first_seq order by t.nth),
		array_agg(t.prev order by t.nth), array_agg(t.items order by t.nth)
	from (select i.*, row_number() over (order by i.org_id, i.run_id) as nth from item i) t, me
	group by t.org_id, me.batch, me.no, me.incarnation, me.feed
)
select (select count(*) from moved) as moved, (select count(*) from made) as fired;
