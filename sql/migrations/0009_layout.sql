-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- The layout of runs, chosen by measurement (sql/README.md, "Why this layout"): what is open is in `live`, one row a run;
-- an attempt's row is written once, when it ends, and holds its unit if the run has one target or none. Readers see
-- all attempts and units in the views `attempt` and `unit`, whatever table they are in. All events of a commit are one
-- row an organisation; the view `event` shows one row a run and commit, as if they were stored so.

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
-- What one statement tells is one row an organisation: element i of the arrays is one run's events, with the feed
-- number feed_first + i - 1. Elements are in the order of run_ids, so that the last one is the largest. A run's rows are
-- a list: `last_batch` of its live row or of the run is the newest, prevs[i] the one before. Partitioned by the time of
-- the commit; a task's topic is read from the feed behind its cursor, not by task.

create table takt.event_batch (
	id           uuid not null,       -- v7, of the commit; the rows of one statement share it
	org_id       uuid not null,
	node_no      int not null,
	incarnation  bigint not null,
	feed_first   bigint not null,     -- gap-free per (node_no, incarnation), in commit order
	feed_last    bigint not null,
	at           timestamptz not null,
	run_ids      uuid[] not null,
	task_ids     uuid[] not null,
	first_seqs   bigint[] not null,   -- items[i] are the run's events first_seqs[i], first_seqs[i] + 1, …
	prevs        uuid[] not null,     -- the batch with that run's events before, or null
	items        json[] not null,     -- arrays of events, none empty
	primary key (id, org_id),
	check (cardinality(run_ids) = feed_last - feed_first + 1 and cardinality(run_ids) > 0
		and cardinality(task_ids) = cardinality(run_ids) and cardinality(first_seqs) = cardinality(run_ids)
		and cardinality(prevs) = cardinality(run_ids) and cardinality(items) = cardinality(run_ids))
) partition by range (id);
create index event_batch_feed on takt.event_batch (node_no, incarnation, feed_last);
-- Rows with a run whose id is of later than the commit (a gateway's clock was ahead): such a run may be of the next month.
create index event_batch_ahead on takt.event_batch ((run_ids[cardinality(run_ids)])) where run_ids[cardinality(run_ids)] > id;

-- lz4 takes a fifth of pglz's time; a server that was built without it does without.
do $$
declare v_column text;
begin
	foreach v_column in array array['run_ids', 'task_ids', 'first_seqs', 'prevs', 'items'] loop
		execute format('alter table takt.event_batch alter column %I set compression lz4', v_column);
	end loop;
exception when feature_not_supported then
	raise notice 'this server has no lz4: events are compressed by pglz';
end $$;

-- Where to step into a long run's list: the row that took its event number over a multiple of 64.
create table takt.event_mark (
	run_id       uuid not null,
	seq          bigint not null,     -- the last event that the row has of the run
	org_id       uuid not null,
	batch_id     uuid not null,
	primary key (run_id, seq)
) partition by range (run_id);

alter table takt.live add column last_batch uuid;
alter table takt.run add column last_batch uuid;

do $$
declare v_table text;
begin
	foreach v_table in array array['event_batch', 'event_mark'] loop
		execute format('alter table takt.%I enable row level security', v_table);
		execute format('create policy tenant on takt.%I to takt_gateway using (org_id = (select takt.current_org()))', v_table);
		execute format('create policy all_orgs on takt.%I to takt_engine, takt_auditor using (true) with check (true)', v_table);
		execute format('grant select on takt.%I to takt_engine, takt_gateway, takt_auditor', v_table);
		execute format('grant insert on takt.%I to takt_engine', v_table);
	end loop;
end $$;
create policy feed on takt.event_batch to takt_feed using (true);
grant select on takt.event_batch to takt_feed;
grant execute on function takt.uuid_v7() to takt_engine;

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
		foreach v_table in array array['run', 'attempt_row', 'unit_row', 'event_batch', 'event_mark', 'output', 'occurrence'] loop
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
-- Events as readers see them ------------------------------------------------------------------------------
-- What is there already: a row of its own for each.

select takt.make_partitions(min(to_date(right(k.relname, 6), 'YYYYMM')), count(*)::int)
from pg_inherits i join pg_class k on k.oid = i.inhrelid where i.inhparent = 'takt.event'::regclass having count(*) > 0;

create table takt.old_event as
select e.*, overlay(gen_random_uuid()::text placing left(takt.uuid_floor(e.at)::text, 13) from 1 for 13)::uuid as id
from takt.event e;
insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
	prevs, items)
select id, org_id, node_no, incarnation, feed_seq, feed_seq, at, array[run_id], array[task_id], array[first_seq],
	array[lag(id) over (partition by run_id order by first_seq)], array[items::json]
