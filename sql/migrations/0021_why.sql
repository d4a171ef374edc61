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
	return case when p_at ~* '(z|[+-]\d\d:\d\d)$' then p_at::timestamptz else p_at::timestamp at time zone p_zone end;
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

revoke all on function takt.shared_schedule_keep(), takt.schedule_said(jsonb), takt.second_after(timestamptz),
	takt.when_asked(text, text), takt.task_settings(uuid, timestamptz), takt.days_about(text[], timestamptz, timestamptz)
	from public;
grant execute on function takt.schedule_said(jsonb), takt.second_after(timestamptz), takt.when_asked(text, text),
	takt.task_settings(uuid, timestamptz), takt.days_about(text[], timestamptz, timestamptz) to takt_gateway;
