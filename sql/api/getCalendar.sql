-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- One calendar with its days, all or those of a range, and who uses it.
with a as (select $1::jsonb -> 'path' as p, $1::jsonb -> 'query' as q)
select case when c.id is null then 404 else 200 end as status,
	case when c.id is null then takt.not_found('calendar', a.p ->> 'name')
	else takt.calendar_json(c) || jsonb_build_object('report', c.report,
		'days', (select coalesce(jsonb_agg(jsonb_build_object('date', d.day, 'reason', d.reason) order by d.day), '[]')
			from takt.calendar_day d where d.calendar_id = c.id
			and d.day between coalesce(a.q ->> 'from', '1970-01-01')::date and coalesce(a.q ->> 'to', '2100-12-31')::date),
		'used_by', (select coalesce(jsonb_agg(jsonb_build_object('kind', u.kind, 'name', u.name)), '[]')
			from takt.calendar_users(c.id, 50) u)) end as body, c.version::text as etag
from a left join lateral takt.calendar_named(lower(a.p ->> 'name')) c on true;
