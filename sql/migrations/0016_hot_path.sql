-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- What a run costs the server (sql/README.md, "Why this layout"): a claim reads nothing but `live`, a summary is kept as
-- the text that it comes in, and moves that are always legal are let through without a look at the table of moves.

-- The same ids; an SQL function was parsed and planned at each call.
create or replace function takt.uuid_v7() returns uuid language plpgsql volatile as $$
begin
	return encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing substring(int8send(
		(extract(epoch from now()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid;
end $$;

-- Read as a whole, and never searched; a jsonb of it costs seven times as much to make.
alter table takt.run alter column summary type json using summary::json;

-- What a claim has to know of the run. `queued` by an engine of an older version, a row is without: then task_type is null
-- and the run is asked.
alter table takt.live
	add column task_type     text,
	add column task_revision int,
	add column policy_hash   bigint,
	add column target        jsonb;

create function takt.policy_hash(p_policy jsonb) returns bigint
language sql immutable parallel safe as $$ select jsonb_hash_extended(p_policy, 0) $$;

-- Of a definition that cannot be read so: an hour.
create function takt.policy_timeout_s(p_policy jsonb) returns int
language sql immutable parallel safe as $$
	select case when jsonb_typeof(p_policy -> 'timeout_seconds') = 'number' and p_policy ->> 'timeout_seconds' ~ '^[0-9]{1,6}$'
		then (p_policy ->> 'timeout_seconds')::int else 3600 end
$$;

create function takt.policy_target(p_policy jsonb) returns jsonb
language sql immutable parallel safe as $$ select nullif(p_policy -> 'target', 'null') $$;

grant execute on function takt.policy_hash(jsonb), takt.policy_timeout_s(jsonb), takt.policy_target(jsonb) to takt_engine;
revoke all on function takt.policy_hash(jsonb), takt.policy_timeout_s(jsonb), takt.policy_target(jsonb) from public;

-- Each row that moves, but for the two moves that every run makes.
drop trigger live_moves on takt.live;
create or replace function takt.live_moves() returns trigger language plpgsql as $$
begin
	if new.epoch < old.epoch or new.event_seq < old.event_seq or new.attempt < old.attempt then
		raise exception 'run %: epoch, attempt and event number never go back', old.run_id using errcode = 'TK002';
	elsif new.run_id <> old.run_id or new.state <> old.state and not exists (
		-- Terminal states are the run's, never a live row's.
		select from takt.run_move m join takt.run_state s on s.name = m.to_state and not s.terminal
		where m.from_state = old.state and m.to_state = new.state) then
		raise exception 'run %: % -> % is not a legal move', old.run_id, old.state, new.state using errcode = 'TK001';
	end if;
	return null;
end $$;
create trigger live_moves after update on takt.live for each row
	when (new.run_id <> old.run_id or new.epoch < old.epoch or new.event_seq < old.event_seq or new.attempt < old.attempt
		or new.state <> old.state and not (old.state = 'queued' and new.state = 'dispatched')
		and not (old.state = 'dispatched' and new.state = 'running'))
	execute function takt.live_moves();
