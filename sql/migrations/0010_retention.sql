-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- History that is found at once and goes at once: runs that ended otherwise than well have small rows of their own,
-- a month is dropped as tables, and what must outlive its month is moved aside first (sql/README.md, "Retention").

-- Runs that ended as anything but completed, so that a rare state is found among millions without an index on
-- run.state: such an index would make every end of a run a new entry in all of run's indexes.
create table takt.run_amiss (
	org_id       uuid not null,
	task_id      uuid not null,
	run_id       uuid not null,
	state        text not null,
	primary key (org_id, state, run_id)
) partition by range (run_id);
create index run_amiss_task on takt.run_amiss (task_id, state, run_id);

create function takt.run_amiss_add() returns trigger language plpgsql as $$
begin
	insert into takt.run_amiss (org_id, task_id, run_id, state) values (new.org_id, new.task_id, new.id, new.state);
	return null;
end $$;
create trigger run_amiss after update on takt.run for each row
	when (old.state is null and new.state <> 'completed') execute function takt.run_amiss_add();

-- Runs that no retention takes.
create table takt.run_hold (
	run_id       uuid primary key,
	org_id       uuid not null references takt.org,
	reason       text not null check (length(reason) between 1 and 500),
	actor        text not null,
	at           timestamptz not null default now()
);

-- Months that are gone, and what was moved aside then.
create table takt.dropped_month (
	month        date primary key,
	dropped_at   timestamptz not null default now(),
	actor        text not null,
	kept         jsonb not null      -- {"runs": 2, "run": 2, "attempt": 2, …}: rows that stayed, of all months so far
);

-- Partitions ---------------------------------------------------------------------------------------

-- Every table that has a partition a month, by its key: the id of a run, of a commit's events, or a time.
create function takt.month_tables() returns table (name text, key text, is_time boolean)
language sql stable set search_path = pg_catalog, takt, pg_temp as $$
	select c.relname::text, a.attname::text, a.atttypid = 'timestamptz'::regtype
	from pg_partitioned_table p join pg_class c on c.oid = p.partrelid
	join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
	where c.relnamespace = 'takt'::regnamespace order by c.relname
$$;

-- The beginning of a month as a bound of such a table's partition.
create function takt.month_bound(p_month date, p_is_time boolean) returns text
language sql stable set search_path = pg_catalog, takt, pg_temp as $$
	select case when p_is_time then (p_month::timestamp at time zone 'UTC')::text
		else takt.uuid_floor(p_month::timestamp at time zone 'UTC')::text end
$$;

-- As before (0005), for every such table; a month that was dropped does not come back.
create or replace function takt.make_partitions(p_from date, p_months int) returns int
language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
declare
	v_month date; v_part text; v_table record; v_made int := 0;
begin
	for i in 0 .. p_months - 1 loop
		v_month := date_trunc('month', p_from) + make_interval(months => i);
		continue when v_month <= (select max(month) from takt.dropped_month);
		for v_table in select * from takt.month_tables() loop
			v_part := format('%s_%s', v_table.name, to_char(v_month, 'YYYYMM'));
			continue when to_regclass('takt.' || v_part) is not null;
			perform pg_advisory_xact_lock(hashtextextended('takt.make_partitions', 0));
			-- to_regclass() would remember that there was none
			continue when exists (select 1 from pg_class where relname = v_part and relnamespace = 'takt'::regnamespace);
			perform takt.make_partition(v_table.name, v_part, takt.month_bound(v_month, v_table.is_time),
				takt.month_bound((v_month + interval '1 month')::date, v_table.is_time));
			v_made := v_made + 1;
		end loop;
	end loop;
	return v_made;
end $$;

