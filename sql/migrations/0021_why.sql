-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- What `takt why` needs to know of the past: the settings of a task are in task_revision, those of a shared schedule
-- here. Days of calendars are not versioned: a question about the past is answered with the days of today, where no
-- occurrence row says what they were.

create table takt.shared_schedule_revision (
	shared_id    uuid not null,           -- no foreign key: what was, stays
	seq          bigint generated always as identity,
	org_id       uuid not null,
	name         text not null,
	revision     int not null,
	definition   jsonb not null,
	enabled      boolean not null,
	created_at   timestamptz not null default now(),
	primary key (shared_id, seq)
);
create index shared_schedule_revision_name on takt.shared_schedule_revision (org_id, name, seq);
grant select on takt.shared_schedule_revision to takt_engine, takt_auditor, takt_gateway;
alter table takt.shared_schedule_revision enable row level security;
create policy tenant on takt.shared_schedule_revision to takt_gateway using (org_id = (select takt.current_org()));
create policy all_orgs on takt.shared_schedule_revision to takt_engine, takt_auditor using (true);

insert into takt.shared_schedule_revision (shared_id, org_id, name, revision, definition, enabled, created_at)
select id, org_id, name, revision, definition, enabled, created_at from takt.shared_schedule order by created_at;

create function takt.shared_schedule_keep() returns trigger
language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
begin
	insert into takt.shared_schedule_revision (shared_id, org_id, name, revision, definition, enabled)
	values (new.id, new.org_id, new.name, new.revision, new.definition, new.enabled);
	return null;
end $$;
create trigger keep_new after insert on takt.shared_schedule
	for each row execute function takt.shared_schedule_keep();
create trigger keep_changed after update on takt.shared_schedule for each row
	when ((old.name, old.definition, old.enabled) is distinct from (new.name, new.definition, new.enabled))
	execute function takt.shared_schedule_keep();

