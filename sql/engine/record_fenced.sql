-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- A report of a stale epoch changed nothing; if its run is live, its timeline says so.
-- $1 node id, $2 [{"run_id","unit","epoch"}]
with me as materialized (
	select n.no, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), asked as (
	select a.run_id, count(*) as n, min(a.ord) as ord, json_agg(jsonb_build_object('type', 'fenced',
		'severity', 'warning', 'at', me.at, 'unit', a.unit, 'epoch', a.epoch) order by a.ord) as items
	from (select (x.item ->> 'run_id')::uuid as run_id, x.item ->> 'unit' as unit,
		(x.item ->> 'epoch')::bigint as epoch, x.ord
		from jsonb_array_elements($2::jsonb) with ordinality as x(item, ord)) a, me
	group by a.run_id
), held as (
	-- the run may be another node's, whose transaction adds events just now
	select l.run_id, l.last_batch from takt.live l where l.run_id in (select run_id from asked) order by l.run_id for update
), moved as (
	update takt.live l set event_seq = l.event_seq + a.n, last_batch = me.batch
	from asked a join held h on h.run_id = a.run_id, me
	where l.run_id = a.run_id
	returning l.run_id, l.org_id, l.task_id, l.event_seq, h.last_batch as prev
), item as (
	select m.org_id, m.run_id, m.task_id, m.event_seq - a.n + 1 as first_seq, m.prev, a.items
	from moved m join asked a on a.run_id = m.run_id
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
