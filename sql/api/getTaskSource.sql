-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The submitted bytes in base64; the hook decodes them.
with a as (select $1::jsonb -> 'path' as p, $1::jsonb -> 'query' as q)
select case when t.id is null or r.task_id is null then 404 else 200 end as status,
	case when t.id is null then takt.not_found('task', a.p ->> 'id')
	when r.task_id is null then takt.not_found('revision', a.q ->> 'revision')
	else jsonb_build_object('source', encode(r.source, 'base64')) end as body, r.revision::text as etag
from a left join takt.task t on t.id = (a.p ->> 'id')::uuid
left join takt.task_revision r on r.task_id = t.id and r.revision = coalesce((a.q ->> 'revision')::int, t.revision);