-- The schedule that a definition says: its normal form, or {"name": the shared one's}. Definitions from before there were
-- other kinds than cron have no `schedule`.
create function takt.schedule_said(d jsonb) returns jsonb language sql immutable as $$
	select coalesce(d -> 'schedule', jsonb_build_object(
		'kind', case when d ->> 'cron_expression' is null then 'on_demand' else 'cron' end,
		'expr', coalesce(d ->> 'cron_expression', ''), 'timezone', coalesce(d ->> 'timezone', 'UTC'),
		'dst_gap', coalesce(d ->> 'dst_gap', 'run_at_gap_end'), 'dst_fold', coalesce(d ->> 'dst_fold', 'first'),
		'effective_from', null, 'effective_until', null, 'include', '[]'::jsonb, 'exclude', '[]'::jsonb, 'on_hit', 'skip',
		'catch_up', 'latest', 'catch_up_limit', 10, 'catch_up_deadline_seconds', null, 'jitter_seconds', 0,
		'start_deadline_seconds', null))
$$;

-- From this second on something holds that was set at p_at: due times are computed strictly after an edit.
create function takt.second_after(p_at timestamptz) returns bigint language sql immutable as $$
	select floor(extract(epoch from p_at))::bigint + 1
$$;

-- About when an asked time is: to choose what to read. The hook reads it exactly, and refuses what is no time.
create function takt.when_asked(p_at text, p_zone text) returns timestamptz language plpgsql stable as $$
begin
	return case when p_at !~ '^(\d{4}-|-?infinity$)' then null when p_at ~* '(z|[+-]\d\d:\d\d)$' then p_at::timestamptz else p_at::timestamp at time zone p_zone end;
exception when others then
	return null;
end $$;

-- What held for a task from p_from on, oldest first, a row a change: {since, until, revision, enabled, name (of a shared
-- schedule), schedule, shared_revision, shared_enabled}. At most 200 changes; revisions that change something else only
-- are one with that before.
create function takt.task_settings(p_task uuid, p_from timestamptz) returns table (since timestamptz, item jsonb)
language sql stable as $$
	with said as (
		select r.revision, r.created_at, takt.schedule_said(r.definition) as schedule,
			coalesce((r.definition ->> 'enabled')::boolean, true) as enabled
		from takt.task_revision r where r.task_id = p_task
	), changed as (
		select s.*, lag(schedule) over w is distinct from schedule or lag(enabled) over w is distinct from enabled as is_new
		from said s window w as (order by revision)
	), own as (
		select c.*, lead(c.created_at, 1, 'infinity') over (order by c.revision) as until_at from changed c where c.is_new
	), shared as (
		select o.revision, g.created_at, g.name, g.revision as shared_revision, g.definition, g.enabled,
			lead(g.created_at, 1, 'infinity') over (partition by o.revision order by g.seq) as until_at
		from own o join takt.shared_schedule_revision g on g.name = o.schedule ->> 'name'
	), all_of as (
		select o.created_at as since, o.until_at, o.revision, o.enabled, o.schedule, null::text as name,
			null::int as shared_revision, null::boolean as shared_enabled
		from own o where not o.schedule ? 'name'
		union all
		select greatest(o.created_at, s.created_at), least(o.until_at, s.until_at), o.revision, o.enabled, s.definition, s.name,
			s.shared_revision, s.enabled
		from own o join shared s on s.revision = o.revision
		where s.created_at < o.until_at and s.until_at > o.created_at
	)
	select x.since, jsonb_build_object('since', takt.second_after(x.since), 'at', takt.ts(x.since), 'revision', x.revision,
		'enabled', x.enabled, 'schedule', x.schedule, 'name', x.name, 'shared_revision', x.shared_revision,
		'shared_enabled', x.shared_enabled)
	from all_of x where x.until_at > p_from order by x.since limit 200
$$;

-- The days of the calendars with these names, about an instant: {"name": [[day since 1970, reason], …]}. An organisation's own
-- calendar comes before a shipped one of its name.
create function takt.days_about(p_names text[], p_from timestamptz, p_to timestamptz) returns jsonb language sql stable as $$
	select coalesce(jsonb_object_agg(c.name, (select coalesce(jsonb_agg(jsonb_build_array(d.day - date '1970-01-01', d.reason) order by d.day), '[]')
		from takt.calendar_day d where d.calendar_id = c.id and d.day between p_from::date and p_to::date)), '{}')
	from (select distinct on (c.name) c.name, c.id from takt.calendar c where c.name = any (p_names)
		order by c.name, c.org_id nulls last) c
$$;

-- The decisions on due times of a task that fall on one of the probes ([[from, to], …] in seconds), each with its run and what was in the
-- way; and whether an engine is alive. A decision may be a range that began long before: the newest 300 are looked at.
create function takt.why(p_task uuid, p_probes jsonb) returns jsonb
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	return (with a as (
		select p_task as id, p_probes as probes
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
	select jsonb_build_object(
		'rows', (select coalesce(jsonb_agg(i.item order by i.probe, i.due_at desc), '[]') from item i),
		'is_kept', (select bool_and(to_regclass('takt.occurrence_' || to_char(to_timestamp((x ->> 0)::bigint) at time zone 'UTC',
			'YYYYMM')) is not null) from a, jsonb_array_elements(a.probes) x),
		'has_engine', exists (select from takt.node where lease_until > now()),
		'last_engine', (select takt.ts(max(lease_until)) from takt.node)));
end $$;

-- When the newest decision about a task's due times ends.
create function takt.latest_decision(p_task uuid) returns timestamptz
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	return (select coalesce(o.until_at, o.due_at) from takt.occurrence o where o.task_id = p_task order by o.due_at desc limit 1);
end $$;

create function takt.occurrences(p_task uuid, p_decision text, p_since timestamptz, p_until timestamptz, p_limit int)
returns jsonb language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	return (with page as (
		select o.* from takt.occurrence o where o.task_id = p_task and o.due_at >= p_since and o.due_at < p_until
			and (p_decision is null or o.decision = p_decision)
		order by o.due_at desc limit p_limit + 1
	), item as (
		select p.due_at, (extract(epoch from p.due_at) * 1e6)::bigint::text as key, jsonb_build_object(
			'due_at', takt.ts(p.due_at), 'until_at', takt.ts(p.until_at), 'n', p.n, 'decision', p.decision, 'rule', p.rule,
			'decided_at', takt.ts(p.decided_at), 'detail', p.detail, 'run', (select jsonb_build_object('id', r.id, 'code', r.code,
				'state', coalesce(r.state, l.state, 'queued')) from takt.run r
				left join takt.live l on l.run_id = r.id and r.state is null where r.id = p.run_id)) as item
		from page p
	) select takt.page(array_agg(i.item order by i.due_at desc), array_agg(i.key order by i.due_at desc), p_limit) from item i);
end $$;

revoke all on function takt.shared_schedule_keep(), takt.schedule_said(jsonb), takt.second_after(timestamptz),
	takt.when_asked(text, text), takt.task_settings(uuid, timestamptz), takt.days_about(text[], timestamptz, timestamptz),
	takt.why(uuid, jsonb), takt.latest_decision(uuid), takt.occurrences(uuid, text, timestamptz, timestamptz, int) from public;
grant execute on function takt.schedule_said(jsonb), takt.second_after(timestamptz), takt.when_asked(text, text),
	takt.task_settings(uuid, timestamptz), takt.days_about(text[], timestamptz, timestamptz),
	takt.why(uuid, jsonb), takt.latest_decision(uuid), takt.occurrences(uuid, text, timestamptz, timestamptz, int) to takt_gateway;
