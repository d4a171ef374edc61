-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: a live row belongs to a run of the same task and organisation
-- invariant: I18
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when r.id is null then format('run %s is not there, its live row is', l.run_id)
		when r.task_id <> l.task_id or r.org_id <> l.org_id
			then format('run %s: the live row is of another task or organisation', l.run_id)
		when s.name is null then format('run %s is live as %s', l.run_id, l.state)
		end as problem
	from takt.live l left join takt.run r on r.id = l.run_id
	left join takt.run_state s on s.name = l.state and not s.terminal) c;
