-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The next connection learns (tofu) or refuses (strict) the key it meets.
with a as (select $1::jsonb -> 'path' as p),
d as (select d.id, d.name from takt.device d, a where d.id = (a.p ->> 'id')::uuid),
gone as (delete from takt.host_key k using d where k.device_id = d.id returning k.fingerprint),
told as (select true as done, takt.audit_mine('host_key.forget', 'device', d.id::text, jsonb_build_object('name', d.name,
	'fingerprints', (select coalesce(jsonb_agg(fingerprint), '[]') from gone))) from d)
select case when t.done then 204 else 404 end as status,
	case when t.done then null else takt.not_found('device', a.p ->> 'id') end as body
from a left join told t on true;
