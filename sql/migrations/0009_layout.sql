-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- The layout of runs, chosen by measurement (sql/README.md, "Why this layout"): what is open is in `live`, one row a run;
-- an attempt's row is written once, when it ends, and holds its unit if the run has one target or none. Readers see
-- all attempts and units in the views `attempt` and `unit`, whatever table they are in.

-- Live rows -----------------------------------------------------------------------------------------
-- An attempt is open while node_id is set.

alter table takt.live
	add column opened_at          timestamptz,             -- of the last attempt, like all that follows
	add column attempt_started_at timestamptz,
	add column timeout_s          int,
	add column taken_from         uuid,                    -- the node that had it before it was rescued
	add column units              int,                     -- of the first attempt: with more than one they are in unit_row
	add column device_id          uuid,
	add column device_name        text not null default '',
	add column address            text not null default '',
	add column journal_off        bigint not null default 0,
	add column output_b           bigint not null default 0,
	add column output_cut_b       bigint not null default 0,
	drop column moved_at;

update takt.live l set opened_at = a.opened_at, attempt_started_at = a.started_at, timeout_s = a.timeout_s,
	taken_from = a.taken_from, units = 2
from takt.attempt a where a.run_id = l.run_id and a.no = l.attempt;

-- An index whose predicate names `state` or `attempt` makes a claim a new entry in the primary key too; it is still
-- cheaper than entries of runs that nobody can claim, and the last one is a guarantee.
drop index takt.live_claim, takt.live_task, takt.live_node;
create index live_claim on takt.live (priority desc, next_at, run_id) where state = 'queued';
create index live_retry on takt.live (next_at) where state = 'retry_wait';
create index live_task on takt.live (task_id) where state = 'queued' and attempt = 0;

-- Attempts and units ----------------------------------------------------------------------------------

alter table takt.attempt rename to attempt_row;
alter table takt.unit rename to unit_row;
do $$
declare v_part text;
begin
	for v_part in select k.relname from pg_inherits i join pg_class k on k.oid = i.inhrelid join pg_class c on c.oid = i.inhparent
			where c.relnamespace = 'takt'::regnamespace and c.relname in ('attempt_row', 'unit_row') and c.relkind = 'p' loop
		execute format('alter table takt.%I rename to %I', v_part, replace(v_part, '_', '_row_'));
	end loop;
end $$;

-- Those that are open now are taken over into `live`.
delete from takt.attempt_row a using takt.live l
where l.run_id = a.run_id and l.attempt = a.no and l.node_id is not null;

alter table takt.attempt_row
	drop constraint attempt_state_check,
	add constraint attempt_row_state_check check (state in ('passed', 'failed', 'timed_out', 'cancelled', 'lost')),
	add column unit_state   text check (unit_state in ('passed', 'failed', 'skipped', 'cancelled')),  -- null: units are rows, or none
	add column device_id    uuid,
	add column device_name  text not null default '',
	add column address      text not null default '',
	add column result       jsonb,
	add column snapshot_id  text,
	add column output_b     bigint not null default 0,
	add column output_cut_b bigint not null default 0,
	add column journal_off  bigint not null default 0;
create index attempt_device on takt.attempt_row (device_id, run_id) where device_id is not null;

create view takt.attempt with (security_invoker = true) as
	select run_id, no, org_id, epoch, node_id, state, opened_at, started_at, finished_at, timeout_s, error_class, error,
		taken_from
	from takt.attempt_row
	union all
	select run_id, attempt, org_id, epoch, node_id, case when attempt_started_at is null then 'dispatched' else 'running' end,
		opened_at, attempt_started_at, null, timeout_s, null, null, taken_from
	from takt.live where node_id is not null;

create view takt.unit with (security_invoker = true) as
	select run_id, attempt, no, org_id, epoch, device_id, device_name, address, state, started_at, finished_at, error_class,
		error, result, snapshot_id, output_b, output_cut_b, journal_off
	from takt.unit_row
	union all
	select run_id, no, 0, org_id, epoch, device_id, device_name, address, unit_state, started_at, finished_at, error_class,
		error, result, snapshot_id, output_b, output_cut_b, journal_off
	from takt.attempt_row where unit_state is not null
	union all
	select run_id, attempt, 0, org_id, epoch, device_id, device_name, address,
		case when attempt_started_at is null then 'pending' else 'running' end, attempt_started_at, null, null, null, null, null,
		output_b, output_cut_b, journal_off
	from takt.live where node_id is not null and units = 1;
grant select on takt.attempt, takt.unit to takt_engine, takt_gateway, takt_auditor;

-- Events ----------------------------------------------------------------------------------------------
-- A task's topic is read from the feed behind its cursor, not by task.
drop index takt.event_task;

-- The state check, of a whole statement at once -----------------------------------------------------------

drop trigger live_check on takt.live;
drop function takt.live_check();

