-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Newest first: an id begins with the time of capture. The cursor is the last id.
with a as (select $1::jsonb -> 'query' as q),
page as (
	select takt.snapshot_json(t) as item, t.id as key, row_number() over (order by t.id desc) as n
	from takt.snapshot t, a
	where (a.q ->> 'cursor' is null or t.id < a.q ->> 'cursor')
		and (a.q ->> 'device' is null or t.device_id = (a.q ->> 'device')::uuid)
		and (a.q ->> 'run' is null or t.run_id = (a.q ->> 'run')::uuid)
	order by t.id desc limit (select (q ->> 'limit')::int + 1 from a))
select 200 as status, takt.page(array_agg(item order by n) filter (where n is not null),
	array_agg(key order by n) filter (where n is not null), (a.q ->> 'limit')::int) as body
from a left join page on true group by a.q;
