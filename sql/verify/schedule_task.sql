-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: a schedule belongs to a task of the same organisation
-- invariant: I18
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when t.id is null then format('task %s is not there, its schedule %s is', s.task_id, s.id) end as problem
	from takt.schedule s left join takt.task t on t.id = s.task_id and t.org_id = s.org_id) c;
