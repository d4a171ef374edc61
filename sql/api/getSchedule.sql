-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- One shared schedule and the tasks that follow it.
with a as (select $1::jsonb -> 'path' as p)
select case when s.id is null then 404 else 200 end as status,
	case when s.id is null then takt.not_found('schedule', a.p ->> 'name')
	else takt.shared_json(s) || jsonb_build_object('tasks', takt.shared_tasks(s.id)) end as body, s.revision::text as etag
from a left join takt.shared_schedule s on s.name = a.p ->> 'name';
