-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: what a command was answered with is there
-- invariant: I5
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when (c.decided_at is null) <> (c.status is null)
			then format('command %s is answered by halves: status %s, decided at %s', c.id, c.status, c.decided_at)
		when r.id is null and c.run_id >= takt.history_floor()
			and (c.kind = 'run.create' and c.status = 201 or c.kind <> 'run.create' and c.status in (200, 202, 409))
			then format('command %s (%s) was answered with %s, its run %s is not there', c.id, c.kind, c.status, c.run_id)
		when r.org_id <> c.org_id and c.status < 300
			then format('command %s is of another organisation than its run %s', c.id, c.run_id)
		end as problem
	from takt.command c left join takt.run r on r.id = c.run_id) c;
