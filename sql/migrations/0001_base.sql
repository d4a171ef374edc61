-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- The base schema. Run as takt_owner, in one transaction, under the migration lock.
-- The roles takt_owner, takt_engine, takt_gateway, takt_feed and takt_auditor exist already:
-- whoever makes the database makes them (takt dev, the package, an administrator; sql/README.md).

create table takt.schema_version (
	version     int primary key,
	name        text not null,
	applied_at  timestamptz not null default now()
);

-- Who -------------------------------------------------------------------------------------------

create table takt.org (
	id          uuid primary key default gen_random_uuid(),
	name        text not null unique check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
	created_at  timestamptz not null default now()
);

create table takt.token (
	id          uuid primary key default gen_random_uuid(),
	org_id      uuid not null references takt.org,
	name        text not null check (length(name) between 1 and 100),
	actor       text not null check (length(actor) between 1 and 100),
	role        text not null check (role in ('viewer', 'operator', 'admin')),
	hash        bytea not null unique check (length(hash) = 32),  -- SHA-256 of the token's text
	created_at  timestamptz not null default now(),
	expires_at  timestamptz,
	revoked_at  timestamptz,
	unique (org_id, name)
);

-- The caller's token text is in the setting takt.token of the running transaction.
create function takt.current_token() returns takt.token
language sql stable security definer set search_path = pg_catalog, takt as $$
	select t from takt.token t
	where t.hash = sha256(convert_to(current_setting('takt.token', true), 'UTF8'))
	  and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
$$;
create function takt.current_org() returns uuid
language sql stable security definer set search_path = pg_catalog, takt as $$
	select (takt.current_token()).org_id
$$;
create function takt.current_actor() returns text
language sql stable security definer set search_path = pg_catalog, takt as $$
	select (takt.current_token()).actor
$$;
-- 0 no token, 1 viewer, 2 operator, 3 admin.
create function takt.current_rank() returns int
language sql stable security definer set search_path = pg_catalog, takt as $$
	select coalesce(case (takt.current_token()).role
		when 'viewer' then 1 when 'operator' then 2 when 'admin' then 3 end, 0)
$$;

-- Every privileged change, in its transaction. Chained per organisation.
create table takt.audit (
	org_id      uuid not null,
	seq         bigint not null,
	at          timestamptz not null,
	actor       text not null,
	action      text not null,                -- 'task.create', 'run.cancel', ...
	object_type text not null,
	object_id   text not null,
	detail      jsonb not null default '{}',
	prev_hash   bytea not null,
	hash        bytea not null,
	primary key (org_id, seq)
);

create function takt.audit_add(p_org uuid, p_actor text, p_action text, p_type text, p_id text, p_detail jsonb)
returns void language plpgsql security definer set search_path = pg_catalog, takt as $$
declare
	v_prev takt.audit;
	v_at timestamptz := clock_timestamp();
	v_seq bigint;
begin
	-- A gateway that was taken over can write lies only in the name of whoever's token it holds.
	if session_user = 'takt_gateway' and (p_org is distinct from takt.current_org()
			or p_actor is distinct from takt.current_actor()) then
		raise exception 'audit row of another organisation or actor' using errcode = '42501';
	end if;
	-- Audit rows are rare: one lock per organisation makes the chain.
	perform pg_advisory_xact_lock(hashtextextended('takt.audit:' || p_org, 0));
	select * into v_prev from takt.audit where org_id = p_org order by seq desc limit 1;
	v_seq := coalesce(v_prev.seq, 0) + 1;
	insert into takt.audit values (p_org, v_seq, v_at, p_actor, p_action, p_type, p_id,
		coalesce(p_detail, '{}'), coalesce(v_prev.hash, '\x'),
		sha256(coalesce(v_prev.hash, '\x') || convert_to(concat_ws('|', p_org, v_seq, extract(epoch from v_at),
			p_actor, p_action, p_type, p_id, coalesce(p_detail, '{}')), 'UTF8')));
end $$;

-- Nodes and what they can run -------------------------------------------------------------------

