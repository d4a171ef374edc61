-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The definition and what it names; the hook makes the times.
with a as (select $1::jsonb -> 'path' as p)
select case when t.id is null then 404 else 200 end as status,
	case when t.id is null then takt.not_found('task', a.p ->> 'id')
	else jsonb_build_object('id', t.id, 'definition', t.definition, 'shown', takt.task_json(t),
		'anchor', floor(extract(epoch from s.anchor))::bigint) || takt.schedule_world(jsonb_build_array(t.definition)) end as body
from a left join takt.task t on t.id = (a.p ->> 'id')::uuid left join takt.schedule s on s.id = t.id;
