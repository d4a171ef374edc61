-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: events belong to a run, or to a decision that made none
-- invariant: I18
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when r.id is null and o.event_id is null
		then format('run %s is not there, its events are', e.run_id) end as problem
	from (select distinct run_id from takt.month_events($1::uuid, $2::uuid)) e
	left join takt.run r on r.id = e.run_id and r.id >= $1::uuid and r.id < $2::uuid
	left join takt.occurrence o on o.event_id = e.run_id and o.event_id >= $1::uuid and o.event_id < $2::uuid) c;
