-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Is this day in the calendar, and why?
with a as (select $1::jsonb -> 'path' as p)
select case when c.id is null then 404 else 200 end as status,
	case when c.id is null then takt.not_found('calendar', a.p ->> 'name')
	else jsonb_build_object('calendar', c.name, 'date', a.p -> 'date', 'is_in', d.day is not null, 'reason', d.reason) end as body
from a left join lateral takt.calendar_named(lower(a.p ->> 'name')) c on true
left join takt.calendar_day d on d.calendar_id = c.id and d.day = (a.p ->> 'date')::date;
