-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Schedules of every kind, calendars, shared schedules, policies, and what became of each due time (lib/when/README.md,
-- daemon/schedule/README.md). A task has one row of `schedule` under its own id, also when it follows a shared one: then
-- the row is a copy, so that firing, jitter and overlap are each task's own.

-- Calendars: sets of days with reasons. Shipped ones belong to no organisation and are put there by the engine.
create table takt.calendar (
	id           uuid primary key,
	org_id       uuid references takt.org,  -- null: shipped
	name         text not null check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
	title        text not null default '',
	source       text not null check (source in ('shipped', 'ical', 'days')),
	version      int not null default 1,    -- grows with each change of its days
	digest       bytea not null default '\x',  -- SHA-256 of what it was made from
	report       jsonb not null default '{}',  -- what the import said
	created_at   timestamptz not null default now(),
	updated_at   timestamptz not null default now(),
	unique nulls not distinct (org_id, name),
	check ((org_id is null) = (source = 'shipped'))
);
create table takt.calendar_day (
	calendar_id  uuid not null references takt.calendar on delete cascade,
	day          date not null check (day between '1970-01-01' and '2100-12-31'),
	org_id       uuid,
	reason       text not null default '' check (octet_length(reason) <= 200),
	primary key (calendar_id, day)
);

-- Named schedules that several tasks follow.
create table takt.shared_schedule (
	id           uuid primary key,
	org_id       uuid not null references takt.org,
	name         text not null check (length(name) between 1 and 200),
	enabled      boolean not null default true,
	disabled_at  timestamptz,
	revision     int not null default 1,
	definition   jsonb not null,            -- normalised (ARCHITECTURE.md, "The definition")
	created_at   timestamptz not null default now(),
	updated_at   timestamptz not null default now(),
	unique (org_id, name),
	unique (org_id, id)
);

alter table takt.schedule drop constraint schedule_kind_check;
alter table takt.schedule
	add constraint schedule_kind_check check (kind in
		('cron', 'every', 'times', 'window', 'ordinal', 'rrule', 'once', 'on_demand')),
	add column version         int not null default 1,  -- grows with each change of what the row says: a decision is for one
	add column shared_id       uuid,        -- the shared schedule of which this row is a copy
	add column anchor          timestamptz not null default date_trunc('second', now()),  -- of `every`
	add column effective_from  timestamptz, -- inclusive
	add column effective_until timestamptz, -- exclusive
	add column on_hit          text not null default 'skip' check (on_hit in ('skip', 'next_business_day', 'previous_business_day')),
	add column has_calendars   boolean not null default false,
	add column catch_up        text not null default 'latest' check (catch_up in ('latest', 'none', 'all')),
	add column catch_up_limit  int not null default 10 check (catch_up_limit between 1 and 1000),        -- of `all`
	add column catch_up_deadline_s int check (catch_up_deadline_s between 1 and 31622400),
	add column jitter_s        int not null default 0 check (jitter_s between 0 and 86400),             -- at most
	add column jitter_off_s    int not null default 0 check (jitter_off_s between 0 and 86400),         -- this one's
	add column start_deadline_s int check (start_deadline_s between 1 and 31622400),
	add column last_due_at     timestamptz, -- the latest that was decided
	add column planned_from    timestamptz not null default now(),  -- next_due_at is the first after this, unless one was decided since
	add column next_fire_at    timestamptz, -- next_due_at and the jitter: when it is decided
	add column replan_from     timestamptz, -- not null: next_due_at is to be computed anew, as the first after this
	add column disabled_at     timestamptz, -- when it was last disabled: where a back-fill that is asked for begins
	add foreign key (org_id, shared_id) references takt.shared_schedule (org_id, id);
update takt.schedule set next_fire_at = next_due_at;
alter table takt.schedule add constraint schedule_next_fire_at check ((next_fire_at is null) = (next_due_at is null));
-- The whole of the last year that can be written: a due time on its last day would make the replanning of every schedule fail.
alter table takt.schedule drop constraint schedule_next_due_at_check,
	add constraint schedule_next_due_at_check check (next_due_at between '1970-01-01 00:00:00+00' and '9999-12-31 23:59:59+00');
-- A row is its task's: no index but the primary key's is needed for that, and each firing writes them all.
drop index takt.schedule_task;
alter table takt.schedule
	drop constraint schedule_org_id_task_id_fkey,
	add constraint schedule_task_id_check check (task_id = id),
	add foreign key (org_id, id) references takt.task (org_id, id) on delete cascade;
