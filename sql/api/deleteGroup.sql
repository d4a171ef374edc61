-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Its memberships go with it.
with a as (select $1::jsonb -> 'path' as p),
gone as (delete from takt.device_group g using a where g.id = (a.p ->> 'id')::uuid returning g.id, g.name),
told as (select takt.audit_mine('group.delete', 'group', id::text, jsonb_build_object('name', name)) from gone)
select case when count(told) = 0 then 404 else 204 end as status,
	case when count(told) = 0 then takt.not_found('group', a.p ->> 'id') end as body
from a left join told on true group by a.p;
