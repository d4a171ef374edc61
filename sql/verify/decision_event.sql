-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: a decision that made no run has its event, and the event says what the decision says
-- invariant: I8
-- scope: month
-- An event without its decision is one of no run (event_run).
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when e.item is null and o.event_id >= (select takt.history_floor())
			then format('task %s: no event %s tells of the decision for %s', o.task_id, o.event_id, o.due_at)
		when o.decision = 'fired' then format('task %s: the decision for %s made a run and has the event %s', o.task_id,
			o.due_at, o.event_id)
		when e.item ->> 'type' <> 'occurrence_' || o.decision or e.item ->> 'rule' <> o.rule
			or (e.item ->> 'due_at')::timestamptz <> o.due_at or (e.item ->> 'n')::int <> o.n
			then format('task %s: the decision for %s is %s by %s, its event says %s', o.task_id, o.due_at, o.decision, o.rule, e.item)
		end as problem
	from takt.occurrence o left join (select run_id, items -> 0 as item from takt.month_events($1::uuid, $2::uuid)
		where first_seq = 1 and items #>> '{0,type}' like 'occurrence\_%') e on e.run_id = o.event_id
	where o.event_id >= $1::uuid and o.event_id < $2::uuid) c;