-- Partitions that the next p_days days need and that are not there: a run of that time could not be written.
create function takt.missing_partitions(p_days int) returns table (name text)
language sql stable set search_path = pg_catalog, takt, pg_temp as $$
	select format('%s_%s', t.name, to_char(m, 'YYYYMM'))
	from takt.month_tables() t, generate_series(date_trunc('month', now() at time zone 'UTC'),
		now() at time zone 'UTC' + make_interval(days => p_days), interval '1 month') m
	where not exists (select 1 from pg_inherits i join pg_class k on k.oid = i.inhrelid join pg_class c on c.oid = i.inhparent
		where c.relnamespace = 'takt'::regnamespace and c.relname = t.name
		and k.relname = format('%s_%s', t.name, to_char(m, 'YYYYMM')))
	order by 1
$$;

-- Dropping a month ----------------------------------------------------------------------------------

-- A table's partitions of before a month, also the one of what was moved aside.
create function takt.partitions_before(p_table text, p_month date) returns setof text
language sql stable set search_path = pg_catalog, takt, pg_temp as $$
	select k.relname::text from pg_inherits i join pg_class k on k.oid = i.inhrelid
	where i.inhparent = format('takt.%I', p_table)::regclass and (k.relname like p_table || '\_kept\_______'
		or k.relname ~ ('^' || p_table || '_[0-9]{6}$') and to_date(right(k.relname, 6), 'YYYYMM') < p_month)
	order by 1
$$;

-- Who is in the way of a lock on these tables.
create function takt.lock_holders(p_tables oid[]) returns text language sql stable set search_path = pg_catalog, takt, pg_temp as $$
	select string_agg(distinct format('pid %s (%s)', l.pid, coalesce(s.usename, '?')), ', ')
	from pg_locks l left join pg_stat_activity s on s.pid = l.pid
	where l.locktype = 'relation' and l.relation = any (p_tables) and l.granted and l.pid <> pg_backend_pid()
	and l.database = (select oid from pg_database where datname = current_database())
$$;

-- Rows of events of before p_bound that must stay, whole: those of runs that stay, and those of runs that are of later
-- by their id.
create function takt.batches_kept(p_bound uuid, p_runs uuid[]) returns uuid[]
language sql stable set search_path = pg_catalog, takt, pg_temp as $$
	with recursive walk as (
		select x.run_id, r.org_id, coalesce((select m.batch_id from takt.event_mark m where m.run_id = x.run_id
			and m.batch_id >= p_bound order by m.seq limit 1), l.last_batch, r.last_batch) as id
		from unnest(p_runs) as x(run_id) join takt.run r on r.id = x.run_id left join takt.live l on l.run_id = x.run_id
		union all
		select w.run_id, w.org_id, b.prev
		from walk w, lateral (select e.prevs[array_position(e.run_ids, w.run_id)] as prev from takt.event_batch e
			where e.id = w.id and e.org_id = w.org_id offset 0) b
		where b.prev is not null
	)
	select coalesce(array_agg(distinct id), '{}')
	from (select id from walk where id < p_bound
		union all
		select b.id from takt.event_batch b where b.run_ids[cardinality(b.run_ids)] > b.id
		and b.run_ids[cardinality(b.run_ids)] >= p_bound and b.id < p_bound) k
$$;

-- What must stay of everything before p_next, the month behind the one that goes, is copied into TABLE_kept_YYYYMM (of
-- p_next), which takes the place of the month and of the TABLE_kept_… before it; those are renamed and out of sight, for
-- remove_dropped(). So a run that is held no longer goes with the next month. Every table is locked already. p_tasks, p_due: occurrences that must stay besides.
create function takt.drop_month(p_next date, p_tasks uuid[], p_due timestamptz[]) returns jsonb
language plpgsql set search_path = pg_catalog, takt, pg_temp as $$
declare
	v_bound uuid := takt.month_bound(p_next, false)::uuid;
	v_runs uuid[];
	v_batches uuid[];
	v_kept jsonb;
	v_table record;
	v_new text;
	v_old text;
	v_n bigint;
	v_sum bigint;
