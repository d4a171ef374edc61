-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Calendars by name, an own one before a shipped one of the same name, which it hides; the cursor is the last name.
with a as (select $1::jsonb -> 'query' as q),
page as (
	select takt.calendar_json(c) as item, c.name as key, row_number() over (order by c.name) as n
	from takt.calendar c, a
	where (a.q ->> 'cursor' is null or c.name > a.q ->> 'cursor')
		and (c.org_id is not null or not exists (select from takt.calendar o where o.name = c.name and o.org_id is not null))
	order by c.name limit (select (q ->> 'limit')::int + 1 from a))
select 200 as status, takt.page(array_agg(item order by n) filter (where n is not null),
	array_agg(key order by n) filter (where n is not null), (a.q ->> 'limit')::int) as body
from a left join page on true group by a.q;
