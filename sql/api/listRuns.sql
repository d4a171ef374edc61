-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Newest first (ids are in order of time); the cursor is the last id. Live runs have their state in takt.live.
with a as (select $1::jsonb -> 'query' as q, $1::jsonb -> 'path' as p),
page as (
	select r.id, takt.run_json(r) as item
	from takt.run r, a
	where r.id < coalesce(takt.as_uuid(a.q ->> 'cursor'), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
		and (a.q ->> 'task' is null or r.task_id = (a.q ->> 'task')::uuid)
		and (a.q ->> 'device' is null
			or exists (select 1 from takt.unit u where u.run_id = r.id and u.device_id = (a.q ->> 'device')::uuid))
		and (a.q ->> 'status' is null
			or coalesce(r.state, (select l.state from takt.live l where l.run_id = r.id)) = any (string_to_array(a.q ->> 'status', ','))
			or r.state is null and 'live' = any (string_to_array(a.q ->> 'status', ',')))
	order by r.id desc limit (select (q ->> 'limit')::int + 1 from a))
select 200 as status, takt.page(array_agg(item order by id desc) filter (where id is not null),
	array_agg(id::text order by id desc) filter (where id is not null), (a.q ->> 'limit')::int) as body
from a left join page on true group by a.q;
