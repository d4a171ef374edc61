-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: each unit belongs to an attempt
-- invariant: I18
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when a.run_id is null
		then format('run %s: attempt %s is not there, its unit %s is', u.run_id, u.attempt, u.no) end as problem
	from takt.unit u left join takt.attempt a on a.run_id = u.run_id and a.no = u.attempt
		and a.run_id >= $1::uuid and a.run_id < $2::uuid
	where u.run_id >= $1::uuid and u.run_id < $2::uuid) c;
