-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: every move that the events tell is legal, from queued to one terminal state
-- invariant: I8
-- scope: month
-- `state` of task_* and attempt_started is the run's; of unit_* it is the unit's. No move leads out of a terminal state, so
-- that a second end, or anything behind the end, is an illegal move.
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when m.was is null and m.state <> 'queued' then format('run %s begins as %s', m.run_id, m.state)
		when m.was is not null and l.from_state is null then format('run %s: %s -> %s', m.run_id, m.was, m.state)
		end as problem
	from (select run_id, state, lag(state) over (partition by run_id order by first_seq, n) as was
		from (select e.run_id, e.first_seq, i.n, i.item ->> 'state' as state
			from takt.month_events($1::uuid, $2::uuid) e, jsonb_array_elements(e.items::jsonb) with ordinality as i(item, n)
			where i.item ? 'state'
			and (i.item ->> 'type' like 'task\_%' or i.item ->> 'type' = 'attempt_started')) s) m
	left join takt.run_move l on l.from_state = m.was and l.to_state = m.state) c;