create function takt.live_begins() returns trigger language plpgsql as $$
declare v_bad record;
begin
	select run_id, state into v_bad from new_rows where state <> 'queued' or epoch <> 0 or attempt <> 0 limit 1;
	if found then
		raise exception 'run %: a run begins as queued, not as %', v_bad.run_id, v_bad.state using errcode = 'TK001';
	end if;
	return null;
end $$;

create function takt.live_moves() returns trigger language plpgsql as $$
declare v_bad record;
begin
	select o.run_id, o.state as was, n.state,
		n.epoch < o.epoch or n.event_seq < o.event_seq or n.attempt < o.attempt as is_back
	into v_bad
	from old_rows o left join new_rows n on n.run_id = o.run_id
	where n.run_id is null or n.epoch < o.epoch or n.event_seq < o.event_seq or n.attempt < o.attempt
	-- Terminal states are the run's, never a live row's.
	or (n.state <> o.state and (o.state, n.state) not in (select m.from_state, m.to_state
		from takt.run_move m join takt.run_state s on s.name = m.to_state and not s.terminal))
	limit 1;
	if not found then
		return null;
	elsif v_bad.is_back then
		raise exception 'run %: epoch, attempt and event number never go back', v_bad.run_id using errcode = 'TK002';
	end if;
	raise exception 'run %: % -> % is not a legal move', v_bad.run_id, v_bad.was, v_bad.state using errcode = 'TK001';
end $$;

-- A live row goes in the transaction that ends its run, and only then. What started and ended in one commit was running
-- in between.
create function takt.live_ends() returns trigger language plpgsql as $$
declare v_bad record;
begin
	select o.run_id, o.state into v_bad
	from old_rows o left join takt.run r on r.id = o.run_id
	where r.state is null
	or (case when o.state = 'dispatched' and r.started_at is not null then 'running' else o.state end, r.state)
		not in (select m.from_state, m.to_state from takt.run_move m)
	limit 1;
	if found then
		raise exception 'run % cannot leave live from state %', v_bad.run_id, v_bad.state using errcode = 'TK001';
	end if;
	return null;
end $$;

create trigger live_begins after insert on takt.live referencing new table as new_rows
	for each statement execute function takt.live_begins();
create trigger live_moves after update on takt.live referencing old table as old_rows new table as new_rows
	for each statement execute function takt.live_moves();
create trigger live_ends after delete on takt.live referencing old table as old_rows
	for each statement execute function takt.live_ends();

-- Not before: that would lock each row once more.
drop trigger run_once on takt.run;
create trigger run_once after update on takt.run
	for each row when (old.state is not null) execute function takt.run_once();

-- Partitions: half of a page of `run` stays free, so that the update at a run's end stays in its page and touches no
-- index. -----------------------------------------------------------------------------------------------

create function takt.make_partition(p_table text, p_part text, p_from text, p_to text) returns void
language plpgsql set search_path = pg_catalog, takt, pg_temp as $$
begin
	execute format('create table takt.%I (like takt.%I including all) with (fillfactor = %s)', p_part, p_table,
		case p_table when 'run' then 45 else 100 end);
	execute format('alter table takt.%I attach partition takt.%I for values from (%L) to (%L)', p_table, p_part, p_from, p_to);
end $$;

create or replace function takt.make_partitions(p_from date, p_months int) returns int
language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
declare
	v_month date; v_next date; v_part text; v_table text; v_made int := 0;
begin
	for i in 0 .. p_months - 1 loop
		v_month := date_trunc('month', p_from) + make_interval(months => i);
		v_next := v_month + interval '1 month';
		foreach v_table in array array['run', 'attempt_row', 'unit_row', 'event', 'output', 'occurrence'] loop
			v_part := format('%s_%s', v_table, to_char(v_month, 'YYYYMM'));
			continue when to_regclass('takt.' || v_part) is not null;
			perform pg_advisory_xact_lock(hashtextextended('takt.make_partitions', 0));
			-- to_regclass() would remember that there was none
			continue when exists (select 1 from pg_class where relname = v_part and relnamespace = 'takt'::regnamespace);
			perform takt.make_partition(v_table, v_part,
				case v_table when 'occurrence' then (v_month::timestamp at time zone 'UTC')::text
					else takt.uuid_floor(v_month::timestamp at time zone 'UTC')::text end,
				case v_table when 'occurrence' then (v_next::timestamp at time zone 'UTC')::text
					else takt.uuid_floor(v_next::timestamp at time zone 'UTC')::text end);
			v_made := v_made + 1;
		end loop;
	end loop;
	return v_made;
end $$;
revoke all on function takt.make_partition(text, text, text, text), takt.live_begins(), takt.live_moves(), takt.live_ends()
	from public;
grant execute on function takt.as_uuid(text) to takt_engine;
