-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: a due time has one decision, and no skipped range covers another
-- invariant: I1
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when due_at <= reached then format('task %s: the decision for %s lies within one that reaches to %s', task_id, due_at,
			reached)
		when until_at < due_at or n < 1 then format('task %s: the skipped range at %s ends at %s', task_id, due_at, until_at)
		end as problem
	from (select task_id, due_at, until_at, n, max(greatest(until_at, due_at)) over (partition by task_id, schedule_id
			order by due_at rows between unbounded preceding and 1 preceding) as reached
		from takt.occurrence) o) c;
