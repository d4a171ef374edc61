-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Calendars with their days, as numbers of days since 1970-01-01; one without any is one row without a day.
-- $1 ["id", …]
select c.id, c.version, c.name, d.day - date '1970-01-01' as day, d.reason
from takt.calendar c left join takt.calendar_day d on d.calendar_id = c.id
where c.id in (select x::uuid from jsonb_array_elements_text($1::jsonb) x)
order by c.id, d.day;
