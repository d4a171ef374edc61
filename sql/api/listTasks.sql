-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Definitions by name; the cursor is the last name.
with a as (select $1::jsonb -> 'query' as q),
page as (
	select takt.task_json(t) as item, t.name as key, row_number() over (order by t.name) as n
	from takt.task t, a
	where (a.q ->> 'cursor' is null or t.name > a.q ->> 'cursor') and (a.q ->> 'name' is null or t.name = a.q ->> 'name')
		and (a.q ->> 'task_type' is null or t.task_type = a.q ->> 'task_type')
		and (a.q ->> 'enabled' is null or t.enabled = (a.q ->> 'enabled')::boolean)
	order by t.name limit (select (q ->> 'limit')::int + 1 from a))
select 200 as status, takt.page(array_agg(item order by n) filter (where n is not null),
	array_agg(key order by n) filter (where n is not null), (a.q ->> 'limit')::int) as body
from a left join page on true group by a.q;
