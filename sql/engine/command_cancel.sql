-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Decide run.cancel commands. A run that waits ends at once; one that has units goes to cancelling. A live run that is
-- not ours, or was taken by another node since the command was read, is that node's to decide: its command stays open.
-- $1 node id, $2 [command id, …]
with me as materialized (
	select n.no, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), cmd as (
	select c.id, c.org_id, c.actor, c.run_id, c.created_at, left(c.body ->> 'reason', 500) as reason
	from takt.command c join jsonb_array_elements_text($2::jsonb) as a(id) on a.id::uuid = c.id
	where c.kind = 'run.cancel' and c.decided_at is null
	for update of c skip locked
), first as (
	select distinct on (run_id) * from cmd order by run_id, created_at, id
), held as (
	select l.run_id, l.state, l.attempt, l.started_at, l.task_id, l.last_batch, f.actor, f.reason
	from takt.live l join first f on f.run_id = l.run_id and f.org_id = l.org_id
	where l.node_id is null or l.node_id = $1::uuid
	for update of l
), ended as (
	update takt.run r set state = 'cancelled', finished_at = now(), attempts = h.attempt,
		started_at = h.started_at, last_batch = me.batch,
		summary = jsonb_build_object('message', 'cancelled before it was started', 'attempts', h.attempt)
	from held h, me
	where r.id = h.run_id and h.state in ('queued', 'retry_wait') and r.state is null
	returning r.id
), gone as (
	delete from takt.live l using held h
	where l.run_id = h.run_id and l.state = h.state and h.state in ('queued', 'retry_wait')
	returning l.run_id, l.org_id, l.task_id, l.event_seq + 1 as event_seq, h.last_batch as prev, h.state as was, h.attempt,
		h.actor, h.reason
), stopped as (
	update takt.live l set event_seq = l.event_seq + 1, last_batch = me.batch,
		cancel_reason = coalesce(h.reason, ''), state = 'cancelling'
	from held h, me
	where l.run_id = h.run_id and l.state = h.state and h.state in ('dispatched', 'running')
	returning l.run_id, l.org_id, l.task_id, l.event_seq, h.last_batch as prev, h.state as was, h.attempt, h.actor, h.reason
), moved as (
	select * from gone union all select * from stopped
), item as (
	select m.org_id, m.run_id, m.task_id, m.event_seq as first_seq, m.prev,
		json_build_array(jsonb_build_object('severity', 'warning', 'at', me.at, 'actor', m.actor,
			'reason', coalesce(m.reason, '')) || case when m.was in ('queued', 'retry_wait')
			then jsonb_build_object('type', 'task_cancelled', 'state', 'cancelled',
				'message', 'cancelled before it was started', 'attempts', m.attempt)
			else jsonb_build_object('type', 'task_cancelling', 'state', 'cancelling') end) as items
	from moved m, me
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + min(t.nth), me.feed + max(t.nth), now(),
		array_agg(t.run_id order by t.nth), array_agg(t.task_id order by t.nth), array_agg(t.first_seq order by t.nth),
		array_agg(t.prev order by t.nth), array_agg(t.items order by t.nth)
	from (select i.*, row_number() over (order by i.org_id, i.run_id) as nth from item i) t, me
	group by t.org_id, me.batch, me.no, me.incarnation, me.feed
), seen as (
	select c.id, c.run_id, r.code, r.state as final, h.state as was
	from cmd c left join takt.run r on r.id = c.run_id and r.org_id = c.org_id
	left join held h on h.run_id = c.run_id
), answered as (
	update takt.command c set decided_at = now(),
		status = case when s.code is null then 404 when s.final is not null then 409
			when s.was in ('queued', 'retry_wait') then 200 else 202 end,
		answer = case when s.code is null then jsonb_build_object('code', 'run.not_found',
				'detail', format('there is no run %s', s.run_id))
			when s.final is not null then jsonb_build_object('code', 'run.finished',
				'detail', format('run %s is %s already', s.code, s.final),
				'id', s.run_id, 'state', s.final)
			else jsonb_build_object('id', s.run_id, 'code', s.code, 'state',
				case when s.was in ('queued', 'retry_wait') then 'cancelled' else 'cancelling' end)
			end
	from seen s where c.id = s.id and (s.code is null or s.final is not null or s.was is not null)
	returning c.id
)
select run_id, was, coalesce(reason, '') as reason from moved;
