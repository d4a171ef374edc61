-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- What ten million runs of history showed: checks that asked for the same thing at each row, and lists that walked the
-- wrong index.

-- As before (0011), but where history begins is asked once a check instead of once an event row: that was most of what
-- `takt verify` did.
create or replace function takt.month_events(p_from uuid, p_to uuid)
returns table (run_id uuid, first_seq bigint, items json, batch uuid, prev uuid)
language sql stable parallel safe as $$
	select r.run_id, r.first_seq, r.items, b.id, r.prev
	from takt.event_batch b, unnest(b.run_ids, b.first_seqs, b.items, b.prevs) as r(run_id, first_seq, items, prev)
	where b.id >= takt.days_before(p_from, 26) and b.run_ids[1] < p_to and b.run_ids[cardinality(b.run_ids)] >= p_from
	and r.run_id >= p_from and r.run_id < p_to
	and (r.run_id >= (select takt.history_floor()) or exists (select from takt.run k where k.id = r.run_id))
$$;

-- Lists of runs: ids first, each walk with a single index that can do it ---------------------------------------------------

drop function takt.runs_rare(uuid, text[], text[], uuid, uuid, int), takt.runs_walked(uuid, uuid, text[], uuid, uuid, int),
	takt.run_item(takt.run, takt.live), takt.runs_page(jsonb);

-- As before (0010), by one step in one index. Bounds stand where an equality would do, and the order names both columns:
-- so only the index of both has that order. By equality the planner could also take the primary key, and pass over all
-- newer runs of others to its end; it does so where statistics say that most runs are of this one.
create or replace function takt.has_run_of(p_task uuid, p_device uuid) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, takt, pg_temp
set plan_cache_mode = force_generic_plan as $$
begin
	if p_device is null then
		return coalesce(takt.current_org() = (select r.org_id from takt.run r where r.task_id between p_task and p_task
			order by r.task_id desc, r.id desc limit 1), false);
	end if;
	return coalesce(takt.current_org() = coalesce(
		(select a.org_id from takt.attempt_row a where a.device_id between p_device and p_device
			order by a.device_id desc, a.run_id desc limit 1),
		(select u.org_id from takt.unit_row u where u.device_id between p_device and p_device
			order by u.device_id desc, u.run_id desc limit 1),
		(select l.org_id from takt.live l where l.device_id = p_device and l.node_id is not null limit 1)), false);
end $$;

-- The newest ids of runs of a task, a device or all of the caller's organisation. As the owner: row level security would be
-- an equality again. It gives ids only; what a run is, the caller reads by itself.
create function takt.run_ids(p_task uuid, p_device uuid, p_before uuid, p_from uuid, p_n int) returns uuid[]
language plpgsql volatile security definer set search_path = pg_catalog, takt, pg_temp
set plan_cache_mode = force_generic_plan as $$
declare
	v_org uuid := takt.current_org();
begin
	if p_device is not null then
		return array(select distinct x.run_id from (
				(select distinct on (a.device_id, a.run_id) a.run_id from takt.attempt_row a
				where a.device_id between p_device and p_device and a.org_id = v_org and a.run_id < p_before and a.run_id >= p_from
				order by a.device_id desc, a.run_id desc limit p_n)
				union all
				(select distinct on (u.device_id, u.run_id) u.run_id from takt.unit_row u
				where u.device_id between p_device and p_device and u.org_id = v_org and u.run_id < p_before and u.run_id >= p_from
				order by u.device_id desc, u.run_id desc limit p_n)
				union all
				(select l.run_id from takt.live l
				where l.device_id = p_device and l.node_id is not null and l.org_id = v_org and l.run_id < p_before
					and l.run_id >= p_from
				order by l.run_id desc limit p_n)) x
			order by x.run_id desc limit p_n);
	elsif p_task is not null then
		return array(select r.id from takt.run r
			where r.task_id between p_task and p_task and r.org_id = v_org and r.id < p_before and r.id >= p_from
			order by r.task_id desc, r.id desc limit p_n);
	end if;
	return array(select r.id from takt.run r
		where r.org_id between v_org and v_org and r.id < p_before and r.id >= p_from
		order by r.org_id desc, r.id desc limit p_n);
end $$;

-- Runs in rare states: unfinished ones out of live, others out of run_amiss. Nothing is passed over.
create function takt.runs_rare(p_task uuid, p_live text[], p_ended text[], p_before uuid, p_from uuid, p_n int)
returns uuid[] language plpgsql volatile set plan_cache_mode = force_custom_plan as $$
declare
	v_org uuid := takt.current_org();
