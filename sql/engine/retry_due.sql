-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Retries whose time has come are queued again; any engine may take them.
-- $1 node id, $2 limit
with me as materialized (
	select n.no, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), due as (
	select run_id, last_batch from takt.live where state = 'retry_wait' and next_at <= now()
	order by next_at limit $2::int
	for update skip locked
), moved as (
	update takt.live l set state = 'queued', event_seq = l.event_seq + 1, last_batch = me.batch
	from due d, me where l.run_id = d.run_id and l.state = 'retry_wait'
	returning l.run_id, l.org_id, l.task_id, l.event_seq, l.attempt, d.last_batch as prev
), item as (
	select m.org_id, m.run_id, m.task_id, m.event_seq as first_seq, m.prev,
		json_build_array(jsonb_build_object('type', 'task_queued', 'severity', 'info', 'at', me.at,
			'state', 'queued', 'attempt', m.attempt + 1)) as items
	from moved m, me
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + min(t.nth), me.feed + max(t.nth), now(),
		array_agg(t.run_id order by t.nth), array_agg(t.task_id order by t.nth), array_agg(t.first_seq order by t.nth),
		array_agg(t.prev order by t.nth), array_agg(t.items order by t.nth)
	from (select i.*, row_number() over (order by i.org_id, i.run_id) as nth from item i) t, me
	group by t.org_id, me.batch, me.no, me.incarnation, me.feed
)
select count(*) as n from moved;
