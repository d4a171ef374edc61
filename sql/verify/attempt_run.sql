-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: each attempt belongs to a run
-- invariant: I18
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when r.id is null then format('run %s is not there, its attempt %s is', a.run_id, a.no) end as problem
	from takt.attempt a left join takt.run r on r.id = a.run_id and r.id >= $1::uuid and r.id < $2::uuid
	where a.run_id >= $1::uuid and a.run_id < $2::uuid) c;