begin
	return array(
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
end $$;

-- Runs in the states p_states (null: any), the newest first, at least p_n if there are so many. It looks for 20 ms; p_end
-- is where it has come to if it ended before that.
create function takt.runs_walked(p_task uuid, p_device uuid, p_states text[], p_before uuid, p_from uuid, p_n int,
	out p_ids uuid[], out p_end uuid)
language plpgsql volatile set plan_cache_mode = force_generic_plan as $$
declare
	v_until timestamptz := clock_timestamp() + interval '20 ms';
	v_org uuid := takt.current_org();
	v_is_all boolean := p_states is null and (p_task is null or p_device is null);
	v_chunk int := case when v_is_all then p_n else 2 * p_n end;
	v_seen uuid[];
	v_ids uuid[];
begin
	p_ids := '{}';
	loop
		v_seen := takt.run_ids(p_task, p_device, p_before, p_from, v_chunk);
		-- Of rare states without a look at the runs that are not wanted.
		if not v_is_all then
			v_ids := case when p_states is null or 'completed' = any (p_states) then v_seen else array(
				select i from unnest(v_seen) i, lateral (select from takt.run_amiss a
					where a.run_id = i and a.org_id = v_org and a.state = any (p_states) offset 0) a
				union all select l.run_id from takt.live l where l.run_id = any (v_seen)) end;
			v_ids := array(select i from unnest(v_ids) i,
				lateral (select r.task_id, r.state from takt.run r where r.id = i offset 0) r
				where (p_task is null or r.task_id = p_task) and (p_states is null or r.state = any (p_states)
					or r.state is null and exists (select from takt.live l where l.run_id = i and l.state = any (p_states)))
				order by i desc);
		end if;
		p_ids := p_ids || case when v_is_all then v_seen else v_ids end;
		exit when cardinality(v_seen) < v_chunk or cardinality(p_ids) >= p_n;
		p_before := v_seen[v_chunk];
		if clock_timestamp() > v_until then
			p_end := p_before;
			exit;
		end if;
		v_chunk := 250;
	end loop;
end $$;

-- A run in a list, as text: jsonb would be taken apart and put together four times on its way. As run_json() has it, but for
-- the number of its last event, which would have to be looked up.
create function takt.run_item(r takt.run, l takt.live) returns json language sql stable as $$
	select json_build_object('id', r.id, 'code', r.code, 'task_id', r.task_id, 'task_name', r.task_name,
		'task_type', r.task_type, 'trigger', r.trigger, 'actor', r.actor, 'state', coalesce(r.state, l.state, 'queued'),
		'attempt', coalesce(r.attempts, l.attempt, 0), 'due_at', takt.ts(r.due_at), 'created_at', takt.ts(r.created_at),
		'started_at', takt.ts(coalesce(r.started_at, l.started_at)), 'finished_at', takt.ts(r.finished_at),
		'duration_ms', takt.ms(r.started_at, r.finished_at), 'summary', r.summary, 'next_at', takt.ts(l.next_at))
$$;

-- As before (0010), with ids. Rows are found one by one: an element of an array leaves no partition out.
create function takt.runs_page(q jsonb) returns table (status int, body json)
language plpgsql volatile set plan_cache_mode = force_generic_plan as $$
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
	v_ids uuid[];
	v_end uuid;
begin
	if v_from is null or v_before is null then
		return query select 422, takt.problem('invalid_query', 'not a time', case when v_from is null then '/from' else '/to' end,
			'RFC 3339, e.g. 2030-01-31T00:00:00Z.')::json;
		return;
	end if;
	v_before := least(v_before, takt.as_uuid(q ->> 'cursor'));
	if coalesce(v_task, v_device) is not null and not takt.has_run_of(v_task, v_device) then
		v_ids := '{}';
	elsif v_device is null and v_states is not null and not 'completed' = any (v_states) then
		v_ids := takt.runs_rare(v_task, v_live, v_states, v_before, v_from, v_limit + 1);
	else
		select p_ids, p_end into v_ids, v_end
		from takt.runs_walked(v_task, v_device, v_any, v_before, v_from, v_limit + 1);
	end if;
	return query select 200, json_build_object('items', coalesce(json_agg(takt.run_item(r, l.l) order by i desc), '[]'),
			'next_cursor', coalesce(v_end, case when cardinality(v_ids) > v_limit then v_ids[v_limit] end))
	from unnest(v_ids[1:v_limit]) i join takt.run r on r.id = i
	left join lateral (select l from takt.live l where r.state is null and l.run_id = r.id offset 0) l on true;
end $$;

revoke all on function takt.run_ids(uuid, uuid, uuid, uuid, int), takt.runs_rare(uuid, text[], text[], uuid, uuid, int),
	takt.runs_walked(uuid, uuid, text[], uuid, uuid, int), takt.run_item(takt.run, takt.live), takt.runs_page(jsonb) from public;
grant execute on function takt.run_ids(uuid, uuid, uuid, uuid, int), takt.runs_rare(uuid, text[], text[], uuid, uuid, int),
	takt.runs_walked(uuid, uuid, text[], uuid, uuid, int), takt.run_item(takt.run, takt.live), takt.runs_page(jsonb)
	to takt_gateway;