drop index takt.schedule_due;
create index schedule_due on takt.schedule (next_fire_at) where enabled and next_fire_at is not null;
create index schedule_replan on takt.schedule (replan_from) where replan_from is not null;
create index schedule_shared on takt.schedule (shared_id) where shared_id is not null;

-- The calendars of a schedule, inline or shared (one of the two is set).
create table takt.schedule_calendar (
	org_id       uuid not null,
	schedule_id  uuid references takt.schedule on delete cascade,
	shared_id    uuid references takt.shared_schedule on delete cascade,
	calendar_id  uuid not null references takt.calendar,
	is_exclude   boolean not null,
	unique nulls not distinct (schedule_id, shared_id, calendar_id),
	check ((schedule_id is null) <> (shared_id is null))
);
create index schedule_calendar_calendar on takt.schedule_calendar (calendar_id);
create index schedule_calendar_shared on takt.schedule_calendar (shared_id) where shared_id is not null;

-- What the engine calls the calendars of one side of a schedule: "id:version:name,…"; null: none.
create function takt.calendar_list(p_schedule uuid, p_shared uuid, p_is_exclude boolean) returns text
language sql stable as $$
	select string_agg(format('%s:%s:%s', c.id, c.version, c.name), ',' order by c.name, c.id)
	from takt.schedule_calendar u join takt.calendar c on c.id = u.calendar_id
	where (u.schedule_id = p_schedule or u.shared_id = p_shared) and u.is_exclude = p_is_exclude
$$;

