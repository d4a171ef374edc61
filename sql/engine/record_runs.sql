-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- One batch's events and moves: compare-and-set on node, epoch, attempt and state. A run that ends gets
-- its final row here; run_end then takes it out of live. What is not returned was fenced.
-- $1 node id, $2 [{"run_id","epoch","attempt","was","state","end","is_started","age_us","delay_s","attempt_state",
--    "error_class","error","summary","items"}]
with me as (
	select n.id, n.no, n.incarnation, coalesce((select max(e.feed_seq) from takt.event e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed
	from takt.node n where n.id = $1::uuid
), asked as (
	select * from jsonb_to_recordset($2::jsonb) as a(run_id uuid, epoch bigint, attempt int, was text,
		state text, "end" text, is_started boolean, age_us bigint, delay_s int, attempt_state text,
		error_class text, error jsonb, summary jsonb, items jsonb)
), moved as (
	update takt.live l set event_seq = l.event_seq + jsonb_array_length(a.items),
		state = coalesce(a.state, l.state),
		started_at = case when a.is_started then coalesce(l.started_at,
			greatest(now() - a.age_us * interval '1 microsecond', l.moved_at)) else l.started_at end,
		next_at = case when a.state = 'retry_wait' then now() + make_interval(secs => a.delay_s)
			else l.next_at end,
		node_id = case when a.state = 'retry_wait' then null else l.node_id end
	from asked a, me
	where l.run_id = a.run_id and l.node_id = me.id and l.epoch = a.epoch and l.attempt = a.attempt
	and l.state = a.was
	returning l.run_id, l.org_id, l.task_id, l.event_seq, l.started_at, l.next_at
), attempted as (
	update takt.attempt t set
		state = coalesce(a.attempt_state, t.state),
		started_at = case when a.is_started then coalesce(t.started_at,
			greatest(now() - a.age_us * interval '1 microsecond', t.opened_at)) else t.started_at end,
		finished_at = case when a.attempt_state not in ('dispatched', 'running') then now() end,
		error_class = a.error_class, error = a.error
	from asked a join moved m on m.run_id = a.run_id
	where t.run_id = a.run_id and t.no = a.attempt and t.epoch = a.epoch
	and (a.attempt_state is not null or a.is_started)
), ended as (
	update takt.run r set state = a."end", started_at = m.started_at, finished_at = now(),
		attempts = a.attempt, summary = a.summary
	from asked a join moved m on m.run_id = a.run_id
	where r.id = a.run_id and r.state is null and a."end" is not null
), told as (
	insert into takt.event (run_id, first_seq, org_id, task_id, node_no, incarnation, feed_seq, at, items)
	select m.run_id, m.event_seq - jsonb_array_length(a.items) + 1, m.org_id, m.task_id, me.no,
		me.incarnation, me.feed + row_number() over (order by m.run_id), now(),
		case when a.state = 'retry_wait' then jsonb_set(a.items, '{-1,next_at}', to_jsonb(
			to_char(m.next_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
		else a.items end
	from moved m join asked a on a.run_id = m.run_id, me
	where jsonb_array_length(a.items) > 0
)
select run_id from moved;
