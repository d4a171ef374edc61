-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: attempts of finished runs have ended
-- invariant: I6
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when r.state is not null and (a.state in ('dispatched', 'running') or a.finished_at is null)
		then format('run %s is %s, its attempt %s is still %s', a.run_id, r.state, a.no, a.state) end as problem
	from takt.attempt a left join takt.run r on r.id = a.run_id and r.id >= $1::uuid and r.id < $2::uuid
	where a.run_id >= $1::uuid and a.run_id < $2::uuid) c;
