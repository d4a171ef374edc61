-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Shared schedules by name; the cursor is the last name.
with a as (select $1::jsonb -> 'query' as q),
page as (
	select takt.shared_json(s) as item, s.name as key, row_number() over (order by s.name) as n
	from takt.shared_schedule s, a
	where (a.q ->> 'cursor' is null or s.name > a.q ->> 'cursor')
	order by s.name limit (select (q ->> 'limit')::int + 1 from a))
select 200 as status, takt.page(array_agg(item order by n) filter (where n is not null),
	array_agg(key order by n) filter (where n is not null), (a.q ->> 'limit')::int) as body
from a left join page on true group by a.q;
