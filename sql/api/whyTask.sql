-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The decisions that fall on one of the hook's probes ([from, to] in seconds), each with its run and what was in the way;
-- and whether an engine is alive. A decision may be a range that began long before: the newest 300 are looked at.
with a as (
	select ($1::jsonb #>> '{path,id}')::uuid as id, $1::jsonb #> '{prepared,probes}' as probes
), row as (
	select p.n as probe, o.*, p.lo
	from a, lateral (select n, to_timestamp((x ->> 0)::bigint) as lo, to_timestamp((x ->> 1)::bigint) as hi
			from jsonb_array_elements(a.probes) with ordinality as e(x, n)) p,
		lateral (select * from (select o.* from takt.occurrence o where o.task_id = a.id and o.due_at <= p.hi
			order by o.due_at desc limit 300) o where coalesce(o.until_at, o.due_at) >= p.lo) o
), run as (
	select distinct on (w.run_id) w.run_id, r.id, r.code, coalesce(r.state, l.state, 'queued') as state, r.summary, r.created_at,
		coalesce(r.started_at, l.started_at) as started_at, r.finished_at, l.expires_at
	from row w join takt.run r on r.id = w.run_id left join takt.live l on l.run_id = r.id and r.state is null
), item as (
	select w.probe, w.due_at, jsonb_build_object('probe', w.probe - 1, 'due', extract(epoch from w.due_at)::bigint,
		'until', extract(epoch from w.until_at)::bigint, 'n', w.n, 'decision', w.decision, 'rule', w.rule,
		'decided', floor(extract(epoch from w.decided_at))::bigint, 'decided_at', takt.ts(w.decided_at), 'detail', w.detail,
		'run', case when r.id is not null then jsonb_build_object('id', r.id, 'code', r.code, 'state', r.state) end,
		'message', r.summary ->> 'message', 'started_at', takt.ts(r.started_at),
		'late_s', case when r.id is not null then floor(extract(epoch from
			coalesce(r.started_at, r.finished_at, now()) - w.due_at))::bigint end,
		'decided_late_s', floor(extract(epoch from w.decided_at - w.due_at))::bigint,
		-- the run that it had to wait for, if there was one
		'behind', (select jsonb_build_object('id', b.id, 'code', b.code, 'state', coalesce(b.state, l.state))
			from (select * from takt.run b where b.task_id = w.task_id and b.id < w.run_id order by b.id desc limit 10) b
			left join takt.live l on l.run_id = b.id and b.state is null
			where b.finished_at is null or b.finished_at > r.created_at order by b.id desc limit 1),
		'in_the_way', (select jsonb_agg(jsonb_build_object('id', b.id, 'code', b.code, 'state', coalesce(b.state, l.state)))
			from (select takt.as_uuid(x) as id from (select w.detail ->> 'run_id' as x union all
				select jsonb_array_elements_text(case jsonb_typeof(w.detail -> 'replaces') when 'array' then w.detail -> 'replaces'
					else '[]' end)) x limit 20) x
			join takt.run b on b.id = x.id left join takt.live l on l.run_id = b.id and b.state is null),
		'downtime', (select jsonb_agg(jsonb_build_object('from', takt.ts(d.from_at), 'until', takt.ts(d.until_at)) order by d.from_at)
			from (select * from takt.downtime d where d.from_at < w.decided_at and d.until_at > greatest(w.due_at, w.lo)
			order by d.from_at limit 5) d)) as item
	from row w left join run r on r.run_id = w.run_id
)
select 200 as status, jsonb_build_object(
	'rows', (select coalesce(jsonb_agg(i.item order by i.probe, i.due_at desc), '[]') from item i),
	'is_kept', (select bool_and(to_regclass('takt.occurrence_' || to_char(to_timestamp((x ->> 0)::bigint) at time zone 'UTC',
		'YYYYMM')) is not null) from a, jsonb_array_elements(a.probes) x),
	'has_engine', exists (select from takt.node where lease_until > now()),
	'last_engine', (select takt.ts(max(lease_until)) from takt.node)) as body;
