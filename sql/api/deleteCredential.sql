-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Refused while a device uses it.
with a as (select $1::jsonb -> 'path' as p),
used as (select d.name from takt.device d, a where d.credential_id = (a.p ->> 'id')::uuid order by d.name limit 1),
gone as (delete from takt.credential c using a where c.id = (a.p ->> 'id')::uuid
	and not exists (select 1 from used) returning c.id, c.name),
told as (select true as done, takt.audit_mine('credential.delete', 'credential', id::text, jsonb_build_object('name', name)) from gone)
select case when u.name is not null then 409 when t.done then 204 else 404 end as status,
	case when u.name is not null then takt.problem('in_use', 'the device "' || u.name || '" uses this credential', '',
		'Give the device another credential first.')
	when t.done then null else takt.not_found('credential', a.p ->> 'id') end as body
from a left join used u on true left join told t on true;
