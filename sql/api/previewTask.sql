-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The definition; the hook makes the times.
with a as (select $1::jsonb -> 'path' as p)
select case when t.id is null then 404 else 200 end as status,
	case when t.id is null then takt.not_found('task', a.p ->> 'id') else t.definition end as body
from a left join takt.task t on t.id = (a.p ->> 'id')::uuid;
