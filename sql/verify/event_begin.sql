-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: the first event of a run is task_created
-- invariant: I8
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when e.items #>> '{0,type}' is distinct from 'task_created'
		then format('run %s begins with %s', r.id, coalesce(e.items #>> '{0,type}', 'no event')) end as problem
	from takt.run r left join takt.month_events($1::uuid, $2::uuid) e on e.run_id = r.id
		and e.first_seq = 1
	where r.id >= $1::uuid and r.id < $2::uuid) c;