begin
	v_runs := array(
		select run_id from takt.live where run_id < v_bound
		union select run_id from takt.run_hold where run_id < v_bound
		union select run_id from takt.command where decided_at is null and run_id < v_bound);
	select p_tasks || array_agg(r.task_id), p_due || array_agg(r.due_at) into p_tasks, p_due
	from takt.run r where r.id = any (v_runs) and r.due_at is not null;
	v_batches := takt.batches_kept(v_bound, v_runs);
	v_kept := jsonb_build_object('runs', cardinality(v_runs));
	for v_table in select * from takt.month_tables() loop
		v_new := format('%s_kept_%s', v_table.name, to_char(p_next, 'YYYYMM'));
		v_sum := 0;
		for v_old in select * from takt.partitions_before(v_table.name, p_next) loop
			execute format('alter table takt.%I detach partition takt.%I', v_table.name, v_old);
			execute format('insert into takt.%I select * from takt.%I where %s', v_new, v_old,
				case when v_table.is_time then '(task_id, due_at) in (select * from unnest($2, $3))'
				when v_table.name = 'event_batch'
					then 'id = any ($4) and (run_ids && $1 or run_ids[cardinality(run_ids)] >= $5)'
				else format('%I = any ($1)', v_table.key) end)
				using v_runs, p_tasks, p_due, v_batches, v_bound;
			get diagnostics v_n = row_count;
			v_sum := v_sum + v_n;
			execute format('alter table takt.%I rename to %I', v_old, 'dropped_' || v_old);
		end loop;
		v_kept := v_kept || jsonb_build_object(v_table.name, v_sum);
		execute format('alter table takt.%I attach partition takt.%I for values from (minvalue) to (%L)', v_table.name, v_new,
			takt.month_bound(p_next, v_table.is_time));
	end loop;
	return v_kept;
end $$;

-- Drops the oldest month that begins before p_before; no row: there is none. Call it again for the next one. Nothing
-- waits for it longer than its own waiting: 200 ms a lock, 500 ms in all; then it gives up and says who was in the way.
-- The last month stays: runs are still written into it.
create function takt.drop_before(p_before date)
returns table (month date, is_dropped boolean, detail text)
language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
declare
	v_last date := date_trunc('month', now() at time zone 'UTC') - interval '1 month';
	v_until timestamptz;
	v_wait text := current_setting('lock_timeout');
	v_month date;
	v_next date;
	v_tables oid[];
	v_tasks uuid[];
	v_due timestamptz[];
	v_kept jsonb;
	v_heads jsonb;
	v_name text;
	v_table oid;
begin
	if p_before > v_last then
		raise exception 'history before % cannot be dropped, runs are still written into %', p_before, to_char(v_last, 'YYYY-MM')
			using errcode = '22023', hint = format('Name %s or an earlier month.', v_last);
	end if;
	select min(to_date(right(p, 6), 'YYYYMM')) into v_month
	from takt.month_tables() t, takt.partitions_before(t.name, p_before) p where p not like '%\_kept\_%';
	if v_month is null then
		return;
	elsif not pg_try_advisory_xact_lock(hashtextextended('takt.make_partitions', 0)) then
		return query select v_month, false, 'another engine makes or drops partitions just now';
		return;
	end if;
	-- Who had the lock before may have dropped that month.
	select min(to_date(right(p, 6), 'YYYYMM')) into v_month
	from takt.month_tables() t, takt.partitions_before(t.name, p_before) p where p not like '%\_kept\_%';
	if v_month is null then
		return;
	end if;
	v_next := v_month + interval '1 month';
	-- Decisions about due times of that time whose runs are of a later one; rare, and found before anybody has to wait.
	select array_agg(r.task_id), array_agg(r.due_at) into v_tasks, v_due
	from (select run_id from takt.live union select run_id from takt.run_hold) x join takt.run r on r.id = x.run_id
	where r.due_at < v_next::timestamp at time zone 'UTC';
	begin
		for v_name in select name from takt.month_tables() loop
			execute format('create table takt.%I (like takt.%I including all)', format('%s_kept_%s', v_name, to_char(v_next, 'YYYYMM')), v_name);
		end loop;
		-- First `run`: nearly everybody comes by there, so that the others are soon free.
		select array_agg(format('takt.%I', x.name)::regclass::oid order by x.place, x.name <> 'run', x.name) into v_tables
		from (select 1 as place, t.name from takt.month_tables() t
			union all select 2, p from takt.month_tables() t, takt.partitions_before(t.name, v_next) p) x;
		perform set_config('lock_timeout', '200ms', true);
		v_until := clock_timestamp() + interval '500 ms';
		foreach v_table in array v_tables loop
			if clock_timestamp() > v_until then
				raise lock_not_available;
			end if;
			execute format('lock table only %s in access exclusive mode', v_table::regclass);
		end loop;
		perform set_config('lock_timeout', v_wait, true);
		v_kept := takt.drop_month(v_next, v_tasks, v_due);
	exception when lock_not_available then
		return query select v_month, false, 'in use by ' || coalesce(takt.lock_holders(v_tables), 'somebody who is gone again');
		return;
	end;
	insert into takt.dropped_month (month, actor, kept) values (v_month, session_user, v_kept);
	-- Each organisation is told of its own runs; takt.chain_heads() comes with the chains (0011).
	v_heads := takt.chain_heads() -> 'events';
	perform takt.audit_add(o.id, session_user, 'history.drop', 'month', to_char(v_month, 'YYYY-MM'),
		jsonb_build_object('event_heads', v_heads, 'runs_kept', (select count(*) from takt.run r where r.org_id = o.id
			and r.id >= takt.month_bound(v_month, false)::uuid and r.id < takt.month_bound(v_next, false)::uuid)))
	from takt.org o order by o.id;
	return query select v_month, true, format('%s runs moved aside', v_kept ->> 'runs');
