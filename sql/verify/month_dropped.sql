-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: an audit row tells of each month that was dropped
-- invariant: I23
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when not exists (select from takt.audit a where a.action = 'history.drop'
			and a.object_id = to_char(d.month, 'YYYY-MM'))
		then format('no audit row tells that %s was dropped', to_char(d.month, 'YYYY-MM')) end as problem
	from takt.dropped_month d) c;
