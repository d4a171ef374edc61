-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- A report of a stale epoch changed nothing; if its run is live, its timeline says so.
-- $1 node id, $2 [{"run_id","unit","epoch"}]
with me as (
	select n.no, n.incarnation, coalesce((select max(e.feed_seq) from takt.event e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), asked as (
	select a.run_id, count(*) as n, min(a.ord) as ord, jsonb_agg(jsonb_build_object('type', 'fenced',
		'severity', 'warning', 'at', me.at, 'unit', a.unit, 'epoch', a.epoch) order by a.ord) as items
	from (select (x.item ->> 'run_id')::uuid as run_id, x.item ->> 'unit' as unit,
		(x.item ->> 'epoch')::bigint as epoch, x.ord
		from jsonb_array_elements($2::jsonb) with ordinality as x(item, ord)) a, me
	group by a.run_id
), moved as (
	update takt.live l set event_seq = l.event_seq + a.n
	from asked a where l.run_id = a.run_id
	returning l.run_id, l.org_id, l.task_id, l.event_seq
), told as (
	insert into takt.event (run_id, first_seq, org_id, task_id, node_no, incarnation, feed_seq, at, items)
	select m.run_id, m.event_seq - a.n + 1, m.org_id, m.task_id, me.no, me.incarnation,
		me.feed + row_number() over (order by m.run_id), now(), a.items
	from moved m join asked a on a.run_id = m.run_id, me
)
select count(*) as n from moved;
