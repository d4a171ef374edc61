-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Keys trusted for one device.
with a as (select $1::jsonb -> 'path' as p)
select case when d.id is null then 404 else 200 end as status,
	case when d.id is null then takt.not_found('device', a.p ->> 'id')
	else jsonb_build_object('items', (select coalesce(jsonb_agg(jsonb_build_object('key_type', k.key_type,
		'public_key', k.public_key, 'fingerprint', k.fingerprint, 'learned_at', takt.ts(k.learned_at),
		'learned_by', k.learned_by) order by k.key_type), '[]') from takt.host_key k where k.device_id = d.id)) end as body
from a left join takt.device d on d.id = (a.p ->> 'id')::uuid;
