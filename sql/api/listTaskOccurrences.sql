-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Decisions about one task's due times, newest first. The cursor is the last due time (microseconds).
with a as (
	select ($1::jsonb #>> '{path,id}')::uuid as id, q ->> 'decision' as decision, (q ->> 'limit')::int as n,
		takt.when_asked(coalesce(q ->> 'since', '-infinity'), 'UTC') as since,
		takt.when_asked(coalesce(q ->> 'until', 'infinity'), 'UTC') as until,
		case when q ->> 'cursor' ~ '^\d{1,16}$' then to_timestamp((q ->> 'cursor')::bigint / 1e6) else 'infinity' end as before
	from (select $1::jsonb -> 'query' as q) q
), bad as (
	select case when a.since is null then 'since' when a.until is null then 'until' end as name from a
)
select case when bad.name is not null then 400 when t.id is null then 404 else 200 end as status,
	case when bad.name is not null then takt.problem('invalid_query', bad.name || ' is no time', bad.name,
		'RFC 3339, e.g. 2030-01-31T00:00:00Z.')
	when t.id is null then takt.not_found('task', a.id::text)
	else takt.occurrences(a.id, a.decision, a.since, least(a.until, a.before), a.n) end as body
from bad, a left join takt.task t on t.id = a.id;
