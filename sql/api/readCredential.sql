-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- For hooks that seal a credential: organisation, new id, and the version that a change starts from.
with a as (select $1::jsonb -> 'path' as p)
select case when a.p ? 'id' and t.id is null then 404 else 200 end as status,
	case when a.p ? 'id' and t.id is null then takt.not_found('credential', a.p ->> 'id')
	else jsonb_build_object('org', takt.current_org(), 'id', coalesce(t.id, takt.uuid_v7()),
		'version', coalesce(t.version, 0), 'key_id', k.id, 'public_key', encode(k.public_key, 'base64')) end as body
from a left join takt.credential t on t.id = (a.p ->> 'id')::uuid
left join (select id, public_key from takt.seal_key order by created_at desc, id limit 1) k on true;