end $$;

-- Removes one table that was dropped out of sight; null: there is none. Apart from the drop, because a file system may
-- take seconds to free gigabytes.
create function takt.remove_dropped() returns text
language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
declare
	v_name text;
begin
	select c.relname into v_name from pg_class c
	where c.relnamespace = 'takt'::regnamespace and c.relkind = 'r' and c.relname like 'dropped\_%\_______' and not c.relispartition
		and pg_try_advisory_xact_lock(hashtextextended('takt.' || c.relname, 0))
	limit 1;
	if v_name is not null then
		execute format('drop table if exists takt.%I', v_name);
	end if;
	return v_name;
end $$;

-- Holds ----------------------------------------------------------------------------------------------
-- Reading the run first keeps a drop that would take it away until this transaction is over.

create function takt.hold_json(h takt.run_hold) returns jsonb language sql stable as $$
	select jsonb_build_object('run_id', h.run_id, 'reason', h.reason, 'actor', h.actor, 'at', takt.ts(h.at))
$$;

create function takt.run_hold_put(p_id text, p_reason text) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_run uuid := takt.find_run(p_id);
	v_hold takt.run_hold;
begin
	if v_run is null then
		return query select 404, takt.not_found('run', p_id);
		return;
	end if;
	insert into takt.run_hold as h (run_id, org_id, reason, actor)
	values (v_run, takt.current_org(), p_reason, takt.current_actor())
	on conflict (run_id) do update set reason = excluded.reason, actor = excluded.actor, at = now()
	returning * into v_hold;
	perform takt.audit_mine('run.hold', 'run', v_run::text, jsonb_build_object('reason', p_reason));
	return query select 200, takt.hold_json(v_hold);
end $$;

create function takt.run_hold_end(p_id text) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_run uuid := takt.find_run(p_id);
	v_hold takt.run_hold;
begin
	if v_run is null then
		return query select 404, takt.not_found('run', p_id);
		return;
	end if;
	delete from takt.run_hold h where h.run_id = v_run returning * into v_hold;
	if not found then
		return query select 409, takt.problem('not_held', 'the run is not held');
		return;
	end if;
	perform takt.audit_mine('run.release', 'run', v_run::text, jsonb_build_object('was', v_hold.reason));
	return query select 204, null::jsonb;
end $$;

