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
