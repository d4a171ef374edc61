-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Take over the runs of a dead node, by compare-and-set on its beat: a node that renews its lease at this moment
-- keeps its runs, and of two rescuers one finds the row locked or nothing left. Runs whose rows are locked are
-- left for the next time: a transaction of the dead node may hold them (rescue_end_backend).
-- A run goes to a node that offers its type, if there is one.
-- $1 node id, $2 the dead node's id, $3 its beat as observed, $4 limit, $5 ["task type", …]
with me as materialized (
	select n.id, n.no, n.name, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), gone as (
	select n.id, n.name from takt.node n where n.id = $2::uuid and n.beat = $3::bigint
	for update skip locked
), cand as (
	select l.run_id, l.last_batch
	from takt.live l join takt.run r on r.id = l.run_id
	where l.node_id = $2::uuid and l.state in ('dispatched', 'running', 'cancelling')
	and exists (select from gone)
	and ($5::jsonb ? r.task_type or not exists (
		select from takt.plugin p join takt.node n on n.id = p.node_id
		where p.status = 'loaded' and n.id <> $2::uuid and n.lease_until > now() and not n.draining
		and p.types @> jsonb_build_array(jsonb_build_object('id', r.task_type))))
	order by l.run_id
	limit $4::int
	for update of l skip locked
), moved as (
	update takt.live l set node_id = me.id, epoch = l.epoch + 1, event_seq = l.event_seq + 1, last_batch = me.batch,
		taken_from = $2::uuid
	from cand c, me
	where l.run_id = c.run_id and l.node_id = $2::uuid
	returning l.run_id, l.org_id, l.task_id, l.epoch, l.attempt, l.event_seq, c.last_batch as prev
), kept as (
	update takt.unit_row u set epoch = m.epoch
	from moved m where u.run_id = m.run_id and u.attempt = m.attempt and u.state in ('pending', 'running')
), item as (
	select m.org_id, m.run_id, m.task_id, m.event_seq as first_seq, m.prev,
		json_build_array(jsonb_build_object('type', 'attempt_taken_over', 'severity', 'warning', 'at', me.at,
			'attempt', m.attempt, 'epoch', m.epoch, 'from', gone.name, 'to', me.name)) as items
	from moved m, me, gone
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + min(t.nth), me.feed + max(t.nth), now(),
		array_agg(t.run_id order by t.nth), array_agg(t.task_id order by t.nth), array_agg(t.first_seq order by t.nth),
		array_agg(t.prev order by t.nth), array_agg(t.items order by t.nth)
	from (select i.*, row_number() over (order by i.org_id, i.run_id) as nth from item i) t, me
	group by t.org_id, me.batch, me.no, me.incarnation, me.feed
)
select run_id from moved;