create table takt.node (
	id           uuid primary key,
	no           int generated always as identity unique,  -- the short name in stream keys and cursors
	name         text not null,
	epoch        bigint not null default 0,                -- +1 at each start of the engine
	incarnation  bigint not null default 0,                -- +1 at each connect of the event connection
	boot_id      text not null default '',
	version      text not null default '',
	lease_until  timestamptz not null default '-infinity',
	started_at   timestamptz
);

-- Public half of the key that secrets and exact snapshots are sealed to (crypto_box_seal).
create table takt.seal_key (
	id          text primary key,      -- first 16 hex digits of the public key's hash
	public_key  bytea not null check (length(public_key) = 32),
	created_at  timestamptz not null default now()
);

create table takt.plugin (
	node_id     uuid not null,
	file        text not null,
	status      text not null check (status in ('loaded', 'refused')),
	reason      text not null default '',                  -- why refused, with both values
	name        text not null default '',
	version     text not null default '',
	abi         text not null default '',
	digest      text not null default '',                  -- SHA-256 of the file
	types       jsonb not null default '[]',               -- descriptors, see ARCHITECTURE.md
	seen_at     timestamptz not null default now(),
	primary key (node_id, file)
);

create table takt.platform (
	name        text primary key,
	title       text not null,
	evidence    text not null default '',
	digest      text not null default '',
	seen_at     timestamptz not null default now()
);

-- Inventory -------------------------------------------------------------------------------------
-- Foreign keys carry the organisation: their checks do not see row level security, and a row must
-- never lead to another organisation's device or credential.

create table takt.credential (
	id          uuid primary key,
	org_id      uuid not null references takt.org,
	name        text not null check (length(name) between 1 and 100),
	username    text not null default '',
	members     text[] not null,                            -- names of what is sealed, e.g. {password}
	version     int not null default 1,
	key_id      text not null references takt.seal_key,
	sealed      bytea not null,  -- seal of {"org":…,"id":…,"version":…,"secret":{…}}
	created_at  timestamptz not null default now(),
	updated_at  timestamptz not null default now(),
	unique (org_id, name),
	unique (org_id, id)
);

create table takt.device (
	id            uuid primary key,
	org_id        uuid not null references takt.org,
	name          text not null check (length(name) between 1 and 100),
	address       text not null check (length(address) between 1 and 253),
	port          int not null default 22 check (port between 1 and 65535),
	platform      text not null references takt.platform,
	credential_id uuid,
	host_key      text not null default 'tofu' check (host_key in ('strict', 'tofu')),
	created_at    timestamptz not null default now(),
	updated_at    timestamptz not null default now(),
	unique (org_id, name),
	unique (org_id, id),
	foreign key (org_id, credential_id) references takt.credential (org_id, id)
);

create table takt.host_key (
	device_id   uuid not null,
	org_id      uuid not null,
	key_type    text not null,
	public_key  text not null,       -- base64, as in known_hosts
	fingerprint text not null,       -- SHA256:…
	learned_at  timestamptz not null default now(),
	learned_by  text not null,       -- 'tofu run <id>' or an actor
	primary key (device_id, key_type),
	foreign key (org_id, device_id) references takt.device (org_id, id) on delete cascade
);

create table takt.device_group (
	id          uuid primary key,
	org_id      uuid not null references takt.org,
	name        text not null check (length(name) between 1 and 100),
	created_at  timestamptz not null default now(),
	updated_at  timestamptz not null default now(),
	unique (org_id, name),
	unique (org_id, id)
);

create table takt.group_member (
	group_id    uuid not null,
	device_id   uuid not null,
	org_id      uuid not null,
	primary key (group_id, device_id),
	foreign key (org_id, group_id) references takt.device_group (org_id, id) on delete cascade,
	foreign key (org_id, device_id) references takt.device (org_id, id) on delete cascade
);
create index group_member_device on takt.group_member (device_id);

-- Definitions -----------------------------------------------------------------------------------

create table takt.task (
	id           uuid primary key,
	org_id       uuid not null references takt.org,
	name         text not null check (length(name) between 1 and 200),
	task_type    text not null,
	revision     int not null default 1,
	enabled      boolean not null,
	definition   jsonb not null,      -- normalised; see ARCHITECTURE.md "The definition"
	last_run_at  timestamptz,
	created_at   timestamptz not null default now(),
	updated_at   timestamptz not null default now(),
	unique (org_id, name),
	unique (org_id, id)
);

