-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: a run has as many attempts as it says, and no more than its policy allows
-- invariant: I9
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when coalesce(a.n, 0) <> coalesce(r.attempts, l.attempt, 0)
			then format('run %s has %s attempts, its row says %s', r.id, coalesce(a.n, 0), coalesce(r.attempts, l.attempt, 0))
		when a.n > (r.policy ->> 'max_retries')::int + 1
			then format('run %s has %s attempts, its policy allows %s retries', r.id, a.n, r.policy ->> 'max_retries')
		end as problem
	from takt.run r left join takt.live l on l.run_id = r.id
	left join (select run_id, count(*) as n from takt.attempt where run_id >= $1::uuid and run_id < $2::uuid
		group by run_id) a on a.run_id = r.id
	where r.id >= $1::uuid and r.id < $2::uuid) c;
