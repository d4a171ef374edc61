-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Decisions that make no run are told, too: each is an element of event_batch under an id of its own, the occurrence's
-- event_id, where a run's would stand (sql/README.md, "Events in rows of a commit").

-- Of the time of the commit's row and before it, so that a month's drop takes it along (0010, batches_kept()).
create function takt.decision_event_id(p_batch uuid) returns uuid language sql volatile as $$
	select (left(p_batch::text, 14) || '7000' || right(gen_random_uuid()::text, 18))::uuid
$$;
revoke all on function takt.decision_event_id(uuid) from public;
grant execute on function takt.decision_event_id(uuid) to takt_engine;

-- As before (0010), but a decision stays as long as its event: one that was made late lies in an earlier month than it.
create or replace function takt.drop_month(p_next date, p_tasks uuid[], p_due timestamptz[]) returns jsonb
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
				case when v_table.is_time then '(task_id, due_at) in (select * from unnest($2, $3)) or event_id >= $5'
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

-- The newest of them, of a task's last 1,000 due times.
create function takt.task_decisions(p_task uuid) returns jsonb language sql stable as $$
	select coalesce(jsonb_agg(jsonb_build_object('event_id', d.event_id, 'type', 'occurrence_' || d.decision, 'at', takt.ts(d.decided_at),
		'rule', d.rule, 'due_at', takt.ts(d.due_at), 'until_at', takt.ts(d.until_at), 'n', d.n, 'detail', d.detail)
		order by d.due_at desc), '[]')
	from (select o.* from (select o.* from takt.occurrence o where o.task_id = p_task order by o.due_at desc limit 1000) o
		where o.event_id is not null order by o.due_at desc limit 20) d
$$;

-- As before (0009); asked for by its task, with the task's decisions. A task that only ever decided against a run has no
-- events and those.
create or replace function takt.timeline(p_run uuid, p_what text, p_id text, p_since bigint, p_limit int)
returns table (status int, body jsonb) language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
	v_task uuid := case when p_what = 'task or run' then (select t.id from takt.task t where t.id = takt.as_uuid(p_id)) end;
	v_decisions jsonb := case when v_task is not null then jsonb_build_object('decisions', takt.task_decisions(v_task)) else '{}' end;
begin
	if p_run is null and v_decisions -> 'decisions' <> '[]' then
		return query select 200, jsonb_build_object('run', null, 'items', '[]'::jsonb, 'next_since', null) || v_decisions;
		return;
	end if;
	return query with item as (
		select e.first_seq + i.n - 1 as seq, jsonb_build_object('seq', e.first_seq + i.n - 1) || i.item as item
		from takt.run_events(p_run, p_since, p_since + p_limit + 1) e,
		jsonb_array_elements(e.items) with ordinality as i(item, n)
		where e.first_seq + i.n - 1 > p_since
		order by 1 limit p_limit + 1)
	select case when r.id is null then 404 else 200 end,
		case when r.id is null then takt.not_found(p_what, p_id)
		else jsonb_build_object('run', takt.run_json(r),
			'items', (select coalesce(jsonb_agg(i.item order by i.seq), '[]') from (select * from item order by seq limit p_limit) i),
			'next_since', (select (array_agg(i.seq order by i.seq))[p_limit] from item i having count(*) > p_limit)) || v_decisions end
	from (select 1) one left join takt.run r on r.id = p_run;
end $$;
revoke all on function takt.task_decisions(uuid) from public;
grant execute on function takt.task_decisions(uuid) to takt_gateway;