create table takt.task_revision (
	task_id      uuid not null,
	revision     int not null,
	org_id       uuid not null,
	definition   jsonb not null,
	source       bytea not null,      -- the submitted bytes, returned unchanged
	actor        text not null,
	created_at   timestamptz not null default now(),
	primary key (task_id, revision),
	foreign key (org_id, task_id) references takt.task (org_id, id) on delete cascade
);

-- When: one inline schedule per task (shared schedules come as more rows with ids of their own).
create table takt.schedule (
	id           uuid primary key,    -- an inline schedule has its task's id
	org_id       uuid not null,
	task_id      uuid not null,
	kind         text not null check (kind in ('cron', 'on_demand')),
	expr         text not null default '',
	zone         text not null default 'UTC',
	dst_gap      text not null default 'run_at_gap_end' check (dst_gap in ('run_at_gap_end', 'skip')),
	dst_fold     text not null default 'first' check (dst_fold in ('first', 'second', 'both')),
	enabled      boolean not null,
	next_due_at  timestamptz,         -- null: never
	foreign key (org_id, task_id) references takt.task (org_id, id) on delete cascade
);
create index schedule_task on takt.schedule (task_id);
create index schedule_due on takt.schedule (next_due_at) where enabled and next_due_at is not null;

-- The single decision about one due instant. A skipped range is one row (until_at, n).
create table takt.occurrence (
	task_id      uuid not null,
	due_at       timestamptz not null,
	schedule_id  uuid not null,
	org_id       uuid not null,
	decision     text not null check (decision in ('fired', 'skipped', 'missed')),
	rule         text not null,       -- what decided: 'due', 'overlap.queue_full', 'catchup.latest', …
	run_id       uuid,
	until_at     timestamptz,
	n            int not null default 1,
	decided_at   timestamptz not null default clock_timestamp(),
	primary key (task_id, due_at, schedule_id)
) partition by range (due_at);

-- Commands: what touches a run, durable before it is answered.
create table takt.command (
	id            uuid primary key,
	org_id        uuid not null references takt.org,
	idem_key      text check (length(idem_key) between 1 and 200),
	request_hash  bytea not null,
	kind          text not null check (kind in ('run.create', 'run.cancel')),
	actor         text not null,
	body          jsonb not null,
	run_id        uuid,               -- run.create: minted with the command; run.cancel: the run meant
	created_at    timestamptz not null default now(),
	decided_at    timestamptz,
	status        int,                -- HTTP status of the answer
	answer        jsonb,
	unique (org_id, idem_key)
);
create index command_open on takt.command (created_at) where decided_at is null;

-- Runs: history (partitioned by month through the UUIDv7) and live ------------------------------

create table takt.run (
	id            uuid not null,
	org_id        uuid not null,
	code          text not null,
	task_id       uuid not null,
	task_revision int not null,
	task_name     text not null,
	task_type     text not null,
	trigger       text not null check (trigger in ('schedule', 'manual')),
	actor         text not null default '',
	due_at        timestamptz,        -- of the occurrence; null if manual
	created_at    timestamptz not null,
	policy        jsonb not null,     -- parameters, target, limits: the snapshot a run keeps
	state         text,               -- null while live; the terminal state after
	started_at    timestamptz,
	finished_at   timestamptz,
	attempts      int,
	summary       jsonb,              -- {"units":4,"passed":3,"failed":1,"message":"1 of 4 failed", …}
	primary key (id),
	check ((state is null) = (finished_at is null))
) partition by range (id);
create index run_task on takt.run (task_id, id);
create index run_org on takt.run (org_id, id);
create index run_code on takt.run (code);

