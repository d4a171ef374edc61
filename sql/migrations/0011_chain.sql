-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Chains over events and audit rows, and what `takt verify` leans on. Whoever changes, removes or adds a row has to
-- compute every later hash anew, and then no longer ends in a head that was written down elsewhere.
-- What is hashed is PostgreSQL's own binary form of a record (record_send): number of members, and for each its type,
-- its length and its bytes, all in network order. No setting changes it, and no two rows have the same one.

-- Audit rows: the encoding was the members joined by '|', which two different rows could share. -------------------

create function takt.audit_hash(p_prev bytea, p_org uuid, p_seq bigint, p_at timestamptz, p_actor text, p_action text,
	p_type text, p_id text, p_detail jsonb) returns bytea
language sql stable parallel safe as $$
	select sha256(record_send(row(p_prev, p_org, p_seq, p_at, p_actor, p_action, p_type, p_id, p_detail)))
$$;

create or replace function takt.audit_add(p_org uuid, p_actor text, p_action text, p_type text, p_id text, p_detail jsonb)
returns void language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
declare
	v_prev takt.audit;
	v_at timestamptz := clock_timestamp();
	v_hash bytea;
begin
	-- A gateway that was taken over can write lies only in the name of whoever's token it holds.
	if session_user = 'takt_gateway' and (p_org is distinct from takt.current_org()
			or p_actor is distinct from takt.current_actor()) then
		raise exception 'audit row of another organisation or actor' using errcode = '42501';
	end if;
	-- Audit rows are rare: one lock per organisation makes the chain.
	perform pg_advisory_xact_lock(hashtextextended('takt.audit:' || p_org, 0));
	select * into v_prev from takt.audit where org_id = p_org order by seq desc limit 1;
	v_prev.seq := coalesce(v_prev.seq, 0) + 1;
	v_prev.hash := coalesce(v_prev.hash, '\x');
	p_detail := coalesce(p_detail, '{}');
	v_hash := takt.audit_hash(v_prev.hash, p_org, v_prev.seq, v_at, p_actor, p_action, p_type, p_id, p_detail);
	insert into takt.audit values (p_org, v_prev.seq, v_at, p_actor, p_action, p_type, p_id, p_detail, v_prev.hash, v_hash);
end $$;

-- No release has written rows of the old encoding; those of a working copy are chained anew.
do $$
declare v_row takt.audit; v_org uuid; v_prev bytea;
begin
	for v_row in select * from takt.audit order by org_id, seq loop
		if v_row.org_id is distinct from v_org then
			v_org := v_row.org_id;
			v_prev := '\x';
		end if;
		update takt.audit set prev_hash = v_prev, hash = takt.audit_hash(v_prev, org_id, seq, at, actor, action,
			object_type, object_id, detail) where org_id = v_row.org_id and seq = v_row.seq returning hash into v_prev;
	end loop;
end $$;

-- Event rows: one chain a node, through all of its incarnations, a link about once a second. ------------------------

create table takt.event_link (
	node_no      int not null,
	link_no      bigint not null,
	incarnation  bigint not null,     -- a link has rows of one
	first_feed   bigint not null,
	last_feed    bigint not null,
	n            int not null,        -- how many rows: fewer are there once a month was dropped
	oldest       uuid not null,       -- the smallest row id: while its month is there, every row is
	at           timestamptz not null,
	digest       bytea not null,      -- SHA-256 of takt.event_hash() of the rows, in feed order
	prev_hash    bytea not null,
	hash         bytea not null,
	primary key (node_no, link_no),
	unique (node_no, incarnation, last_feed),
	check (first_feed <= last_feed and n > 0)
);

create function takt.event_hash(p takt.event_batch) returns bytea
language sql stable parallel safe as $$
	select sha256(record_send(row(p.id, p.org_id, p.node_no, p.incarnation, p.feed_first, p.feed_last, p.at, p.run_ids,
		p.task_ids, p.first_seqs, p.prevs, p.items)))
$$;

create function takt.link_hash(p_prev bytea, p_node_no int, p_link_no bigint, p_incarnation bigint, p_first bigint,
	p_last bigint, p_n int, p_oldest uuid, p_at timestamptz, p_digest bytea) returns bytea
language sql stable parallel safe as $$
	select sha256(record_send(row(p_prev, p_node_no, p_link_no, p_incarnation, p_first, p_last, p_n, p_oldest, p_at,
		p_digest)))
$$;

-- The last link of every chain. Written down elsewhere (`takt verify --heads`; retention puts it into its audit row), it
-- shows that a chain was cut off or made anew.
create or replace function takt.chain_heads() returns jsonb
language sql stable security definer set search_path = pg_catalog, takt, pg_temp as $$
	select jsonb_build_object(
		'events', (select coalesce(jsonb_agg(jsonb_build_object('node_no', n.no, 'link_no', l.link_no,
				'hash', encode(l.hash, 'hex')) order by n.no), '[]')
			from takt.node n, lateral (select * from takt.event_link l where l.node_no = n.no
				order by l.link_no desc limit 1) l),
		'audit', (select coalesce(jsonb_agg(jsonb_build_object('org_id', o.id, 'seq', a.seq,
				'hash', encode(a.hash, 'hex')) order by o.id), '[]')
			from takt.org o, lateral (select * from takt.audit a where a.org_id = o.id order by a.seq desc limit 1) a))
