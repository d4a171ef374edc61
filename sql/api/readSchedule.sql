-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- For hooks that normalise a document: what it names (takt.schedule_world), and from when on `every` counts if it replaces a
-- task's or a shared schedule's.
with a as (select $1::jsonb -> 'path' as p, coalesce($1::jsonb -> 'body', '{}') as b)
select 200 as status, jsonb_build_object('anchor', coalesce(
	(select floor(extract(epoch from case when s.shared_id is null and s.effective_from is null then s.anchor else t.created_at end))::bigint
		from takt.task t join takt.schedule s on s.id = t.id where t.id = takt.as_uuid(a.p ->> 'id')),
	(select floor(extract(epoch from s.created_at))::bigint from takt.shared_schedule s where s.name = a.p ->> 'name')))
	|| takt.schedule_world(jsonb_build_array(a.b)) as body
from a;
