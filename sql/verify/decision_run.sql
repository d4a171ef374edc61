-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: a decision to fire has its run, and a scheduled run its decision
-- invariant: I1
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when r.id is null and (o.run_id is null or o.run_id >= takt.history_floor())
			then format('task %s: the run %s of %s is not there', o.task_id, o.run_id, o.due_at)
		when o.task_id is null and r.due_at >= takt.history_begin()
			then format('run %s of %s: no decision made it', r.id, r.due_at)
		when o.task_id <> r.task_id or o.due_at <> r.due_at or o.org_id <> r.org_id
			then format('run %s is of %s and %s, its decision of %s and %s', r.id, r.task_id, r.due_at, o.task_id, o.due_at)
		end as problem
	from (select * from takt.occurrence where (decision = 'fired' or run_id is not null)
		and (run_id is null or run_id >= $1::uuid)) o
	full join (select * from takt.run where trigger = 'schedule' and id >= $1::uuid) r on r.id = o.run_id) c;
