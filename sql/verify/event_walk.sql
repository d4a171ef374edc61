-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: from a run's newest event row every other one is reached, row by row
-- invariant: I8
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when e.prev is distinct from e.before
			then format('run %s: event %s follows upon row %s, it names %s', e.run_id, e.first_seq, e.before, e.prev)
		when e.is_last and e.batch is distinct from coalesce(l.last_batch, r.last_batch)
			then format('run %s: its last events are in row %s, it names %s', e.run_id, e.batch,
				coalesce(l.last_batch, r.last_batch))
		when m.batch_id <> e.batch then format('run %s: the mark at event %s names a row that has it not', e.run_id, m.seq)
		end as problem
	from (select run_id, first_seq, json_array_length(items) as n, batch, prev, lag(batch) over run as before,
			lead(batch) over run is null as is_last
		from takt.month_events($1::uuid, $2::uuid) window run as (partition by run_id order by first_seq)) e
	join takt.run r on r.id = e.run_id and r.id >= $1::uuid and r.id < $2::uuid
	left join takt.live l on l.run_id = r.id
	left join takt.event_mark m on m.run_id = e.run_id and m.seq = e.first_seq + e.n - 1
		and m.run_id >= $1::uuid and m.run_id < $2::uuid) c;