from takt.old_event;
insert into takt.event_mark (run_id, seq, org_id, batch_id)
select run_id, first_seq + jsonb_array_length(items) - 1, org_id, id from takt.old_event
where (first_seq + jsonb_array_length(items) - 1) / 64 > (first_seq - 1) / 64;
update takt.live l set last_batch = o.id
from (select distinct on (run_id) run_id, id from takt.old_event order by run_id, first_seq desc) o where o.run_id = l.run_id;
alter table takt.run disable trigger run_once;
update takt.run r set last_batch = o.id
from (select distinct on (run_id) run_id, id from takt.old_event order by run_id, first_seq desc) o
where o.run_id = r.id and r.state is not null;
alter table takt.run enable trigger run_once;
drop view takt.event_item;
drop table takt.event, takt.old_event;

-- One row a run and commit. Whole, or of a stretch of the feed; a run's are found by takt.run_events().
create view takt.event with (security_invoker = true) as
	select r.run_id, r.first_seq, b.org_id, r.task_id, b.node_no, b.incarnation, b.feed_first + r.i - 1 as feed_seq, b.at,
		r.items::jsonb as items
	from takt.event_batch b, unnest(b.run_ids, b.first_seqs, b.task_ids, b.items)
		with ordinality as r(run_id, first_seq, task_id, items, i);

-- One event a row, for people and lists.
create view takt.event_item with (security_invoker = true) as
	select e.run_id, e.first_seq + i.n - 1 as seq, e.org_id, e.task_id, e.node_no, e.incarnation,
	       e.feed_seq, e.at, i.item
	from takt.event e, jsonb_array_elements(e.items) with ordinality as i(item, n);
grant select on takt.event, takt.event_item to takt_engine, takt_gateway, takt_feed, takt_auditor;

-- A run's rows with events after number p_after, up to number p_upto (null: to its end), in order. From the mark behind
-- p_upto back to p_after, row by row, each found by its key; so that a page is as long a read as it has events.
create function takt.run_events(p_run uuid, p_after bigint default 0, p_upto bigint default null) returns setof takt.event
language sql stable as $$
	with recursive walk as (
		select b.*
		from (select r.org_id, coalesce((select m.batch_id from takt.event_mark m where m.run_id = p_run and m.seq >= p_upto
				order by m.seq limit 1), l.last_batch, r.last_batch) as id
			from takt.run r left join takt.live l on l.run_id = r.id where r.id = p_run) s,
		lateral (select e.id, e.org_id, array_position(e.run_ids, p_run) as i, e.first_seqs, e.prevs from takt.event_batch e
			where e.id = s.id and e.org_id = s.org_id offset 0) b
		union all
		select b.*
		from walk w, lateral (select e.id, e.org_id, array_position(e.run_ids, p_run) as i, e.first_seqs, e.prevs
			from takt.event_batch e where e.id = w.prevs[w.i] and e.org_id = w.org_id offset 0) b
		where w.first_seqs[w.i] > p_after + 1
	)
	select p_run, b.first_seqs[w.i], b.org_id, b.task_ids[w.i], b.node_no, b.incarnation, b.feed_first + w.i - 1, b.at,
		b.items[w.i]::jsonb
	from walk w, lateral (select * from takt.event_batch e where e.id = w.id and e.org_id = w.org_id offset 0) b
	where b.first_seqs[w.i] <= coalesce(p_upto, b.first_seqs[w.i])
	and b.first_seqs[w.i] + json_array_length(b.items[w.i]) - 1 > p_after
	order by b.first_seqs[w.i]
$$;

create or replace function takt.last_event(p_run uuid) returns bigint
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	return coalesce((select b.first_seqs[p.i] + json_array_length(b.items[p.i]) - 1
		from takt.run r left join takt.live l on l.run_id = r.id
		join takt.event_batch b on b.id = coalesce(l.last_batch, r.last_batch) and b.org_id = r.org_id,
		lateral (select array_position(b.run_ids, r.id) as i) p
		where r.id = p_run), 0);
end $$;

create or replace function takt.timeline(p_run uuid, p_what text, p_id text, p_since bigint, p_limit int)
returns table (status int, body jsonb) language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
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
			'next_since', (select (array_agg(i.seq order by i.seq))[p_limit] from item i having count(*) > p_limit)) end
	from (select 1) one left join takt.run r on r.id = p_run;
end $$;

create or replace function takt.feed_end() returns text
language sql stable security definer set search_path = pg_catalog, takt, pg_temp as $$
	select 'v1.' || coalesce(string_agg(n.no || '-' || e.incarnation || '-' || e.feed_last, '_' order by n.no), '')
	from takt.node n, lateral (select b.incarnation, b.feed_last from takt.event_batch b where b.node_no = n.no
		order by b.incarnation desc, b.feed_last desc limit 1) e
$$;

revoke all on function takt.make_partition(text, text, text, text), takt.live_begins(), takt.live_moves(), takt.live_ends(),
	takt.run_events(uuid, bigint, bigint) from public;
grant execute on function takt.run_events(uuid, bigint, bigint) to takt_engine, takt_gateway, takt_auditor;
grant execute on function takt.as_uuid(text) to takt_engine;