-- Lists of runs ---------------------------------------------------------------------------------------
-- By key and with a bound, whatever the filters are. What the caller names is made plain values first: row level
-- security lets only those down to the indexes, no expression on jsonb. Then one index is walked from the newest run on:
-- the task's, the device's, the rare states', or the organisation's. Volatile, so that a list that had to wait for a
-- drop sees what the drop moved.

-- The id that p_text, a time, is the first of; null if it is none.
create function takt.first_id(p_text text, p_else uuid) returns uuid language plpgsql stable as $$
begin
	return case when p_text is null then p_else
		else takt.uuid_floor(greatest(least(p_text::timestamptz, '9999-12-31'), '1970-01-01')) end;
exception when datetime_field_overflow or invalid_datetime_format then
	return null;
end $$;

-- Runs in rare states: unfinished ones out of live, others out of run_amiss. Nothing is passed over.
create function takt.runs_rare(p_task uuid, p_live text[], p_ended text[], p_before uuid, p_from uuid, p_n int)
returns setof takt.run language plpgsql volatile set plan_cache_mode = force_custom_plan as $$
declare
	v_org uuid := takt.current_org();
	v_ids uuid[];
begin
	v_ids := array(
		select id from (
			(select l.run_id as id from takt.live l
			where l.org_id = v_org and l.state = any (p_live) and (p_task is null or l.task_id = p_task)
				and l.run_id < p_before and l.run_id >= p_from
			order by l.run_id desc limit p_n)
			union all
			(select x.run_id from unnest(p_ended) s(state), lateral (select a.run_id from takt.run_amiss a
				where a.org_id = v_org and a.state = s.state and (p_task is null or a.task_id = p_task)
					and a.run_id < p_before and a.run_id >= p_from
				order by a.run_id desc limit p_n) x)) u
		order by id desc limit p_n);
	return query select r.* from takt.run r where r.id = any (v_ids);
end $$;

-- Whether the newest run of a task or device is the caller's: an index of another organisation's would be walked for
-- nothing, to its end. Tasks and devices may be gone since.
create function takt.has_run_of(p_task uuid, p_device uuid) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, takt, pg_temp as $$
begin
	return coalesce(takt.current_org() = case when p_device is null
		then (select r.org_id from takt.run r where r.task_id = p_task order by r.id desc limit 1)
		else coalesce((select a.org_id from takt.attempt_row a where a.device_id = p_device order by a.run_id desc limit 1),
			(select u.org_id from takt.unit_row u where u.device_id = p_device order by u.run_id desc limit 1),
			(select l.org_id from takt.live l where l.device_id = p_device and l.node_id is not null limit 1)) end, false);
end $$;

-- Runs in the states p_states (null: any), the newest first, at least p_n if there are so many. It looks for 20 ms; p_end
-- is where it has come to if it ended before that.
create function takt.runs_walked(p_task uuid, p_device uuid, p_states text[], p_before uuid, p_from uuid, p_n int,
	out p_runs takt.run[], out p_end uuid)
language plpgsql volatile set plan_cache_mode = force_custom_plan as $$
declare
	v_until timestamptz := clock_timestamp() + interval '20 ms';
	v_org uuid := takt.current_org();
	v_chunk int := case when p_states is null and (p_task is null or p_device is null) then p_n else 2 * p_n end;
	v_found takt.run[];
	v_seen uuid[];
	v_ids uuid[];
