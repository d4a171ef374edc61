-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Retries whose time has come are queued again; any engine may take them.
-- $1 node id, $2 limit
with me as (
	select n.no, n.incarnation, coalesce((select max(e.feed_seq) from takt.event e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), due as (
	select run_id from takt.live where state = 'retry_wait' and next_at <= now()
	order by next_at limit $2::int
	for update skip locked
), moved as (
	update takt.live l set state = 'queued', event_seq = l.event_seq + 1
	from due d where l.run_id = d.run_id and l.state = 'retry_wait'
	returning l.run_id, l.org_id, l.task_id, l.event_seq, l.attempt
), told as (
	insert into takt.event (run_id, first_seq, org_id, task_id, node_no, incarnation, feed_seq, at, items)
	select m.run_id, m.event_seq, m.org_id, m.task_id, me.no, me.incarnation,
		me.feed + row_number() over (order by m.run_id), now(),
		jsonb_build_array(jsonb_build_object('type', 'task_queued', 'severity', 'info', 'at', me.at,
			'state', 'queued', 'attempt', m.attempt + 1))
	from moved m, me
)
select count(*) as n from moved;
