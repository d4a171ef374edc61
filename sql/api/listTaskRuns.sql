-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Runs of one task, newest first (ids are in order of time). The cursor is the last id. A task that does not exist has none.
with a as (select $1::jsonb -> 'query' as q, $1::jsonb -> 'path' as p),
page as (
	select r.id, takt.run_json(r) as item
	from takt.run r, a
	where r.id < coalesce(takt.as_uuid(a.q ->> 'cursor'), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
		and r.task_id = (a.p ->> 'id')::uuid
	order by r.id desc limit (select (q ->> 'limit')::int + 1 from a))
select 200 as status, takt.page(array_agg(item order by id desc) filter (where id is not null),
	array_agg(id::text order by id desc) filter (where id is not null), (a.q ->> 'limit')::int) as body
from a left join page on true group by a.q;
