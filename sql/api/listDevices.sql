-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Devices by name; the cursor is the last name.
with a as (select $1::jsonb -> 'query' as q),
page as (
	select takt.device_json(t) as item, t.name as key, row_number() over (order by t.name) as n
	from takt.device t, a
	where (a.q ->> 'cursor' is null or t.name > a.q ->> 'cursor') and (a.q ->> 'name' is null or t.name = a.q ->> 'name')
		and (a.q ->> 'group' is null or t.id in (select device_id from takt.group_member where group_id = (a.q ->> 'group')::uuid))
	order by t.name limit (select (q ->> 'limit')::int + 1 from a))
select 200 as status, takt.page(array_agg(item order by n) filter (where n is not null),
	array_agg(key order by n) filter (where n is not null), (a.q ->> 'limit')::int) as body
from a left join page on true group by a.q;
