-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Decisions about one task's due times, newest first. The cursor is the last due time (microseconds).
with a as (
	select ($1::jsonb #>> '{path,id}')::uuid as id, q ->> 'decision' as decision, (q ->> 'limit')::int as n,
		takt.when_asked(coalesce(q ->> 'since', '-infinity'), 'UTC') as since,
		takt.when_asked(coalesce(q ->> 'until', 'infinity'), 'UTC') as until,
		case when q ->> 'cursor' ~ '^\d{1,16}$' then to_timestamp((q ->> 'cursor')::bigint / 1e6) else 'infinity' end as before
	from (select $1::jsonb -> 'query' as q) q
), page as (
	select o.* from a, lateral (select o.* from takt.occurrence o
		where o.task_id = a.id and o.due_at >= a.since and o.due_at < least(a.until, a.before)
			and (a.decision is null or o.decision = a.decision)
		order by o.due_at desc limit a.n + 1) o
), item as (
	select p.due_at, (extract(epoch from p.due_at) * 1e6)::bigint::text as key, jsonb_build_object(
		'due_at', takt.ts(p.due_at), 'until_at', takt.ts(p.until_at), 'n', p.n, 'decision', p.decision, 'rule', p.rule,
		'decided_at', takt.ts(p.decided_at), 'detail', p.detail, 'run', (select jsonb_build_object('id', r.id, 'code', r.code,
			'state', coalesce(r.state, l.state, 'queued')) from takt.run r left join takt.live l on l.run_id = r.id and r.state is null
			where r.id = p.run_id)) as item
	from page p
)
select case when a.since is null or a.until is null then 400 when t.id is null then 404 else 200 end as status,
	case when a.since is null or a.until is null then takt.problem('invalid_query',
		case when a.since is null then 'since' else 'until' end || ' is no time', case when a.since is null then 'since' else 'until' end,
		'RFC 3339, e.g. 2030-01-31T00:00:00Z.')
	when t.id is null then takt.not_found('task', a.id::text) else takt.page(
		(select array_agg(i.item order by i.due_at desc) from item i), (select array_agg(i.key order by i.due_at desc) from item i),
		a.n) end as body
from a left join takt.task t on t.id = a.id;
