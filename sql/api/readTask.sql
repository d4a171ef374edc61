-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- For hooks that change a definition: what it is now, what it and the body name (takt.schedule_world), from when on `every`
-- counts, and since when it has been off.
with a as (select $1::jsonb -> 'path' as p, coalesce($1::jsonb -> 'body', '{}') as b)
select case when t.id is null then 404 else 200 end as status,
	case when t.id is null then takt.not_found('task', a.p ->> 'id')
	else jsonb_build_object('id', t.id, 'revision', t.revision, 'definition', t.definition,
		'anchor', floor(extract(epoch from case when s.shared_id is null and s.effective_from is null then s.anchor else t.created_at end))::bigint,
		'disabled_at', case when not s.enabled then floor(extract(epoch from s.disabled_at))::bigint end)
		|| takt.schedule_world(jsonb_build_array(a.b, t.definition), (least(s.disabled_at, now()) - interval '400 days')::date) end as body
from a left join takt.task t on t.id = (a.p ->> 'id')::uuid left join takt.schedule s on s.id = t.id;
