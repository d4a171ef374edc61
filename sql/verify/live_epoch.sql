-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: a live run's epoch and attempt are those that its last events tell
-- invariant: I7
-- scope: all
-- The open attempt is in the live row itself: only the events can contradict it.
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when l.epoch <> e.epoch or l.attempt <> e.attempt
		then format('run %s: the live row says attempt %s of epoch %s, the events attempt %s of epoch %s', l.run_id, l.attempt,
			l.epoch, e.attempt, e.epoch) end as problem
	from takt.live l cross join lateral (
		select coalesce(max((i.item ->> 'epoch')::bigint), 0) as epoch, coalesce(max((i.item ->> 'attempt')::int)
			filter (where i.item ->> 'type' = 'task_dispatched'), 0) as attempt
		from takt.run_events(l.run_id) e, jsonb_array_elements(e.items) as i(item)
		where i.item ->> 'type' in ('task_dispatched', 'attempt_taken_over')) e) c;