$$;

-- Append only: no statement changes these rows, also not the owner's. A month goes as a table, and what outlives it is
-- copied out of that table before.
create function takt.append_only() returns trigger language plpgsql as $$
begin
	raise exception '% is append only: % is refused', tg_table_name, lower(tg_op) using errcode = 'TK004';
end $$;
create trigger append_only before update or delete or truncate on takt.audit
	for each statement execute function takt.append_only();
create trigger append_only before update or delete or truncate on takt.event_link
	for each statement execute function takt.append_only();
create trigger append_only before update or delete on takt.event_batch
	for each row execute function takt.append_only();

-- The first id of so many days before the time of one.
create function takt.days_before(p_id uuid, p_days int) returns uuid
language sql immutable parallel safe as $$
	select (lpad(to_hex(greatest(('x' || translate(left(p_id::text, 13), '-', ''))::bit(48)::bigint - p_days * 86400000::bigint, 0)),
		12, '0') || repeat('0', 20))::uuid
$$;

-- For `takt verify` ---------------------------------------------------------------------------------------------------

-- Where history begins: the first run id behind the months that were dropped. Of the time before only what was moved
-- aside is there.
create function takt.history_floor() returns uuid
language sql stable parallel safe set search_path = pg_catalog, takt, pg_temp as $$
	select coalesce(takt.uuid_floor(((max(month) + interval '1 month')::timestamp) at time zone 'UTC'),
		'00000000-0000-0000-0000-000000000000') from takt.dropped_month
$$;
-- The same for due times.
create function takt.history_begin() returns timestamptz
language sql stable parallel safe set search_path = pg_catalog, takt, pg_temp as $$
	select coalesce(((max(month) + interval '1 month')::timestamp) at time zone 'UTC', '-infinity') from takt.dropped_month
$$;

-- The event rows of the runs of a month, p_from to before p_to; a run's first event is committed at most 25 days before
-- the time that its id says. What whole rows still hold of runs that were dropped is left out. Rows of other months are
-- passed over by the smallest and the largest run id, unread.
create function takt.month_events(p_from uuid, p_to uuid) returns table (run_id uuid, first_seq bigint, items json, batch uuid, prev uuid)
language sql stable parallel safe as $$
	select r.run_id, r.first_seq, r.items, b.id, r.prev
	from takt.event_batch b, unnest(b.run_ids, b.first_seqs, b.items, b.prevs) as r(run_id, first_seq, items, prev)
	where b.id >= takt.days_before(p_from, 26) and b.run_ids[1] < p_to and b.run_ids[cardinality(b.run_ids)] >= p_from
	and r.run_id >= p_from and r.run_id < p_to
	and (r.run_id >= takt.history_floor() or exists (select from takt.run k where k.id = r.run_id))
$$;

-- The first 20 of what a check found; nothing is called for rows that are in order.
create function takt.first_20_add(p_found text[], p_one text) returns text[]
language sql immutable strict parallel safe as $$
	select case when cardinality(p_found) < 20 then p_found || p_one else p_found end
$$;
create function takt.first_20_join(p_a text[], p_b text[]) returns text[]
language sql immutable strict parallel safe as $$ select (p_a || p_b)[1:20] $$;
create aggregate takt.first_20(text) (sfunc = takt.first_20_add, stype = text[], combinefunc = takt.first_20_join,
	initcond = '{}', parallel = safe);

revoke all on function takt.audit_hash(bytea, uuid, bigint, timestamptz, text, text, text, text, jsonb),
	takt.event_hash(takt.event_batch), takt.link_hash(bytea, int, bigint, bigint, bigint, bigint, int, uuid, timestamptz, bytea),
	takt.days_before(uuid, int), takt.month_events(uuid, uuid), takt.chain_heads(), takt.append_only(), takt.history_floor(),
	takt.history_begin(), takt.first_20_add(text[], text),
	takt.first_20_join(text[], text[]), takt.first_20(text) from public;
grant select on takt.event_link to takt_engine, takt_auditor;
grant insert on takt.event_link to takt_engine;
grant execute on function takt.event_hash(takt.event_batch),
	takt.link_hash(bytea, int, bigint, bigint, bigint, bigint, int, uuid, timestamptz, bytea) to takt_engine, takt_auditor;
grant execute on function takt.audit_hash(bytea, uuid, bigint, timestamptz, text, text, text, text, jsonb),
	takt.chain_heads(), takt.days_before(uuid, int), takt.month_events(uuid, uuid), takt.history_floor(), takt.history_begin(),
	takt.uuid_floor(timestamptz), takt.first_20_add(text[], text),
	takt.first_20_join(text[], text[]), takt.first_20(text) to takt_auditor;
