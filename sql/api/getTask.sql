-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- One task.
with a as (select $1::jsonb -> 'path' as p)
select case when t.id is null then 404 else 200 end as status,
	case when t.id is null then takt.not_found('task', a.p ->> 'id') else takt.task_json(t) end as body, t.revision::text as etag
from a left join takt.task t on t.id = (a.p ->> 'id')::uuid;
