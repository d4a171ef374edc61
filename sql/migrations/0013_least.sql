-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- What a review found open: privileges that nobody uses, a due time that would stop every engine, a hold on another
-- organisation's run, audit rows of viewers, and a drop that waited for an audit row while everybody waited for it.

-- Revisions and schedules go with their task, by its foreign keys; decisions and ended attempts are written once.
revoke delete on takt.task_revision, takt.schedule from takt_gateway;
revoke update on takt.attempt_row, takt.occurrence from takt_engine;

-- One infinite time made the poll of every engine fail.
alter table takt.schedule add constraint schedule_next_due_at_check
	check (next_due_at between '1970-01-01 00:00:00+00' and '9999-12-31 00:00:00+00');

-- The caller's own, as row level security shows it.
create policy own_run on takt.run_hold as restrictive for insert to takt_gateway
	with check (exists (select from takt.run r where r.id = run_id));

-- As before (0011), but for the caller's rank: no change that is audited is a viewer's.
create or replace function takt.audit_add(p_org uuid, p_actor text, p_action text, p_type text, p_id text, p_detail jsonb)
returns void language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
declare
	v_prev takt.audit;
	v_at timestamptz := clock_timestamp();
	v_hash bytea;
begin
	-- A gateway that was taken over can write lies only in the name of whoever's token it holds.
	if session_user = 'takt_gateway' and (p_org is distinct from takt.current_org()
			or p_actor is distinct from takt.current_actor() or takt.current_rank() < 2) then
		raise exception 'audit row of another organisation or actor, or of a viewer' using errcode = '42501';
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

-- As before (0010), but for the locks of the audit rows. Its own waiting: 200 ms a lock, 500 ms in all.
create or replace function takt.drop_before(p_before date)
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
	v_org uuid;
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
		-- The audit rows come last: whoever writes one just now must not make everybody wait who waits for these tables.
		for v_org in select id from takt.org order by id loop
			if clock_timestamp() > v_until then
				raise lock_not_available;
			end if;
			perform pg_advisory_xact_lock(hashtextextended('takt.audit:' || v_org, 0));
		end loop;
		perform set_config('lock_timeout', v_wait, true);
		v_kept := takt.drop_month(v_next, v_tasks, v_due);
	exception when lock_not_available then
		return query select v_month, false, 'in use by ' || coalesce(takt.lock_holders(v_tables),
			'somebody who writes an audit row, or who is gone again');
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