begin
	p_runs := '{}';
	loop
		if p_device is null then
			select array_agg(w.r order by (w.r).id desc) filter (where p_states is null or (w.r).state = any (p_states)
					or (w.r).state is null and exists (select from takt.live l where l.run_id = (w.r).id and l.state = any (p_states))),
				array_agg((w.r).id order by (w.r).id desc)
			into v_found, v_seen
			from (select r from takt.run r where r.org_id = v_org and (p_task is null or r.task_id = p_task)
				and r.id < p_before and r.id >= p_from order by r.id desc limit v_chunk) w;
		else
			-- The view `unit` would be read whole.
			v_seen := array(select distinct x.run_id from (
					(select distinct a.run_id from takt.attempt_row a
					where a.device_id = p_device and a.run_id < p_before and a.run_id >= p_from
					order by a.run_id desc limit v_chunk)
					union all
					(select distinct u.run_id from takt.unit_row u
					where u.device_id = p_device and u.run_id < p_before and u.run_id >= p_from
					order by u.run_id desc limit v_chunk)
					union all
					(select l.run_id from takt.live l
					where l.device_id = p_device and l.node_id is not null and l.run_id < p_before and l.run_id >= p_from
					order by l.run_id desc limit v_chunk)) x
				order by x.run_id desc limit v_chunk);
			-- Of rare states without a look at the runs that are not wanted.
			v_ids := case when p_states is null or 'completed' = any (p_states) then v_seen else array(
				select a.run_id from takt.run_amiss a
				where a.org_id = v_org and a.state = any (p_states) and a.run_id = any (v_seen)
				union all select l.run_id from takt.live l where l.run_id = any (v_seen)) end;
			v_found := array(select r from takt.run r
				where r.id = any (v_ids) and (p_task is null or r.task_id = p_task) and (p_states is null
					or r.state = any (p_states) or r.state is null
						and exists (select from takt.live l where l.run_id = r.id and l.state = any (p_states)))
				order by r.id desc);
		end if;
		p_runs := p_runs || coalesce(v_found, '{}');
		exit when v_seen is null or cardinality(v_seen) < v_chunk or cardinality(p_runs) >= p_n;
		p_before := v_seen[v_chunk];
		if clock_timestamp() > v_until then
			p_end := p_before;
			exit;
		end if;
		v_chunk := 250;
	end loop;
end $$;

-- A run in a list: as run_json() has it, but for the number of its last event, which would have to be looked up.
create function takt.run_item(r takt.run, l takt.live) returns jsonb language sql stable as $$
	select jsonb_build_object('id', r.id, 'code', r.code, 'task_id', r.task_id, 'task_name', r.task_name,
		'task_type', r.task_type, 'trigger', r.trigger, 'actor', r.actor, 'state', coalesce(r.state, l.state, 'queued'),
		'attempt', coalesce(r.attempts, l.attempt, 0), 'due_at', takt.ts(r.due_at), 'created_at', takt.ts(r.created_at),
		'started_at', takt.ts(coalesce(r.started_at, l.started_at)), 'finished_at', takt.ts(r.finished_at),
		'duration_ms', takt.ms(r.started_at, r.finished_at), 'summary', r.summary, 'next_at', takt.ts(l.next_at))
$$;

-- The page that q (limit, cursor, task, device, status, from, to) asks for. Filters that little passes make short pages
-- with a cursor.
create function takt.runs_page(q jsonb) returns table (status int, body jsonb) language plpgsql volatile as $$
declare
	v_limit int := (q ->> 'limit')::int;
	v_task uuid := (q ->> 'task')::uuid;
	v_device uuid := (q ->> 'device')::uuid;
	v_from uuid := takt.first_id(q ->> 'from', '00000000-0000-0000-0000-000000000000');
	v_before uuid := takt.first_id(q ->> 'to', 'ffffffff-ffff-ffff-ffff-ffffffffffff');
	v_states text[] := string_to_array(q ->> 'status', ',');
	v_live text[] := array(select s.name from takt.run_state s where not s.terminal
		and (s.name = any (v_states) or 'live' = any (v_states)));
	v_any text[] := case when v_states is not null then v_states || v_live end;
	v_runs takt.run[];
	v_end uuid;
