-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: a run is either finished or live
-- invariant: I18
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when r.state is null and l.run_id is null then format('run %s is neither finished nor live', r.id)
		when r.state is not null and l.run_id is not null then format('run %s is %s and live as %s', r.id, r.state, l.state)
		when s.name is null and r.state is not null then format('run %s is %s, which is no end', r.id, r.state)
		end as problem
	from takt.run r left join takt.live l on l.run_id = r.id
	left join takt.run_state s on s.name = r.state and s.terminal
	where r.id >= $1::uuid and r.id < $2::uuid) c;
