-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: units of finished runs have ended
-- invariant: I6
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when r.state is not null and (u.state in ('pending', 'running') or u.finished_at is null)
		then format('run %s is %s, its unit %s.%s is still %s', u.run_id, r.state, u.attempt, u.no, u.state) end as problem
	from takt.unit u left join takt.run r on r.id = u.run_id and r.id >= $1::uuid and r.id < $2::uuid
	where u.run_id >= $1::uuid and u.run_id < $2::uuid) c;
