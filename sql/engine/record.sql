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
	-- As one function over all arrays each of them would be copied into a store of its own.
	select unnest($2::uuid[]) as run_id, unnest($3::bigint[]) as epoch, unnest($4::int[]) as attempt, unnest($5::text[]) as was,
		unnest($6::text[]) as state, unnest($7::text[]) as "end", now() - unnest($8::bigint[]) * interval '1 microsecond' as began,
		unnest($9::int[]) as delay_s, unnest($10::text[]) as attempt_state, unnest($11::text[]) as error_class,
		unnest($12::text[]) as error, unnest($13::text[]) as summary, unnest($14::text[]) as items, unnest($15::int[]) as n,
		unnest($16::text[]) as unit_state, unnest($17::text[]) as result, unnest($18::text[]) as snapshot_id,
		unnest($19::bigint[]) as journal_off, unnest($20::bigint[]) as output_b, unnest($21::bigint[]) as output_cut_b
), held as (
	-- Another node may add the event `fenced` to a run just now: what comes before ours is what the lock shows.
	select l.run_id, l.last_batch from asked a join takt.live l on l.run_id = a.run_id
	where a."end" is null and a.n > 0 order by l.run_id for update of l
), kept as (
	update takt.live l set event_seq = l.event_seq + a.n, state = a.state,
		last_batch = case when a.n > 0 then (select batch from me) else l.last_batch end,
		started_at = coalesce(l.started_at, case when a.began is not null then greatest(a.began, l.opened_at) end),
		attempt_started_at = coalesce(l.attempt_started_at,
			case when a.began is not null then greatest(a.began, l.opened_at) end),
		next_at = case when a.state = 'retry_wait' then now() + make_interval(secs => a.delay_s) else l.next_at end,
		node_id = case when a.state = 'retry_wait' then null else l.node_id end,
		journal_off = greatest(l.journal_off, a.journal_off), output_b = greatest(l.output_b, a.output_b),
		output_cut_b = greatest(l.output_cut_b, a.output_cut_b)
	from asked a left join held h on h.run_id = a.run_id
	where a."end" is null and l.run_id = a.run_id and l.node_id = $1::uuid and l.epoch = a.epoch and l.attempt = a.attempt
	and l.state = a.was
	returning l.org_id, l.run_id, l.task_id, l.event_seq - a.n + 1 as first_seq, a.n, h.last_batch as prev,
		case when a.state = 'retry_wait' then jsonb_set(a.items::jsonb, '{-1,next_at}', to_jsonb(to_char(
			l.next_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))::text else a.items end as items,
		a.attempt, a.epoch, a.attempt_state, l.opened_at, l.attempt_started_at, l.timeout_s, a.error_class, a.error,
		l.taken_from, a.unit_state, l.device_id, l.device_name, l.address, a.result, a.snapshot_id, l.output_b,
		l.output_cut_b, l.journal_off
), gone as (
	delete from takt.live l using asked a
	where a."end" is not null and l.run_id = a.run_id and l.node_id = $1::uuid and l.epoch = a.epoch
	and l.attempt = a.attempt and l.state = a.was
	returning l.org_id, l.run_id, l.task_id, l.event_seq + 1 as first_seq, a.n, l.last_batch as prev, a.items,
		a.attempt, a.epoch, a.attempt_state, l.opened_at, coalesce(l.attempt_started_at,
			case when a.began is not null then greatest(a.began, l.opened_at) end) as attempt_started_at,
		l.timeout_s, a.error_class, a.error, l.taken_from, a.unit_state, l.device_id, l.device_name, l.address,
		a.result, a.snapshot_id, greatest(l.output_b, a.output_b) as output_b,
		greatest(l.output_cut_b, a.output_cut_b) as output_cut_b, greatest(l.journal_off, a.journal_off) as journal_off,
		a."end", a.summary, coalesce(l.started_at,
			case when a.began is not null then greatest(a.began, l.opened_at) end) as started_at
), done as not materialized (
	select org_id, run_id, task_id, first_seq, n, prev, items, attempt, epoch, attempt_state, opened_at,
		attempt_started_at, timeout_s, error_class, error, taken_from, unit_state, device_id, device_name, address,
		result, snapshot_id, output_b, output_cut_b, journal_off from gone
	union all
	select * from kept
), attempted as (
	insert into takt.attempt_row (run_id, no, org_id, epoch, node_id, state, opened_at, started_at, finished_at, timeout_s,
		error_class, error, taken_from, unit_state, device_id, device_name, address, result, snapshot_id, output_b,
		output_cut_b, journal_off)
	select run_id, attempt, org_id, epoch, $1::uuid, attempt_state, opened_at, attempt_started_at, now(), timeout_s,
		error_class, error::jsonb, taken_from, unit_state, device_id, device_name, address, result::jsonb, snapshot_id,
		output_b, output_cut_b, journal_off
	from done where attempt_state is not null
), ended as (
	update takt.run r set state = g."end", started_at = g.started_at, finished_at = now(), attempts = g.attempt,
		summary = g.summary::json, last_batch = (select batch from me)
	from gone g
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
), placed as (
	insert into takt.event_mark (run_id, seq, org_id, batch_id)
	select run_id, first_seq + n - 1, org_id, (select batch from me) from done
	where (first_seq + n - 1) / 64 > (first_seq - 1) / 64
), told as (
	-- Sorted once; grouping by what it is sorted by first keeps the order.
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + t.upto - t.n + 1, me.feed + t.upto, now(), t.run_ids,
		t.task_ids, t.first_seqs, t.prevs, t.items
	from (select org_id, count(*) as n, sum(count(*)) over (order by org_id)::bigint as upto, array_agg(run_id) as run_ids,
			array_agg(task_id) as task_ids, array_agg(first_seq) as first_seqs, array_agg(prev) as prevs,
			array_agg(items::json) as items
		from (select org_id, run_id, task_id, first_seq, prev, items from done where n > 0 order by org_id, run_id) d
		group by org_id) t, me
)
select run_id from done;
