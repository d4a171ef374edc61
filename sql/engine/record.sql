-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- One batch's moves and events: compare-and-set on node, epoch, attempt and state. A run that goes on keeps its live
-- row; one that ends leaves live and gets its final row; an attempt that ends gets its row. What is not returned was
-- fenced.
-- $1 node id; then arrays, an element a run: $2 run, $3 epoch, $4 attempt, $5 the state it has, $6 the state it gets,
-- $7 its end or null, $8 microseconds since the attempt started, null: not now, $9 delay of a retry (s),
-- $10 how the attempt ended, or null, $11 error class, $12 error, $13 summary, $14 events, $15 their number;
-- of a run's only unit, null if nothing is new: $16 how it ended, $17 result, $18 snapshot, $19 journal offset,
-- $20 bytes of output, $21 of them cut
with me as materialized (
	select n.id, n.no, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed
	from takt.node n where n.id = $1::uuid
), asked as materialized (
	select * from unnest($2::uuid[], $3::bigint[], $4::int[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::int[],
		$10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::int[], $16::text[], $17::text[], $18::text[],
		$19::bigint[], $20::bigint[], $21::bigint[])
		as a(run_id, epoch, attempt, was, state, "end", age_us, delay_s, attempt_state, error_class, error, summary, items,
		n, unit_state, result, snapshot_id, journal_off, output_b, output_cut_b)
), held as (
	-- Another node may add the event `fenced` to a run just now: what comes before ours is what the lock shows.
	select l.run_id, l.last_batch from asked a join takt.live l on l.run_id = a.run_id
	where a."end" is null and a.n > 0 order by l.run_id for update of l
), kept as (
	update takt.live l set event_seq = l.event_seq + a.n, state = a.state,
		last_batch = case when a.n > 0 then me.batch else l.last_batch end,
		started_at = case when a.age_us is null then l.started_at else coalesce(l.started_at,
			greatest(now() - a.age_us * interval '1 microsecond', l.opened_at)) end,
		attempt_started_at = case when a.age_us is null then l.attempt_started_at else coalesce(l.attempt_started_at,
			greatest(now() - a.age_us * interval '1 microsecond', l.opened_at)) end,
		next_at = case when a.state = 'retry_wait' then now() + make_interval(secs => a.delay_s) else l.next_at end,
		node_id = case when a.state = 'retry_wait' then null else l.node_id end,
		journal_off = greatest(l.journal_off, a.journal_off), output_b = greatest(l.output_b, a.output_b),
		output_cut_b = greatest(l.output_cut_b, a.output_cut_b)
	from asked a left join held h on h.run_id = a.run_id, me
	where a."end" is null and l.run_id = a.run_id and l.node_id = me.id and l.epoch = a.epoch and l.attempt = a.attempt
	and l.state = a.was
	returning l.run_id, l.org_id, l.task_id, l.event_seq - a.n + 1 as first_seq, l.started_at, l.attempt_started_at,
		l.next_at, l.opened_at, l.timeout_s, l.taken_from, l.device_id, l.device_name, l.address, l.output_b,
		l.output_cut_b, l.journal_off, a.epoch, a.attempt, a.state, a."end", a.attempt_state, a.error_class, a.error,
		a.summary, case when a.state = 'retry_wait' then jsonb_set(a.items::jsonb, '{-1,next_at}', to_jsonb(to_char(
			l.next_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))::text else a.items end as items,
		a.n, a.unit_state, a.result, a.snapshot_id, h.last_batch as prev
), gone as (
	delete from takt.live l using asked a, me
	where a."end" is not null and l.run_id = a.run_id and l.node_id = me.id and l.epoch = a.epoch
	and l.attempt = a.attempt and l.state = a.was
	returning l.run_id, l.org_id, l.task_id, l.event_seq + 1 as first_seq,
		case when a.age_us is null then l.started_at else coalesce(l.started_at,
			greatest(now() - a.age_us * interval '1 microsecond', l.opened_at)) end as started_at,
		case when a.age_us is null then l.attempt_started_at else coalesce(l.attempt_started_at,
			greatest(now() - a.age_us * interval '1 microsecond', l.opened_at)) end as attempt_started_at,
		l.next_at, l.opened_at, l.timeout_s, l.taken_from, l.device_id, l.device_name, l.address,
		greatest(l.output_b, a.output_b) as output_b, greatest(l.output_cut_b, a.output_cut_b) as output_cut_b,
		greatest(l.journal_off, a.journal_off) as journal_off, a.epoch, a.attempt, a.state, a."end", a.attempt_state,
		a.error_class, a.error, a.summary, a.items, a.n, a.unit_state, a.result, a.snapshot_id, l.last_batch as prev
), done as materialized (
	select * from gone union all select * from kept
), attempted as (
	insert into takt.attempt_row (run_id, no, org_id, epoch, node_id, state, opened_at, started_at, finished_at, timeout_s,
		error_class, error, taken_from, unit_state, device_id, device_name, address, result, snapshot_id, output_b,
		output_cut_b, journal_off)
	select d.run_id, d.attempt, d.org_id, d.epoch, me.id, d.attempt_state, d.opened_at, d.attempt_started_at, now(),
		d.timeout_s, d.error_class, d.error::jsonb, d.taken_from, d.unit_state, d.device_id, d.device_name, d.address,
		d.result::jsonb, d.snapshot_id, d.output_b, d.output_cut_b, d.journal_off
	from done d, me where d.attempt_state is not null
), ended as (
	update takt.run r set state = g."end", started_at = g.started_at, finished_at = now(), attempts = g.attempt,
		summary = g.summary::jsonb, last_batch = me.batch
	from gone g, me
	where r.id = g.run_id and r.state is null
), marked as (
	-- To the second: a busy task's row is not written for each of its runs. Not while somebody else has the row: an
	-- engine, whose rows come in another order, or a gateway, whose transaction may hang half sent.
	update takt.task t set last_run_at = g.at
	from (select o.ctid as place, o.id, g.at
		from (select task_id, max(coalesce(started_at, now())) as at from gone group by task_id) g
		join takt.task o on o.id = g.task_id and (o.last_run_at is null or o.last_run_at < g.at - interval '1 s')
		for no key update of o skip locked) g
	where t.ctid = g.place and t.id = g.id
), item as (
	select d.org_id, d.run_id, d.task_id, d.first_seq, d.prev, d.items::json as items from done d where d.n > 0
), placed as (
	insert into takt.event_mark (run_id, seq, org_id, batch_id)
	select d.run_id, d.first_seq + d.n - 1, d.org_id, me.batch from done d, me
	where (d.first_seq + d.n - 1) / 64 > (d.first_seq - 1) / 64
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + min(t.nth), me.feed + max(t.nth), now(),
		array_agg(t.run_id order by t.nth), array_agg(t.task_id order by t.nth), array_agg(t.first_seq order by t.nth),
		array_agg(t.prev order by t.nth), array_agg(t.items order by t.nth)
	from (select i.*, row_number() over (order by i.org_id, i.run_id) as nth from item i) t, me
	group by t.org_id, me.batch, me.no, me.incarnation, me.feed
)
select run_id from done;