begin
	if v_from is null or v_before is null then
		return query select 422, takt.problem('invalid_query', 'not a time', case when v_from is null then '/from' else '/to' end,
			'RFC 3339, e.g. 2030-01-31T00:00:00Z.');
		return;
	end if;
	v_before := least(v_before, takt.as_uuid(q ->> 'cursor'));
	if coalesce(v_task, v_device) is not null and not takt.has_run_of(v_task, v_device) then
		v_runs := '{}';
	elsif v_device is null and v_states is not null and not 'completed' = any (v_states) then
		v_runs := array(select r from takt.runs_rare(v_task, v_live, v_states, v_before, v_from, v_limit + 1) r order by r.id desc);
	else
		select p_runs, p_end into v_runs, v_end
		from takt.runs_walked(v_task, v_device, v_any, v_before, v_from, v_limit + 1);
	end if;
	return query select 200, takt.page(array_agg(takt.run_item(r, l) order by r.id desc), array_agg(r.id::text order by r.id desc),
			v_limit) || case when v_end is null then '{}' else jsonb_build_object('next_cursor', v_end) end
	from unnest(v_runs[1:v_limit + 1]) r left join takt.live l on l.run_id = r.id and r.state is null;
end $$;

-- Least privilege ------------------------------------------------------------------------------------

do $$
declare v_table text;
begin
	foreach v_table in array array['run_amiss', 'run_hold'] loop
		execute format('alter table takt.%I enable row level security', v_table);
		execute format('create policy tenant on takt.%I to takt_gateway using (org_id = (select takt.current_org()))
			with check (org_id = (select takt.current_org()))', v_table);
		execute format('create policy all_orgs on takt.%I to takt_engine, takt_auditor using (true) with check (true)', v_table);
		execute format('grant select on takt.%I to takt_engine, takt_gateway, takt_auditor', v_table);
	end loop;
end $$;
create policy rank_insert on takt.run_hold as restrictive for insert to takt_gateway
	with check ((select takt.current_rank()) >= 3 and actor = (select takt.current_actor()));
create policy rank_update on takt.run_hold as restrictive for update to takt_gateway
	using ((select takt.current_rank()) >= 3) with check (actor = (select takt.current_actor()));
create policy rank_delete on takt.run_hold as restrictive for delete to takt_gateway
	using ((select takt.current_rank()) >= 3);
grant insert on takt.run_amiss to takt_engine;
grant insert, update, delete on takt.run_hold to takt_gateway;
grant select on takt.dropped_month to takt_engine, takt_auditor;

revoke all on function takt.run_amiss_add(), takt.month_tables(), takt.month_bound(date, boolean), takt.missing_partitions(int),
	takt.lock_holders(oid[]),
	takt.partitions_before(text, date), takt.remove_dropped(), takt.batches_kept(uuid, uuid[]),
	takt.drop_month(date, uuid[], timestamptz[]), takt.drop_before(date), takt.hold_json(takt.run_hold),
	takt.run_hold_put(text, text), takt.run_hold_end(text), takt.first_id(text, uuid),
	takt.runs_rare(uuid, text[], text[], uuid, uuid, int), takt.has_run_of(uuid, uuid),
	takt.runs_walked(uuid, uuid, text[], uuid, uuid, int),
	takt.run_item(takt.run, takt.live), takt.runs_page(jsonb) from public;
grant execute on function takt.drop_before(date), takt.remove_dropped(), takt.missing_partitions(int), takt.month_tables() to takt_engine;
grant execute on function takt.hold_json(takt.run_hold), takt.run_hold_put(text, text), takt.run_hold_end(text), takt.first_id(text, uuid),
	takt.runs_rare(uuid, text[], text[], uuid, uuid, int), takt.has_run_of(uuid, uuid),
	takt.runs_walked(uuid, uuid, text[], uuid, uuid, int),
	takt.run_item(takt.run, takt.live), takt.runs_page(jsonb) to takt_gateway;

-- What is there already.
select takt.make_partitions(min(to_date(right(k.relname, 6), 'YYYYMM')),
	count(distinct right(k.relname, 6))::int)
from pg_inherits i join pg_class k on k.oid = i.inhrelid
where i.inhparent = 'takt.run'::regclass and k.relname ~ '_[0-9]{6}$' having count(*) > 0;
insert into takt.run_amiss (org_id, task_id, run_id, state)
select org_id, task_id, id, state from takt.run where state <> 'completed';
