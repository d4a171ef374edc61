-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Schedules of every kind by the API: what a task's row of `schedule` says, shared schedules, calendars. Locks are taken in
-- the order task, shared schedule, calendars by id, rows of `schedule` by id, so that nobody waits in a circle; the engine
-- never waits for such a row. Who saves a schedule holds its calendars (FOR KEY SHARE, at the latest by the foreign key of
-- schedule_calendar) against who changes or deletes one (FOR UPDATE): either the change finds the new user, or the
-- saver finds the new version and leaves the next time to the engine (replan_from).

-- The part of a jitter that is this task's: the same each time, spread evenly over the tasks.
create function takt.jitter_off(p_task uuid, p_jitter_s int) returns int language sql immutable as $$
	select ('x' || left(md5(p_task::text), 7))::bit(28)::int % (p_jitter_s + 1)
$$;

-- What a caller names: his own before a shipped one of the same name.
create function takt.calendar_named(p_name text) returns setof takt.calendar language sql stable rows 1 as $$
	select * from takt.calendar c where c.name = p_name order by c.org_id nulls last limit 1
$$;

create function takt.known_calendars() returns text language sql stable as $$
	select coalesce('There are: ' || string_agg(name, ', ' order by name) || '.', 'There is none yet: PUT /calendars/{name} makes one.')
	from (select distinct name from takt.calendar order by name limit 20) c
$$;

create function takt.known_schedules() returns text language sql stable as $$
	select coalesce('There are: ' || string_agg(name, ', ' order by name) || '.', 'There is none yet: POST /schedules makes one.')
	from (select name from takt.shared_schedule order by name limit 10) s
$$;

-- Texts of a member that is one text or a list.
create function takt.texts(p jsonb) returns setof text language sql immutable as $$
	select p #>> '{}' where jsonb_typeof(p) = 'string'
	union all
	select t #>> '{}' from jsonb_array_elements(case jsonb_typeof(p) when 'array' then p else '[]' end) t where jsonb_typeof(t) = 'string'
$$;

-- What documents (bodies, definitions) may name, read for the hook that normalises them: the shared schedule, the calendars
-- with their days from p_from on, and what there is to name. More days than the gateway takes are left out; the hook refuses then.
create function takt.schedule_world(p_docs jsonb, p_from date default (now() - interval '400 days')::date)
returns jsonb language plpgsql stable as $$
declare
	v_shared takt.shared_schedule;
	v_docs jsonb := p_docs;
	v_calendars jsonb;
	v_days jsonb := '{}';
	v_n bigint;
