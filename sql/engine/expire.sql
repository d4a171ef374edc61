-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Runs that were not started by their start deadline end as expired. A claim never takes one whose deadline is over
-- (claim.sql), and takes the deadline away from those that it starts.
-- $1 node id, $2 limit
with me as materialized (
	select n.no, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), due as (
	select run_id, last_batch, expires_at from takt.live
	where expires_at is not null and expires_at <= now() and state = 'queued' and attempt = 0
	order by expires_at limit $2::int
	for update skip locked
), ended as (
	update takt.run r set state = 'expired', finished_at = now(), attempts = 0, last_batch = me.batch,
		summary = json_build_object('message', format('not started within %s s',
			round(extract(epoch from d.expires_at - r.created_at))), 'attempts', 0)
	from due d, me where r.id = d.run_id and r.state is null
	returning r.id, r.summary ->> 'message' as message
), gone as (
	delete from takt.live l using due d
	where l.run_id = d.run_id and l.state = 'queued' and l.attempt = 0
	returning l.run_id, l.org_id, l.task_id, l.event_seq + 1 as event_seq, d.last_batch as prev
), item as (
	select g.org_id, g.run_id, g.task_id, g.event_seq as first_seq, g.prev,
		json_build_array(json_build_object('type', 'task_expired', 'severity', 'warning', 'at', me.at, 'state', 'expired',
			'message', e.message, 'attempts', 0)) as items
	from gone g join ended e on e.id = g.run_id, me
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + min(t.nth), me.feed + max(t.nth), now(),
		array_agg(t.run_id order by t.nth), array_agg(t.task_id order by t.nth), array_agg(t.first_seq order by t.nth),
		array_agg(t.prev order by t.nth), array_agg(t.items order by t.nth)
	from (select i.*, row_number() over (order by i.org_id, i.run_id) as nth from item i) t, me
	group by t.org_id, me.batch, me.no, me.incarnation, me.feed
)
select count(*) as n from gone;