-- The zones that schedules name, and the rules (a fingerprint of the zone's file) by which their next times were
-- computed; null: not looked at yet.
create table takt.zone (
	name         text primary key,
	fingerprint  text,
	changed_at   timestamptz
);
insert into takt.zone (name) select distinct zone from takt.schedule;
create function takt.zone_of_schedule() returns trigger
language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
begin
	insert into takt.zone (name) values (new.zone) on conflict do nothing;
	return null;
end $$;
create function takt.zones_of_schedules() returns trigger
language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
begin
	insert into takt.zone (name) select distinct n.zone from new_rows n on conflict do nothing;
	return null;
end $$;
create trigger zone_of_schedule after update of zone on takt.schedule
	for each row when (old.zone is distinct from new.zone) execute function takt.zone_of_schedule();
create trigger zones_of_schedules after insert on takt.schedule
	referencing new table as new_rows for each statement execute function takt.zones_of_schedules();
revoke all on function takt.calendar_list(uuid, uuid, boolean), takt.zone_of_schedule(), takt.zones_of_schedules() from public;
grant execute on function takt.calendar_list(uuid, uuid, boolean) to takt_engine;
grant select, update (fingerprint, changed_at) on takt.zone to takt_engine;
grant select on takt.zone to takt_auditor;

-- A decision's own event, of those that make no run; and what it was decided by.
alter table takt.occurrence
	add column event_id  uuid,    -- its place among the events of the task (event_batch.run_ids); null: fired
	add column detail    jsonb;   -- {"calendar", "reason", "run_id", "late_s", "limit", …} by rule
create index occurrence_event on takt.occurrence (event_id) where event_id is not null;

-- Times at which no engine ran, as the first one after found them.
create table takt.downtime (
	from_at   timestamptz primary key,
	until_at  timestamptz not null
);

-- Queued and not started by then: the run expires.
alter table takt.live add column expires_at timestamptz;
create index live_expires on takt.live (expires_at) where expires_at is not null;

-- With live_task and live_one_started: all unfinished runs of a task, by its policy of overlapping.
create index live_parallel on takt.live (task_id) where not queue_depth;

-- Who may what --------------------------------------------------------------------------------------

grant select on takt.calendar, takt.calendar_day, takt.shared_schedule, takt.schedule_calendar, takt.downtime
	to takt_engine, takt_auditor, takt_gateway;
grant insert, update, delete on takt.calendar to takt_gateway;
-- Days are put anew, never moved: a day that changes its calendar would need no right to the other one.
grant insert, delete on takt.calendar_day to takt_gateway;
grant insert, update (title, digest, report, version, updated_at) on takt.calendar to takt_engine;
grant insert, update (reason), delete on takt.calendar_day to takt_engine;
grant insert on takt.downtime to takt_engine;
grant insert, update, delete on takt.shared_schedule to takt_gateway;
grant insert, delete on takt.schedule_calendar to takt_gateway;
grant update (next_due_at, next_fire_at, last_due_at, replan_from, version) on takt.schedule to takt_engine;
-- overlap `replace`: a cancel like anybody's, and nothing else in anybody's name
grant insert on takt.command to takt_engine;
create policy only_replaces on takt.command as restrictive for insert to takt_engine
	with check (kind = 'run.cancel' and actor = 'schedule' and decided_at is null);

do $$
declare v_table text; v_rank int;
begin
	foreach v_table in array array['calendar', 'calendar_day', 'shared_schedule', 'schedule_calendar'] loop
		execute format('alter table takt.%I enable row level security', v_table);
		execute format('create policy tenant on takt.%I to takt_gateway using (org_id = (select takt.current_org()))
			with check (org_id = (select takt.current_org()))', v_table);
		execute format('create policy all_orgs on takt.%I to takt_engine, takt_auditor using (true) with check (true)', v_table);
	end loop;
	for v_table, v_rank in values ('calendar', 2), ('calendar_day', 2), ('shared_schedule', 2), ('schedule_calendar', 2) loop
		execute format('create policy rank_insert on takt.%I as restrictive for insert to takt_gateway
			with check ((select takt.current_rank()) >= %s)', v_table, v_rank);
		execute format('create policy rank_update on takt.%I as restrictive for update to takt_gateway
			using ((select takt.current_rank()) >= %s)', v_table, v_rank);
		execute format('create policy rank_delete on takt.%I as restrictive for delete to takt_gateway
			using ((select takt.current_rank()) >= %s)', v_table, v_rank);
	end loop;
end $$;
-- Everybody with a token reads the shipped ones; the engine writes no others.
create policy shipped on takt.calendar for select to takt_gateway
	using (org_id is null and (select takt.current_org()) is not null);
create policy shipped on takt.calendar_day for select to takt_gateway
	using (org_id is null and (select takt.current_org()) is not null);
create policy shipped_only on takt.calendar as restrictive for insert to takt_engine with check (org_id is null);
create policy shipped_only_day on takt.calendar_day as restrictive for insert to takt_engine with check (org_id is null);
create policy shipped_only_update on takt.calendar as restrictive for update to takt_engine using (org_id is null);
create policy shipped_only_day_update on takt.calendar_day as restrictive for update to takt_engine using (org_id is null);
create policy shipped_only_day_delete on takt.calendar_day as restrictive for delete to takt_engine using (org_id is null);
-- What row level security shows: a foreign key would take any.
create policy own_calendar on takt.schedule_calendar as restrictive for insert to takt_gateway
	with check (exists (select from takt.calendar c where c.id = calendar_id)
		and (schedule_id is null or exists (select from takt.schedule s where s.id = schedule_id))
		and (shared_id is null or exists (select from takt.shared_schedule s where s.id = shared_id)));
create policy own_days on takt.calendar_day as restrictive for insert to takt_gateway
	with check (exists (select from takt.calendar c where c.id = calendar_id and c.org_id = (select takt.current_org())));

-- As before, with the time of the decision.
create or replace function takt.task_put_schedule(p_task uuid, p jsonb) returns void language sql volatile as $$
	insert into takt.schedule (id, org_id, task_id, kind, expr, zone, dst_gap, dst_fold, enabled, next_due_at, next_fire_at)
	values (p_task, takt.current_org(), p_task, case when p #>> '{definition,cron_expression}' is null then 'on_demand' else 'cron' end,
		coalesce(p #>> '{definition,cron_expression}', ''), p #>> '{definition,timezone}', p #>> '{definition,dst_gap}',
		p #>> '{definition,dst_fold}', (p #>> '{definition,enabled}')::boolean, (p ->> 'next_due_at')::timestamptz,
		(p ->> 'next_due_at')::timestamptz)
	on conflict (id) do update set kind = excluded.kind, expr = excluded.expr, zone = excluded.zone,
		dst_gap = excluded.dst_gap, dst_fold = excluded.dst_fold, enabled = excluded.enabled,
		next_due_at = excluded.next_due_at, next_fire_at = excluded.next_fire_at, version = schedule.version + 1;
	select pg_notify('takt_schedule', '');
$$;