begin
	select s.* into v_shared from jsonb_array_elements(p_docs) with ordinality as d(doc, n)
	cross join lateral (select case jsonb_typeof(d.doc -> 'schedule') when 'string' then d.doc ->> 'schedule'
		when 'object' then d.doc #>> '{schedule,name}' end as name) x
	join takt.shared_schedule s on s.name = x.name order by d.n limit 1;
	if found then
		v_docs := v_docs || jsonb_build_array(v_shared.definition);
	end if;
	select coalesce(jsonb_object_agg(c.name, jsonb_build_object('id', c.id, 'version', c.version,
			'last', (select max(d.day) - date '1970-01-01' from takt.calendar_day d where d.calendar_id = c.id))), '{}'),
		sum((select count(*) from takt.calendar_day d where d.calendar_id = c.id and d.day >= p_from))
	into v_calendars, v_n
	from (select distinct lower(t.name) as name from jsonb_array_elements(v_docs) as d(doc)
		cross join lateral (values (d.doc), (d.doc -> 'schedule')) as o(part)
		cross join lateral (values (o.part -> 'include'), (o.part -> 'exclude'), (o.part -> 'calendar')) as l(list)
		cross join lateral takt.texts(l.list) as t(name) where jsonb_typeof(o.part) = 'object') asked
	cross join lateral takt.calendar_named(asked.name) c;
	if v_n <= 40000 then
		select coalesce(jsonb_object_agg(k.key, (select coalesce(jsonb_agg(jsonb_build_array(d.day - date '1970-01-01', d.reason)
			order by d.day), '[]') from takt.calendar_day d
			where d.calendar_id = (k.value ->> 'id')::uuid and d.day >= p_from)), '{}')
		into v_days from jsonb_each(v_calendars) k;
	end if;
	return jsonb_build_object('calendars', v_days, 'calendar_info', v_calendars, 'known_calendars', takt.known_calendars(),
		'known_schedules', takt.known_schedules(), 'shared', case when v_shared.id is not null then
		jsonb_build_object('name', v_shared.name, 'revision', v_shared.revision, 'enabled', v_shared.enabled,
			'schedule', v_shared.definition, 'anchor', floor(extract(epoch from v_shared.created_at))::bigint) end);
end $$;

-- Tasks --------------------------------------------------------------------------------------------

-- Definitions from before this say their schedule as it is said now.
update takt.task t set definition = t.definition || jsonb_build_object('schedule', jsonb_build_object(
	'kind', case when t.definition ->> 'cron_expression' is null then 'on_demand' else 'cron' end,
	'expr', coalesce(t.definition ->> 'cron_expression', ''), 'timezone', t.definition -> 'timezone',
	'dst_gap', t.definition -> 'dst_gap', 'dst_fold', t.definition -> 'dst_fold', 'effective_from', null, 'effective_until', null,
	'include', '[]'::jsonb, 'exclude', '[]'::jsonb, 'on_hit', 'skip', 'catch_up', 'latest', 'catch_up_limit', 10,
	'catch_up_deadline_seconds', null, 'jitter_seconds', 0, 'start_deadline_seconds', null),
	'overlap_limit', case t.definition ->> 'overlap' when 'parallel' then null else 1 end)
where not t.definition ? 'schedule';

-- A task that follows a shared schedule shows what that says where old clients look for it.
create or replace function takt.task_json(t takt.task) returns jsonb language sql stable as $$
	select t.definition || s.shown || jsonb_build_object('id', t.id, 'revision', t.revision, 'enabled', t.enabled,
		'next_run_at', s.next_run_at, 'last_run_at', takt.ts(t.last_run_at), 'created_at', takt.ts(t.created_at),
		'updated_at', takt.ts(t.updated_at))
	from (select coalesce(jsonb_agg(jsonb_build_object('cron_expression', case r.kind when 'cron' then r.expr end,
			'timezone', r.zone, 'dst_gap', r.dst_gap, 'dst_fold', r.dst_fold)) filter (where r.shared_id is not null) -> 0, '{}') as shown,
			takt.ts(min(r.next_due_at) filter (where r.enabled)) as next_run_at
		from takt.schedule r where r.id = t.id) s
$$;

-- Raised by what finds out late that a document names what is not there; its detail is the problem that is answered.
create function takt.refuse(p_problem jsonb) returns void language plpgsql as $$
begin
	raise exception '%', p_problem ->> 'detail' using errcode = 'TK422', detail = p_problem::text;
end $$;

-- Whoever saves a schedule with calendars comes before or behind whoever changes one of them. As the owner: the engine changes
-- the shipped ones, which the caller may read only.
create function takt.calendars_hold(p_normal jsonb) returns void
language sql volatile security definer set search_path = pg_catalog, takt, pg_temp as $$
	select c.id from takt.calendar c where (c.org_id = takt.current_org() or c.org_id is null)
		and (p_normal -> 'include' ? c.name or p_normal -> 'exclude' ? c.name) order by c.id for key share
$$;

-- The calendars of a schedule, inline (p_schedule) or shared, written anew. They are held by it until it lets go of them.
create function takt.calendars_use(p_schedule uuid, p_shared uuid, p_normal jsonb) returns void language plpgsql as $$
declare
	v_missing text;
begin
	delete from takt.schedule_calendar where schedule_id = p_schedule or shared_id = p_shared;
	insert into takt.schedule_calendar (org_id, schedule_id, shared_id, calendar_id, is_exclude)
	select takt.current_org(), p_schedule, p_shared, c.id, bool_or(x.is_exclude)
	from (select jsonb_array_elements_text(p_normal -> 'include') as name, false as is_exclude
		union all select jsonb_array_elements_text(p_normal -> 'exclude'), true) x
	cross join lateral takt.calendar_named(x.name) c group by c.id;
	select x.name into v_missing from (select jsonb_array_elements_text(p_normal -> 'include') as name
		union all select jsonb_array_elements_text(p_normal -> 'exclude')) x
	where not exists (select from takt.calendar_named(x.name)) limit 1;
	if found then
		perform takt.refuse(takt.problem('invalid_body', 'there is no calendar "' || v_missing || '" any more', '/schedule',
			takt.known_calendars()));
	end if;
exception when foreign_key_violation then
	perform takt.refuse(takt.problem('invalid_body', 'a calendar that it names was deleted at the same time', '/schedule',
		takt.known_calendars()));
end $$;

-- Are the calendars those that the hook computed with? p_versions: {name: {version}}.
create function takt.calendars_moved(p_schedule uuid, p_shared uuid, p_versions jsonb) returns boolean language sql volatile as $$
	select exists (select from takt.schedule_calendar u join takt.calendar c on c.id = u.calendar_id
		where (u.schedule_id = p_schedule or u.shared_id = p_shared)
			and c.version::text is distinct from p_versions #>> array[c.name, 'version'])
$$;

-- Does the row wait for the engine to compute its next time, and is it saved with the times it had? Then it goes on waiting: what
-- came due since it began to wait is no less due.
create function takt.schedule_waits(was takt.schedule, put takt.schedule) returns boolean language sql immutable as $$
	select was.replan_from is not null and was.next_due_at is null and was.enabled and put.enabled
		and (was.kind, was.expr, was.zone, was.dst_gap, was.dst_fold, was.shared_id, was.effective_from, was.effective_until,
			was.on_hit, was.has_calendars, was.anchor)
		is not distinct from (put.kind, put.expr, put.zone, put.dst_gap, put.dst_fold, put.shared_id, put.effective_from,
			put.effective_until, put.on_hit, put.has_calendars, put.anchor)
$$;

-- p: {definition, next_due_at, planned_from (the time after which that is the first; null: now), anchor, calendar_info and shared (what next_due_at was computed with)}. The row of a task is
-- whole: what follows a shared schedule has a copy of its columns.
drop function takt.task_put_schedule(uuid, jsonb);
create function takt.task_put_schedule(p_task uuid, p jsonb) returns void language plpgsql as $$
declare
	v_normal jsonb := p #> '{definition,schedule}';
	v_shared takt.shared_schedule;
	v_is_on boolean := (p #>> '{definition,enabled}')::boolean;
	v_next timestamptz := (p ->> 'next_due_at')::timestamptz;
	v_off interval;
begin
	if v_normal ? 'name' then
		select * into v_shared from takt.shared_schedule where name = v_normal ->> 'name' for share;
		if not found then
			perform takt.refuse(takt.problem('invalid_body', 'there is no schedule named "' || (v_normal ->> 'name') || '"',
				'/schedule', takt.known_schedules()));
		end if;
		v_normal := v_shared.definition;
	else
		perform takt.calendars_hold(v_normal);
	end if;
	v_off := takt.jitter_off(p_task, (v_normal ->> 'jitter_seconds')::int) * interval '1 s';
	if not (v_is_on and coalesce(v_shared.enabled, true)) then
		v_next := null;
	end if;
	insert into takt.schedule as s (id, org_id, task_id, shared_id, kind, expr, zone, dst_gap, dst_fold, enabled, disabled_at,
		next_due_at, next_fire_at, planned_from, anchor, effective_from, effective_until, on_hit, has_calendars, catch_up, catch_up_limit,
		catch_up_deadline_s, jitter_s, jitter_off_s, start_deadline_s)
	values (p_task, takt.current_org(), p_task, v_shared.id, v_normal ->> 'kind', v_normal ->> 'expr', v_normal ->> 'timezone',
		v_normal ->> 'dst_gap', v_normal ->> 'dst_fold', v_is_on and coalesce(v_shared.enabled, true),
		case when not (v_is_on and coalesce(v_shared.enabled, true)) then now() end, v_next, v_next + v_off,
		coalesce(to_timestamp((p ->> 'planned_from')::bigint), now()),
		coalesce((v_normal ->> 'effective_from')::timestamptz, date_trunc('second', v_shared.created_at),
			to_timestamp((p ->> 'anchor')::bigint), date_trunc('second', now())),
		(v_normal ->> 'effective_from')::timestamptz, (v_normal ->> 'effective_until')::timestamptz, v_normal ->> 'on_hit',
		v_normal -> 'include' <> '[]' or v_normal -> 'exclude' <> '[]', v_normal ->> 'catch_up',
		(v_normal ->> 'catch_up_limit')::int, (v_normal ->> 'catch_up_deadline_seconds')::int,
		(v_normal ->> 'jitter_seconds')::int, extract(epoch from v_off)::int, (v_normal ->> 'start_deadline_seconds')::int)
	on conflict (id) do update set shared_id = excluded.shared_id, kind = excluded.kind, expr = excluded.expr,
		zone = excluded.zone, dst_gap = excluded.dst_gap, dst_fold = excluded.dst_fold, enabled = excluded.enabled,
		-- switched on while its shared schedule is off: what was due before now was not asked for
		disabled_at = case when excluded.enabled then s.disabled_at when s.enabled or v_is_on then now()
			else coalesce(s.disabled_at, now()) end,
		-- What is due already (its jitter is not over, no engine runs) is decided first, by the new settings.
		next_due_at = case when s.enabled and excluded.enabled and excluded.kind <> 'on_demand' and s.next_due_at <= now()
			then s.next_due_at
			when takt.schedule_waits(s, excluded) then null else excluded.next_due_at end,
		next_fire_at = case when s.enabled and excluded.enabled and excluded.kind <> 'on_demand' and s.next_due_at <= now()
			then s.next_due_at + v_off
			when takt.schedule_waits(s, excluded) then null else excluded.next_fire_at end,
		replan_from = case when takt.schedule_waits(s, excluded) then s.replan_from end, version = s.version + 1,
		planned_from = excluded.planned_from,
		anchor = excluded.anchor, effective_from = excluded.effective_from, effective_until = excluded.effective_until,
		on_hit = excluded.on_hit, has_calendars = excluded.has_calendars, catch_up = excluded.catch_up,
		catch_up_limit = excluded.catch_up_limit, catch_up_deadline_s = excluded.catch_up_deadline_s,
		jitter_s = excluded.jitter_s, jitter_off_s = excluded.jitter_off_s, start_deadline_s = excluded.start_deadline_s;
	perform takt.calendars_use(p_task, null, case when v_shared.id is null then v_normal end);
	if v_shared.revision::text is distinct from p #>> '{shared,revision}'
		or takt.calendars_moved(p_task, v_shared.id, p -> 'calendar_info') then
		perform takt.schedule_replan(array[p_task]);
	end if;
	perform pg_notify('takt_schedule', '');
end $$;

-- The engine shall compute the next times anew. What is due already is decided first; who waits for it since before goes on
-- waiting from then.
create function takt.schedule_replan(p_ids uuid[]) returns int language plpgsql as $$
declare
	v_n int;
begin
	perform from takt.schedule where id = any(p_ids) order by id for no key update;
	update takt.schedule s set version = s.version + 1,
		replan_from = case when s.next_due_at is null then least(s.replan_from, now()) else now() end,
		next_due_at = case when s.next_due_at <= now() then s.next_due_at end,
		next_fire_at = case when s.next_due_at <= now() then s.next_fire_at end
	where s.id = any(p_ids) and s.enabled and s.kind <> 'on_demand';
	get diagnostics v_n = row_count;
	perform pg_notify('takt_schedule', '');
	return v_n;
end $$;

create or replace function takt.task_create(p jsonb) returns table (status int, body jsonb, etag text) language plpgsql as $$
declare
	v_id uuid := coalesce((p ->> 'id')::uuid, takt.uuid_v7());
	v_task takt.task;
	v_text text;
begin
	insert into takt.task (id, org_id, name, task_type, enabled, definition)
	values (v_id, takt.current_org(), p #>> '{definition,name}', p #>> '{definition,task_type}',
		(p #>> '{definition,enabled}')::boolean, p -> 'definition') returning * into v_task;
	insert into takt.task_revision (task_id, revision, org_id, definition, source, actor)
	values (v_id, 1, v_task.org_id, v_task.definition, decode(p ->> 'source', 'base64'), takt.current_actor());
	perform takt.task_put_schedule(v_id, p);
	perform takt.audit_mine('task.create', 'task', v_id::text, jsonb_build_object('name', v_task.name, 'revision', 1));
	return query select 201, takt.task_json(v_task) || jsonb_build_object('warnings',
		coalesce(p -> 'warnings', '[]') || takt.task_warnings(v_task.definition)), '1';
exception when unique_violation then
	get stacked diagnostics v_text = constraint_name;
	return query select 409, case when v_text = 'task_pkey'
		then takt.problem('taken', 'the id ' || v_id || ' is taken', '/id', 'Leave id out to get a new one.')
		else takt.problem('taken', 'there is a task named "' || (p #>> '{definition,name}') || '" already', '/name',
			'Choose another name, or change that task.') end, null::text;
when sqlstate 'TK422' then
	get stacked diagnostics v_text = pg_exception_detail;
	return query select 422, v_text::jsonb, null::text;
end $$;

-- if_match: null (not asked for), '*' or a revision number.
create or replace function takt.task_change(p_id uuid, p jsonb, p_if_match text, p_action text)
returns table (status int, body jsonb, etag text) language plpgsql as $$
declare
	v_task takt.task;
	v_text text;
begin
	select * into v_task from takt.task where id = p_id for update;
	if not found then
		return query select 404, takt.not_found('task', p_id::text), null::text;
		return;
	elsif p_if_match <> '*' and p_if_match <> v_task.revision::text then
		return query select 412, takt.problem('changed', format('the task is at revision %s, If-Match names %s',
			v_task.revision, left(p_if_match, 20))), v_task.revision::text;
		return;
	elsif p ? 'base_revision' and (p ->> 'base_revision')::int <> v_task.revision then
		return query select 409, takt.problem('changed', 'the task was changed at the same time; try again'), null::text;
		return;
	elsif p ->> 'id' <> p_id::text then
		return query select 422, takt.problem('invalid_body', 'a task keeps its id', '/id', 'Leave id out.'), null::text;
		return;
	end if;
	update takt.task set name = p #>> '{definition,name}', task_type = p #>> '{definition,task_type}',
		enabled = (p #>> '{definition,enabled}')::boolean, definition = p -> 'definition',
		revision = revision + 1, updated_at = now()
	where id = p_id returning * into v_task;
	insert into takt.task_revision (task_id, revision, org_id, definition, source, actor)
	values (p_id, v_task.revision, v_task.org_id, v_task.definition,
		coalesce(decode(p ->> 'source', 'base64'), (select r.source from takt.task_revision r
			where r.task_id = p_id and r.revision = v_task.revision - 1)), takt.current_actor());
	perform takt.task_put_schedule(p_id, p);
	perform takt.audit_mine(p_action, 'task', p_id::text,
		jsonb_build_object('name', v_task.name, 'revision', v_task.revision));
	return query select 200, takt.task_json(v_task) || jsonb_build_object('warnings',
		coalesce(p -> 'warnings', '[]') || takt.task_warnings(v_task.definition)), v_task.revision::text;
exception when unique_violation then
	return query select 409, takt.problem('taken', 'there is a task named "' || (p #>> '{definition,name}') || '" already',
		'/name', 'Choose another name.'), null::text;
when sqlstate 'TK422' then
	get stacked diagnostics v_text = pg_exception_detail;
	return query select 422, v_text::jsonb, null::text;
end $$;

-- Shared schedules ---------------------------------------------------------------------------------

create function takt.shared_json(s takt.shared_schedule) returns jsonb language sql stable as $$
	select jsonb_build_object('name', s.name, 'enabled', s.enabled, 'revision', s.revision, 'schedule', s.definition,
		'task_count', count(r.id), 'next_run_at', takt.ts(min(r.next_due_at) filter (where r.enabled)),
		'created_at', takt.ts(s.created_at), 'updated_at', takt.ts(s.updated_at))
	from takt.schedule r where r.shared_id = s.id
$$;

-- The tasks that follow it, the first 200 by name.
create function takt.shared_tasks(p_shared uuid) returns jsonb language sql stable as $$
	select coalesce(jsonb_agg(jsonb_build_object('id', x.id, 'name', x.name, 'enabled', x.enabled,
		'next_run_at', takt.ts(x.next_due_at)) order by x.name), '[]')
	from (select t.id, t.name, t.enabled, case when r.enabled then r.next_due_at end as next_due_at
		from takt.schedule r join takt.task t on t.id = r.task_id where r.shared_id = p_shared order by t.name limit 200) x
$$;

-- All copies of a shared schedule say what it says, and the engine computes their next times: from now on, with
-- p_is_backfill from when they were switched off. Copies that are off have none.
create function takt.shared_copy(s takt.shared_schedule, p_is_backfill boolean) returns int language plpgsql as $$
declare
	v_n int;
begin
	perform from takt.schedule where shared_id = s.id order by id for update;
	update takt.schedule r set kind = x.d ->> 'kind', expr = x.d ->> 'expr', zone = x.d ->> 'timezone', dst_gap = x.d ->> 'dst_gap',
		dst_fold = x.d ->> 'dst_fold', enabled = x.is_on, version = r.version + 1,
		disabled_at = case when r.enabled and not x.is_on then now() else r.disabled_at end,
		replan_from = case when x.is_on and x.d ->> 'kind' <> 'on_demand' then least(r.replan_from, x.since) end, planned_from = x.since,
		next_due_at = case when x.is_on and r.next_due_at <= now() then r.next_due_at end,
		next_fire_at = case when x.is_on and r.next_due_at <= now() then r.next_due_at + x.off_s * interval '1 s' end,
		anchor = coalesce((x.d ->> 'effective_from')::timestamptz, date_trunc('second', s.created_at)),
		effective_from = (x.d ->> 'effective_from')::timestamptz, effective_until = (x.d ->> 'effective_until')::timestamptz,
		on_hit = x.d ->> 'on_hit', has_calendars = x.d -> 'include' <> '[]' or x.d -> 'exclude' <> '[]', catch_up = x.d ->> 'catch_up',
		catch_up_limit = (x.d ->> 'catch_up_limit')::int, catch_up_deadline_s = (x.d ->> 'catch_up_deadline_seconds')::int,
		jitter_s = (x.d ->> 'jitter_seconds')::int, jitter_off_s = x.off_s,
		start_deadline_s = (x.d ->> 'start_deadline_seconds')::int
	from (select t.id, t.enabled and s.enabled as is_on, s.definition as d,
		takt.jitter_off(t.id, (s.definition ->> 'jitter_seconds')::int) as off_s,
		case when p_is_backfill and not k.enabled then coalesce(k.disabled_at, now()) else now() end as since from takt.task t
		join takt.schedule k on k.id = t.id where k.shared_id = s.id) x
	where r.id = x.id;
	get diagnostics v_n = row_count;
	perform pg_notify('takt_schedule', '');
	return v_n;
end $$;

-- p: {name, enabled, schedule (normal form), calendar_info, warnings}
create function takt.shared_create(p jsonb) returns table (status int, body jsonb, etag text) language plpgsql as $$
declare
	v takt.shared_schedule;
	v_text text;
begin
	perform takt.calendars_hold(p -> 'schedule');
	insert into takt.shared_schedule (id, org_id, name, enabled, disabled_at, definition)
	values (takt.uuid_v7(), takt.current_org(), p ->> 'name', (p ->> 'enabled')::boolean,
		case when not (p ->> 'enabled')::boolean then now() end, p -> 'schedule') returning * into v;
	perform takt.calendars_use(null, v.id, v.definition);
	perform takt.audit_mine('schedule.create', 'schedule', v.name, jsonb_build_object('revision', 1, 'schedule', v.definition));
	return query select 201, takt.shared_json(v) || jsonb_build_object('warnings', p -> 'warnings'), '1';
exception when unique_violation then
	return query select 409, takt.problem('taken', 'there is a schedule named "' || (p ->> 'name') || '" already', '/name',
		'Choose another name, or change that schedule.'), null::text;
when sqlstate 'TK422' then
	get stacked diagnostics v_text = pg_exception_detail;
	return query select 422, v_text::jsonb, null::text;
end $$;

create function takt.shared_change(p_name text, p jsonb, p_if_match text)
returns table (status int, body jsonb, etag text) language plpgsql as $$
declare
	v takt.shared_schedule;
	v_was jsonb;
	v_n int;
	v_text text;
begin
	select * into v from takt.shared_schedule where name = p_name for update;
	if not found then
		return query select 404, takt.not_found('schedule', p_name), null::text;
		return;
	elsif p_if_match <> '*' and p_if_match <> v.revision::text then
		return query select 412, takt.problem('changed', format('the schedule is at revision %s, If-Match names %s',
			v.revision, left(p_if_match, 20))), v.revision::text;
		return;
	elsif p ->> 'name' <> p_name then
		return query select 422, takt.problem('invalid_body', 'a schedule keeps its name', '/name',
			'Leave name out; to rename one, make another and let the tasks follow that.'), null::text;
		return;
	end if;
	v_was := v.definition;
	perform takt.calendars_hold(p -> 'schedule');
	update takt.shared_schedule s set definition = p -> 'schedule', revision = s.revision + 1, updated_at = now(),
		enabled = coalesce((p ->> 'enabled')::boolean, s.enabled),
		disabled_at = case when s.enabled and not (p ->> 'enabled')::boolean then now() else s.disabled_at end
	where s.id = v.id returning * into v;
	perform takt.calendars_use(null, v.id, v.definition);
	v_n := takt.shared_copy(v, false);
	perform takt.audit_mine('schedule.update', 'schedule', v.name, jsonb_build_object('revision', v.revision, 'tasks', v_n,
		'was', v_was, 'schedule', v.definition));
	return query select 200, takt.shared_json(v) || jsonb_build_object('warnings', p -> 'warnings'), v.revision::text;
exception when sqlstate 'TK422' then
	get stacked diagnostics v_text = pg_exception_detail;
	return query select 422, v_text::jsonb, null::text;
end $$;

create function takt.shared_enable(p_name text, p_is_on boolean, p_is_backfill boolean)
returns table (status int, body jsonb, etag text) language plpgsql as $$
declare
	v takt.shared_schedule;
	v_n int;
begin
	select * into v from takt.shared_schedule where name = p_name for update;
	if not found then
		return query select 404, takt.not_found('schedule', p_name), null::text;
		return;
	end if;
	if v.enabled <> p_is_on then
		update takt.shared_schedule s set enabled = p_is_on, revision = s.revision + 1, updated_at = now(),
			disabled_at = case when p_is_on then s.disabled_at else now() end
		where s.id = v.id returning * into v;
		v_n := takt.shared_copy(v, p_is_backfill);
		perform takt.audit_mine(case when p_is_on then 'schedule.enable' else 'schedule.disable' end, 'schedule', v.name,
			jsonb_build_object('revision', v.revision, 'tasks', v_n, 'backfill', p_is_backfill));
	end if;
	return query select 200, takt.shared_json(v), v.revision::text;
end $$;

create function takt.shared_delete(p_name text, p_if_match text) returns table (status int, body jsonb) language plpgsql as $$
declare
	v takt.shared_schedule;
	v_users text;
begin
	select * into v from takt.shared_schedule where name = p_name for update;
	if not found then
		return query select 404, takt.not_found('schedule', p_name);
		return;
	elsif p_if_match <> '*' and p_if_match <> v.revision::text then
		return query select 412, takt.problem('changed', format('the schedule is at revision %s', v.revision));
		return;
	end if;
	select string_agg('"' || x.name || '"', ', ' order by x.name) into v_users
	from (select t.name from takt.schedule r join takt.task t on t.id = r.task_id where r.shared_id = v.id order by t.name limit 5) x;
	if v_users is not null then
		return query select 409, takt.problem('in_use', format('%s task(s) follow this schedule: %s',
			(select count(*) from takt.schedule r where r.shared_id = v.id), v_users), '',
			'Give these tasks another schedule first; disabling this one pauses them all.');
		return;
	end if;
	delete from takt.shared_schedule where id = v.id;
	perform takt.audit_mine('schedule.delete', 'schedule', v.name, jsonb_build_object('schedule', v.definition));
	return query select 204, null::jsonb;
end $$;

-- Calendars ----------------------------------------------------------------------------------------

create function takt.calendar_json(c takt.calendar) returns jsonb language sql stable as $$
	select jsonb_build_object('name', c.name, 'title', c.title, 'source', c.source, 'version', c.version,
		'day_count', count(d.day), 'first_day', min(d.day), 'last_day', max(d.day),
		'created_at', takt.ts(c.created_at), 'updated_at', takt.ts(c.updated_at))
	from takt.calendar_day d where d.calendar_id = c.id
$$;

-- Who uses it, tasks before shared schedules, the caller's own.
create function takt.calendar_users(p_calendar uuid, p_limit int) returns table (kind text, name text) language sql stable as $$
	select * from (
		select 'task' as kind, t.name from takt.schedule_calendar u join takt.schedule r on r.id = u.schedule_id
		join takt.task t on t.id = r.task_id where u.calendar_id = p_calendar
		union all
		select 'schedule', s.name from takt.schedule_calendar u join takt.shared_schedule s on s.id = u.shared_id
		where u.calendar_id = p_calendar) x
	order by x.kind desc, x.name limit p_limit
$$;

create function takt.calendar_replan(p_calendar uuid) returns int language sql volatile as $$
	select takt.schedule_replan(array(
		select u.schedule_id from takt.schedule_calendar u where u.calendar_id = p_calendar and u.schedule_id is not null
		union
		select r.id from takt.schedule_calendar u join takt.schedule r on r.shared_id = u.shared_id where u.calendar_id = p_calendar))
$$;

create function takt.shipped(p_name text) returns jsonb language sql immutable as $$
	select takt.problem('shipped', 'the calendar ' || p_name || ' comes with Takt', '',
		'Put your days under another name; a schedule may name several calendars.')
$$;

-- p: {days [[date, reason], …], digest (hex), source, report, title?}
create function takt.calendar_put(p_name text, p jsonb, p_if_match text)
returns table (status int, body jsonb, etag text) language plpgsql as $$
declare
	v takt.calendar;
	v_is_new boolean;
	v_is_changed boolean;
	v_n int;
begin
	select * into v from takt.calendar where name = p_name and org_id = takt.current_org() for update;
	v_is_new := not found;
	if v_is_new and exists (select from takt.calendar where name = p_name) then
		return query select 409, takt.shipped(p_name), null::text;
		return;
	elsif p_if_match <> '*' and p_if_match is distinct from v.version::text then
		return query select 412, takt.problem('changed', case when v_is_new then 'there is no such calendar yet'
			else format('the calendar is at version %s, If-Match names %s', v.version, left(p_if_match, 20)) end), v.version::text;
		return;
	end if;
	if v_is_new then
		insert into takt.calendar (id, org_id, name, title, source, digest, report)
		values (takt.uuid_v7(), takt.current_org(), p_name, coalesce(p ->> 'title', ''), p ->> 'source', decode(p ->> 'digest', 'hex'),
			p -> 'report') returning * into v;
		v_is_changed := true;
	else
		v_is_changed := v.digest <> decode(p ->> 'digest', 'hex');
		update takt.calendar c set title = coalesce(p ->> 'title', c.title), source = p ->> 'source', report = p -> 'report',
			digest = decode(p ->> 'digest', 'hex'), version = c.version + v_is_changed::int, updated_at = now()
		where c.id = v.id returning * into v;
	end if;
	if v_is_changed then
		delete from takt.calendar_day where calendar_id = v.id;
		insert into takt.calendar_day (calendar_id, day, org_id, reason)
		select v.id, (d ->> 0)::date, v.org_id, d ->> 1 from jsonb_array_elements(p -> 'days') d;
		v_n := takt.calendar_replan(v.id);
	end if;
	perform takt.audit_mine(case when v_is_new then 'calendar.create' else 'calendar.update' end, 'calendar', p_name,
		jsonb_build_object('version', v.version, 'days', jsonb_array_length(p -> 'days'), 'source', v.source,
			'schedules', coalesce(v_n, 0)));
	return query select case when v_is_new then 201 else 200 end,
		takt.calendar_json(v) || jsonb_build_object('report', v.report, 'changed', v_is_changed), v.version::text;
exception when unique_violation then
	return query select 409, takt.problem('changed', 'the calendar was made at the same time; try again'), null::text;
end $$;

create function takt.calendar_delete(p_name text) returns table (status int, body jsonb) language plpgsql as $$
declare
	v takt.calendar;
	v_users text;
begin
	select * into v from takt.calendar where name = p_name and org_id = takt.current_org() for update;
	if not found then
		return query select case when found.yes then 409 else 404 end,
			case when found.yes then takt.shipped(p_name) else takt.not_found('calendar', p_name) end
		from (select exists (select from takt.calendar where name = p_name) as yes) found;
		return;
	end if;
	select string_agg(u.kind || ' "' || u.name || '"', ', ') into v_users from takt.calendar_users(v.id, 5) u;
	if v_users is not null then
		return query select 409, takt.problem('in_use', 'it is used by ' || v_users, '',
			'Take it out of these first; GET /calendars/' || p_name || ' lists them.');
		return;
	end if;
	delete from takt.calendar where id = v.id;
	perform takt.audit_mine('calendar.delete', 'calendar', p_name, jsonb_build_object('version', v.version));
	return query select 204, null::jsonb;
end $$;

revoke all on function takt.jitter_off(uuid, int), takt.calendar_named(text), takt.known_calendars(), takt.known_schedules(),
	takt.texts(jsonb), takt.schedule_world(jsonb, date), takt.refuse(jsonb), takt.calendars_hold(jsonb),
	takt.calendars_use(uuid, uuid, jsonb), takt.calendars_moved(uuid, uuid, jsonb), takt.schedule_waits(takt.schedule, takt.schedule),
	takt.task_put_schedule(uuid, jsonb),
	takt.schedule_replan(uuid[]), takt.shared_json(takt.shared_schedule), takt.shared_tasks(uuid),
	takt.shared_copy(takt.shared_schedule, boolean), takt.shared_create(jsonb), takt.shared_change(text, jsonb, text),
	takt.shared_enable(text, boolean, boolean), takt.shared_delete(text, text), takt.calendar_json(takt.calendar),
	takt.calendar_users(uuid, int), takt.calendar_replan(uuid), takt.shipped(text), takt.calendar_put(text, jsonb, text),
	takt.calendar_delete(text) from public;
grant execute on function takt.jitter_off(uuid, int), takt.calendar_named(text), takt.known_calendars(), takt.known_schedules(),
	takt.texts(jsonb), takt.schedule_world(jsonb, date), takt.refuse(jsonb), takt.calendars_hold(jsonb),
	takt.calendars_use(uuid, uuid, jsonb), takt.calendars_moved(uuid, uuid, jsonb), takt.schedule_waits(takt.schedule, takt.schedule),
	takt.task_put_schedule(uuid, jsonb),
	takt.schedule_replan(uuid[]), takt.shared_json(takt.shared_schedule), takt.shared_tasks(uuid),
	takt.shared_copy(takt.shared_schedule, boolean), takt.shared_create(jsonb), takt.shared_change(text, jsonb, text),
	takt.shared_enable(text, boolean, boolean), takt.shared_delete(text, text), takt.calendar_json(takt.calendar),
	takt.calendar_users(uuid, int), takt.calendar_replan(uuid), takt.shipped(text), takt.calendar_put(text, jsonb, text),
	takt.calendar_delete(text) to takt_gateway;
grant execute on function takt.jitter_off(uuid, int) to takt_engine;