create table takt.live (
	run_id       uuid primary key,
	org_id       uuid not null,
	task_id      uuid not null,
	state        text not null,
	epoch        bigint not null default 0,
	attempt      int not null default 0,
	node_id      uuid,
	priority     int not null default 0,
	next_at      timestamptz not null,      -- when it may be claimed
	event_seq    bigint not null default 0,
	queue_depth  boolean not null,          -- true: at most one started run of the task (overlap 'queue')
	started_at   timestamptz,
	cancel_reason text,
	moved_at     timestamptz not null default clock_timestamp()
) with (fillfactor = 70);
create index live_claim on takt.live (priority desc, next_at, run_id);
create index live_task on takt.live (task_id);
create index live_node on takt.live (node_id) where node_id is not null;
-- Two started runs of one task never overlap by default (attempt > 0: started and not finished).
create unique index live_one_started on takt.live (task_id) where queue_depth and attempt > 0;

create table takt.attempt (
	run_id       uuid not null,
	no           int not null,
	org_id       uuid not null,
	epoch        bigint not null,
	node_id      uuid not null,
	state        text not null check (state in
		('dispatched', 'running', 'passed', 'failed', 'timed_out', 'cancelled', 'lost')),
	opened_at    timestamptz not null,
	started_at   timestamptz,
	finished_at  timestamptz,
	timeout_s    int not null,
	error_class  text,
	error        jsonb,
	primary key (run_id, no)
) partition by range (run_id);

create table takt.unit (
	run_id       uuid not null,
	attempt      int not null,
	no           int not null,
	org_id       uuid not null,
	epoch        bigint not null,
	device_id    uuid,
	device_name  text not null default '',
	address      text not null default '',
	state        text not null default 'pending' check (state in
		('pending', 'running', 'passed', 'failed', 'skipped', 'cancelled')),
	started_at   timestamptz,
	finished_at  timestamptz,
	error_class  text,
	error        jsonb,               -- {"code","message","hint"}
	result       jsonb,
	snapshot_id  text,
	output_b     bigint not null default 0,
	output_cut_b bigint not null default 0,
	journal_off  bigint not null default 0,  -- bytes of the unit's journal that are in the database
	primary key (run_id, attempt, no)
) partition by range (run_id);
create index unit_device on takt.unit (device_id, run_id);

-- Events that one commit adds to one run share a row; items[i] is event first_seq + i.
create table takt.event (
	run_id       uuid not null,
	first_seq    bigint not null,
	org_id       uuid not null,
	task_id      uuid not null,
	node_no      int not null,
	incarnation  bigint not null,
	feed_seq     bigint not null,     -- gap-free per (node_no, incarnation), in commit order
	at           timestamptz not null,
	items        jsonb not null check (jsonb_typeof(items) = 'array' and jsonb_array_length(items) > 0),
	primary key (run_id, first_seq)
) partition by range (run_id);
create index event_feed on takt.event (node_no, incarnation, feed_seq);
create index event_task on takt.event (task_id, run_id);

-- One event a row, for people and lists.
create view takt.event_item with (security_invoker = true) as
	select e.run_id, e.first_seq + i.n - 1 as seq, e.org_id, e.task_id, e.node_no, e.incarnation,
	       e.feed_seq, e.at, i.item
	from takt.event e, jsonb_array_elements(e.items) with ordinality as i(item, n);

create table takt.output (
	run_id       uuid not null,
	attempt      int not null,
	unit_no      int not null,
	off          bigint not null,     -- of the chunk's first byte in the unit's output
	org_id       uuid not null,
	raw_b        int not null,
	at           timestamptz not null,
	data         bytea not null,      -- zstd
	primary key (run_id, attempt, unit_no, off)
) partition by range (run_id);
alter table takt.output alter column data set storage external;

create table takt.snapshot (
	id           text not null,       -- snap-YYYYMMDD-HHMMSS-<device up to its first dot>[-n]
	org_id       uuid not null,
	device_id    uuid not null,
	device_name  text not null,
	run_id       uuid not null,
	attempt      int not null,
	unit_no      int not null,
	captured_at  timestamptz not null,
	destination  text not null default '',
	size_b       bigint not null,
	key_id       text not null,
	exact_hash   bytea not null,      -- keyed
	exact        bytea not null,      -- seal of zstd of the bytes
	normalised   bytea not null,      -- zstd of UTF-8 text, secrets replaced
	primary key (org_id, id)
);
create index snapshot_device on takt.snapshot (device_id, captured_at desc);
create unique index snapshot_unit on takt.snapshot (run_id, attempt, unit_no);

