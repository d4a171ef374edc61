-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- One group.
with a as (select $1::jsonb -> 'path' as p)
select case when t.id is null then 404 else 200 end as status,
	case when t.id is null then takt.not_found('group', a.p ->> 'id') else takt.group_json(t) end as body
from a left join takt.device_group t on t.id = (a.p ->> 'id')::uuid;