-- Partitions: one month each, for run, attempt, unit, event, output (by run id) and occurrence (by due time).

create function takt.uuid_floor(p_at timestamptz) returns uuid
language sql immutable as $$
	select (lpad(to_hex((extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

create function takt.make_partitions(p_from date, p_months int) returns int
language plpgsql security definer set search_path = pg_catalog, takt as $$
declare
	v_month date; v_next date; v_part text; v_table text; v_made int := 0;
begin
	for i in 0 .. p_months - 1 loop
		v_month := date_trunc('month', p_from) + make_interval(months => i);
		v_next := v_month + interval '1 month';
		foreach v_table in array array['run', 'attempt', 'unit', 'event', 'output', 'occurrence'] loop
			v_part := format('%s_%s', v_table, to_char(v_month, 'YYYYMM'));
			continue when to_regclass('takt.' || v_part) is not null;
			if v_table = 'occurrence' then
				execute format('create table takt.%I partition of takt.%I for values from (%L) to (%L)',
					v_part, v_table, v_month::timestamp at time zone 'UTC', v_next::timestamp at time zone 'UTC');
			else
				execute format('create table takt.%I partition of takt.%I for values from (%L) to (%L)',
					v_part, v_table, takt.uuid_floor(v_month::timestamp at time zone 'UTC'),
					takt.uuid_floor(v_next::timestamp at time zone 'UTC'));
			end if;
			v_made := v_made + 1;
		end loop;
	end loop;
	return v_made;
end $$;

-- The state check ---------------------------------------------------------------------------------

create table takt.run_state (name text primary key, terminal boolean not null);
create table takt.run_move (
	from_state text not null references takt.run_state,
	to_state   text not null references takt.run_state,
	primary key (from_state, to_state)
);

create function takt.live_check() returns trigger language plpgsql as $$
begin
	if tg_op = 'INSERT' then
		if new.state <> 'queued' or new.epoch <> 0 or new.attempt <> 0 then
			raise exception 'run %: a run begins as queued, not as %', new.run_id, new.state using errcode = 'TK001';
		end if;
		return new;
	end if;
	if tg_op = 'DELETE' then
		-- A live row goes in the transaction that ends its run, and only then.
		if not exists (select 1 from takt.run r where r.id = old.run_id and r.state is not null
			and exists (select 1 from takt.run_move m where m.from_state = old.state and m.to_state = r.state)) then
			raise exception 'run % cannot leave live from state %', old.run_id, old.state
				using errcode = 'TK001';
		end if;
		return old;
	end if;
	if new.epoch < old.epoch or new.event_seq < old.event_seq or new.attempt < old.attempt then
		raise exception 'run %: epoch, attempt and event number never go back', new.run_id using errcode = 'TK002';
	end if;
	if new.state <> old.state then
		-- Terminal states are the run's, never a live row's.
		if not exists (select 1 from takt.run_move m join takt.run_state s on s.name = m.to_state and not s.terminal
				where m.from_state = old.state and m.to_state = new.state) then
			raise exception 'run %: % -> % is not a legal move', new.run_id, old.state, new.state
				using errcode = 'TK001';
		end if;
		new.moved_at := clock_timestamp();
	end if;
	return new;
end $$;
create trigger live_check before insert or update or delete on takt.live
	for each row execute function takt.live_check();

create function takt.run_once() returns trigger language plpgsql as $$
begin
	if old.state is not null then
		raise exception 'run % is finished and never changes', old.id using errcode = 'TK003';
	end if;
	return new;
end $$;
create trigger run_once before update on takt.run
	for each row execute function takt.run_once();

-- Least privilege ---------------------------------------------------------------------------------

grant usage on schema takt to takt_engine, takt_gateway, takt_feed, takt_auditor;
revoke all on all functions in schema takt from public;

grant select on all tables in schema takt to takt_engine, takt_auditor;
grant insert, update on takt.node, takt.plugin, takt.platform, takt.occurrence, takt.run, takt.attempt, takt.unit to takt_engine;
grant delete on takt.plugin to takt_engine;
grant insert, update, delete on takt.live to takt_engine;
grant insert on takt.event, takt.output, takt.snapshot, takt.host_key, takt.seal_key to takt_engine;
grant update (decided_at, status, answer, run_id) on takt.command to takt_engine;
grant update (last_run_at) on takt.task to takt_engine;
grant update (next_due_at) on takt.schedule to takt_engine;
grant execute on function takt.make_partitions(date, int), takt.uuid_floor(timestamptz),
	takt.audit_add(uuid, text, text, text, text, jsonb) to takt_engine;

grant select on takt.event, takt.node to takt_feed;
grant select on takt.plugin, takt.seal_key, takt.platform to takt_feed;

grant execute on function takt.current_token(), takt.current_org(), takt.current_actor(), takt.current_rank(),
	takt.audit_add(uuid, text, text, text, text, jsonb), takt.uuid_floor(timestamptz) to takt_gateway;
grant select on takt.node, takt.plugin, takt.platform, takt.seal_key, takt.run_state, takt.run_move to takt_gateway;
grant select on takt.org, takt.audit, takt.token, takt.credential, takt.device, takt.host_key, takt.device_group,
	takt.group_member, takt.task, takt.task_revision, takt.schedule, takt.occurrence, takt.command,
	takt.run, takt.live, takt.attempt, takt.unit, takt.event, takt.event_item, takt.output, takt.snapshot to takt_gateway;
grant insert on takt.token, takt.credential, takt.device, takt.device_group, takt.group_member, takt.task,
	takt.task_revision, takt.schedule, takt.command to takt_gateway;
grant update on takt.credential, takt.device, takt.device_group, takt.task, takt.schedule to takt_gateway;
grant update (revoked_at) on takt.token to takt_gateway;
grant delete on takt.credential, takt.device, takt.host_key, takt.device_group, takt.group_member, takt.task,
	takt.task_revision, takt.schedule to takt_gateway;

-- Row level security: without a live token no row is visible to the gateway. The engine and the
-- feed reader work for every organisation.
do $$
declare v_table text;
begin
	foreach v_table in array array['token', 'audit', 'credential', 'device', 'host_key', 'device_group', 'group_member',
		'task', 'task_revision', 'schedule', 'occurrence', 'command', 'run', 'live', 'attempt', 'unit',
		'event', 'output', 'snapshot'] loop
		execute format('alter table takt.%I enable row level security', v_table);
		execute format('create policy tenant on takt.%I to takt_gateway using (org_id = (select takt.current_org()))
			with check (org_id = (select takt.current_org()))', v_table);
		execute format('create policy all_orgs on takt.%I to takt_engine, takt_auditor using (true) with check (true)', v_table);
	end loop;
end $$;
-- The caller's rank holds in the database too: a gateway that was taken over can do no more than the
-- tokens it sees. Operators write tasks and commands, administrators everything else.
do $$
declare v_table text; v_rank int;
begin
	for v_table, v_rank in values ('token', 3), ('credential', 3), ('device', 3), ('host_key', 3), ('device_group', 3),
			('group_member', 3), ('task', 2), ('task_revision', 2), ('schedule', 2), ('command', 2) loop
		execute format('create policy rank_insert on takt.%I as restrictive for insert to takt_gateway
			with check ((select takt.current_rank()) >= %s)', v_table, v_rank);
		execute format('create policy rank_update on takt.%I as restrictive for update to takt_gateway
			using ((select takt.current_rank()) >= %s)', v_table, v_rank);
		execute format('create policy rank_delete on takt.%I as restrictive for delete to takt_gateway
			using ((select takt.current_rank()) >= %s)', v_table, v_rank);
	end loop;
end $$;
create policy rank_select on takt.audit as restrictive for select to takt_gateway
	using ((select takt.current_rank()) >= 3);
create policy feed on takt.event to takt_feed using (true);
alter table takt.org enable row level security;
create policy tenant on takt.org to takt_gateway using (id = (select takt.current_org()));
create policy all_orgs on takt.org to takt_engine, takt_auditor using (true);
