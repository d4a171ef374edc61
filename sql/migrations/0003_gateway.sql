-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- What the gateway's statements (sql/api/) share: the session, the shapes of the objects they answer with,
-- problems, pages. Plain functions run as the caller, so row level security holds inside them too.

-- Begins every request's transaction. The caller's token goes into takt.token for the rest of the transaction;
-- without a live one, or with one below the rank needed, the error aborts whatever is pipelined behind.
create function takt.session(p_token text, p_rank int) returns int language plpgsql as $$
declare
	v_rank int;
begin
	perform set_config('takt.token', coalesce(p_token, ''), true);
	v_rank := takt.current_rank();
	if v_rank = 0 then
		raise exception 'the token is not known, has expired or was revoked' using errcode = 'TK401';
	elsif v_rank < p_rank then
		raise exception 'this needs the role %, the token has %', (array['viewer', 'operator', 'admin'])[p_rank],
			(array['viewer', 'operator', 'admin'])[v_rank] using errcode = 'TK403';
	end if;
	return v_rank;
end $$;

create function takt.ts(p_at timestamptz) returns text language sql stable as $$
	select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

create function takt.ms(p_from timestamptz, p_to timestamptz) returns bigint language sql immutable as $$
	select (extract(epoch from p_to - p_from) * 1000)::bigint
$$;

-- The uuid that a text is, or null.
create function takt.as_uuid(p_text text) returns uuid language sql immutable as $$
	select case when p_text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_text::uuid end
$$;

-- A UUIDv7 of the transaction's time.
create function takt.uuid_v7() returns uuid language sql volatile as $$
	select (left(lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0'), 12) || '7' || substr(r, 14, 3)
		|| to_hex(8 + (('x' || substr(r, 17, 1))::bit(4)::int & 3)) || substr(r, 18, 15))::uuid
	from replace(gen_random_uuid()::text, '-', '') as r
$$;

create function takt.problem(p_code text, p_detail text, p_pointer text default null, p_hint text default null)
returns jsonb language sql immutable as $$
	select jsonb_build_object('code', p_code, 'detail', p_detail) || case when p_pointer is null then '{}' else
		jsonb_build_object('errors', jsonb_build_array(jsonb_strip_nulls(
			jsonb_build_object('pointer', p_pointer, 'detail', p_detail, 'hint', p_hint)))) end
$$;

create function takt.not_found(p_what text, p_id text) returns jsonb language sql immutable as $$
	select takt.problem('not_found', 'there is no ' || p_what || ' ' || left(p_id, 80))
$$;

-- A page out of limit + 1 items; the cursor is the key of its last item.
create function takt.page(p_items jsonb[], p_keys text[], p_limit int) returns jsonb language sql immutable as $$
	select jsonb_build_object('items', to_jsonb(coalesce(p_items[1:p_limit], '{}')),
		'next_cursor', case when cardinality(p_keys) > p_limit then p_keys[p_limit] end)
$$;

-- Functions that read partitioned tables by key keep a generic plan for the session: planning costs more than running.

-- Objects -----------------------------------------------------------------------------------------

create function takt.task_json(t takt.task) returns jsonb language sql stable as $$
	select t.definition || jsonb_build_object('id', t.id, 'revision', t.revision, 'enabled', t.enabled,
		'next_run_at', (select takt.ts(min(s.next_due_at)) from takt.schedule s where s.task_id = t.id and s.enabled),
		'last_run_at', takt.ts(t.last_run_at), 'created_at', takt.ts(t.created_at), 'updated_at', takt.ts(t.updated_at))
$$;

-- Things in a definition that are allowed and will make a run fail as it stands.
create function takt.task_warnings(d jsonb) returns jsonb language sql stable as $$
	select coalesce(jsonb_agg(w), '[]') from (
		select jsonb_build_object('pointer', '/parameters/target_id',
			'detail', 'there is no ' || replace(d #>> '{target,type}', '_', ' ') || ' ' || (d #>> '{target,id}') || ' yet',
			'hint', 'Create it with this id; until then a run fails with class parameters.') w
		where d #>> '{target,id}' is not null and case d #>> '{target,type}'
			when 'device' then not exists (select 1 from takt.device where id = (d #>> '{target,id}')::uuid)
			else not exists (select 1 from takt.device_group where id = (d #>> '{target,id}')::uuid) end
		union all
		select jsonb_build_object('pointer', '/parameters/target_id', 'detail', 'the device group has no members',
			'hint', 'Add devices to it; a run without targets fails with class parameters.')
		where d #>> '{target,type}' = 'device_group'
			and exists (select 1 from takt.device_group where id = (d #>> '{target,id}')::uuid)
			and not exists (select 1 from takt.group_member where group_id = (d #>> '{target,id}')::uuid)) x
$$;

create function takt.last_event(p_run uuid) returns bigint
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	return coalesce((select e.first_seq + jsonb_array_length(e.items) - 1 from takt.event e
		where e.run_id = p_run order by e.first_seq desc limit 1), 0);
end $$;

create function takt.run_json(r takt.run) returns jsonb
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
	l takt.live;
begin
	if r.state is null then
		select * into l from takt.live where run_id = r.id;
	end if;
	return jsonb_build_object('id', r.id, 'code', r.code, 'task_id', r.task_id, 'task_name', r.task_name,
		'task_type', r.task_type, 'trigger', r.trigger, 'actor', r.actor, 'state', coalesce(r.state, l.state, 'queued'),
		'attempt', coalesce(r.attempts, l.attempt, 0), 'due_at', takt.ts(r.due_at), 'created_at', takt.ts(r.created_at),
		'started_at', takt.ts(coalesce(r.started_at, l.started_at)), 'finished_at', takt.ts(r.finished_at),
		'duration_ms', takt.ms(r.started_at, r.finished_at), 'summary', r.summary,
		'next_at', takt.ts(l.next_at), 'last_event', coalesce(l.event_seq, takt.last_event(r.id)));
end $$;

-- A run by its id or code, null if there is none in the caller's organisation.
create function takt.find_run(p_id text) returns uuid
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	if takt.as_uuid(p_id) is not null then
		return (select r.id from takt.run r where r.id = takt.as_uuid(p_id));
	end if;
	return (select r.id from takt.run r where r.code = upper(p_id) order by r.id desc limit 1);
end $$;

-- The same, or the latest run of a task.
create function takt.find_any(p_id text) returns uuid
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	return coalesce(takt.find_run(p_id),
		(select r.id from takt.run r where r.task_id = takt.as_uuid(p_id) order by r.id desc limit 1));
end $$;

create function takt.timeline(p_run uuid, p_what text, p_id text, p_since bigint, p_limit int)
returns table (status int, body jsonb) language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	return query with item as (
		select e.first_seq + i.n - 1 as seq, jsonb_build_object('seq', e.first_seq + i.n - 1) || i.item as item
		from takt.event e, jsonb_array_elements(e.items) with ordinality as i(item, n)
		where e.run_id = p_run and e.first_seq + i.n - 1 > p_since
		-- rows before the one that holds p_since are passed over by key
		and e.first_seq >= coalesce((select max(f.first_seq) from takt.event f
			where f.run_id = p_run and f.first_seq <= p_since + 1), 0)
		order by 1 limit p_limit + 1)
	select case when r.id is null then 404 else 200 end,
		case when r.id is null then takt.not_found(p_what, p_id)
		else jsonb_build_object('run', takt.run_json(r),
			'items', (select coalesce(jsonb_agg(i.item order by i.seq), '[]') from (select * from item order by seq limit p_limit) i),
			'next_since', (select (array_agg(i.seq order by i.seq))[p_limit] from item i having count(*) > p_limit)) end
	from (select 1) one left join takt.run r on r.id = p_run;
end $$;

create function takt.attempts(p_run uuid, p_what text, p_id text)
returns table (status int, body jsonb) language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	return query select case when r.id is null then 404 else 200 end,
		case when r.id is null then takt.not_found(p_what, p_id)
		else jsonb_build_object('run', takt.run_json(r), 'items', (select coalesce(jsonb_agg(jsonb_build_object(
			'no', a.no, 'state', a.state, 'epoch', a.epoch, 'node', n.name, 'opened_at', takt.ts(a.opened_at),
			'started_at', takt.ts(a.started_at), 'finished_at', takt.ts(a.finished_at),
			'duration_ms', takt.ms(a.started_at, a.finished_at), 'timeout_seconds', a.timeout_s,
			'error_class', a.error_class, 'error', a.error, 'units', u.n, 'passed', u.passed, 'failed', u.failed)
			order by a.no), '[]')
			from takt.attempt a left join takt.node n on n.id = a.node_id,
			lateral (select count(*) n, count(*) filter (where state = 'passed') passed,
				count(*) filter (where state = 'failed') failed
				from takt.unit where run_id = a.run_id and attempt = a.no) u
			where a.run_id = r.id)) end
	from (select 1) one left join takt.run r on r.id = p_run;
end $$;

create function takt.device_json(d takt.device) returns jsonb language sql stable as $$
	select jsonb_build_object('id', d.id, 'name', d.name, 'address', d.address, 'port', d.port, 'platform', d.platform,
		'credential_id', d.credential_id, 'credential', (select c.name from takt.credential c where c.id = d.credential_id),
		'host_key', d.host_key, 'groups', (select coalesce(jsonb_agg(g.name order by g.name), '[]')
			from takt.group_member m join takt.device_group g on g.id = m.group_id where m.device_id = d.id),
		'created_at', takt.ts(d.created_at), 'updated_at', takt.ts(d.updated_at))
$$;

create function takt.group_json(g takt.device_group) returns jsonb language sql stable as $$
	select jsonb_build_object('id', g.id, 'name', g.name, 'devices', (
			select coalesce(jsonb_agg(jsonb_build_object('id', d.id, 'name', d.name) order by d.name), '[]')
			from takt.group_member m join takt.device d on d.id = m.device_id where m.group_id = g.id),
		'created_at', takt.ts(g.created_at), 'updated_at', takt.ts(g.updated_at))
$$;

create function takt.credential_json(c takt.credential) returns jsonb language sql stable as $$
	select jsonb_build_object('id', c.id, 'name', c.name, 'username', c.username, 'members', c.members,
		'version', c.version, 'created_at', takt.ts(c.created_at), 'updated_at', takt.ts(c.updated_at))
$$;

create function takt.token_json(t takt.token) returns jsonb language sql stable as $$
	select jsonb_build_object('id', t.id, 'name', t.name, 'actor', t.actor, 'role', t.role,
		'created_at', takt.ts(t.created_at), 'expires_at', takt.ts(t.expires_at), 'revoked_at', takt.ts(t.revoked_at))
$$;

create function takt.snapshot_json(s takt.snapshot) returns jsonb language sql stable as $$
	select jsonb_build_object('id', s.id, 'device_id', s.device_id, 'device_name', s.device_name, 'run_id', s.run_id,
		'attempt', s.attempt, 'unit', s.unit_no, 'captured_at', takt.ts(s.captured_at), 'destination', s.destination,
		'size_bytes', s.size_b)
$$;

-- Changes ------------------------------------------------------------------------------------------
-- One audit row each, in the same statement. Unique names are checked by the constraint itself.

create function takt.audit_mine(p_action text, p_type text, p_id text, p_detail jsonb default '{}') returns void
language sql volatile as $$
	select takt.audit_add(takt.current_org(), takt.current_actor(), p_action, p_type, p_id, p_detail)
$$;

-- p: what the hook prepared, {id, definition, source (base64), schedule}
create function takt.task_put_schedule(p_task uuid, p jsonb) returns void language sql volatile as $$
	insert into takt.schedule (id, org_id, task_id, kind, expr, zone, dst_gap, dst_fold, enabled, next_due_at)
	values (p_task, takt.current_org(), p_task, case when p #>> '{definition,cron_expression}' is null then 'on_demand' else 'cron' end,
		coalesce(p #>> '{definition,cron_expression}', ''), p #>> '{definition,timezone}', p #>> '{definition,dst_gap}',
		p #>> '{definition,dst_fold}', (p #>> '{definition,enabled}')::boolean, (p ->> 'next_due_at')::timestamptz)
	on conflict (id) do update set kind = excluded.kind, expr = excluded.expr, zone = excluded.zone,
		dst_gap = excluded.dst_gap, dst_fold = excluded.dst_fold, enabled = excluded.enabled,
		next_due_at = excluded.next_due_at;
	select pg_notify('takt_schedule', '');
$$;

create function takt.task_create(p jsonb) returns table (status int, body jsonb, etag text) language plpgsql as $$
declare
	v_id uuid := coalesce((p ->> 'id')::uuid, takt.uuid_v7());
	v_task takt.task;
	v_constraint text;
begin
	insert into takt.task (id, org_id, name, task_type, enabled, definition)
	values (v_id, takt.current_org(), p #>> '{definition,name}', p #>> '{definition,task_type}',
		(p #>> '{definition,enabled}')::boolean, p -> 'definition') returning * into v_task;
	insert into takt.task_revision (task_id, revision, org_id, definition, source, actor)
	values (v_id, 1, v_task.org_id, v_task.definition, decode(p ->> 'source', 'base64'), takt.current_actor());
	perform takt.task_put_schedule(v_id, p);
	perform takt.audit_mine('task.create', 'task', v_id::text, jsonb_build_object('name', v_task.name, 'revision', 1));
	return query select 201, takt.task_json(v_task) || jsonb_build_object('warnings', takt.task_warnings(v_task.definition)), '1';
exception when unique_violation then
	get stacked diagnostics v_constraint = constraint_name;
	return query select 409, case when v_constraint = 'task_pkey'
		then takt.problem('taken', 'the id ' || v_id || ' is taken', '/id', 'Leave id out to get a new one.')
		else takt.problem('taken', 'there is a task named "' || (p #>> '{definition,name}') || '" already', '/name',
			'Choose another name, or change that task.') end, null::text;
end $$;

-- if_match: null (not asked for), '*' or a revision number.
create function takt.task_change(p_id uuid, p jsonb, p_if_match text, p_action text)
returns table (status int, body jsonb, etag text) language plpgsql as $$
declare
	v_task takt.task;
begin
	select * into v_task from takt.task where id = p_id for update;
	if not found then
		return query select 404, takt.not_found('task', p_id::text), null::text;
		return;
	elsif p_if_match <> '*' and p_if_match <> v_task.revision::text then
		return query select 412, takt.problem('changed', format('the task is at revision %s, If-Match names %s',
			v_task.revision, left(p_if_match, 20))), v_task.revision::text;
		return;
	elsif p ? 'base_revision' and (p ->> 'base_revision')::int <> v_task.revision then
		return query select 409, takt.problem('changed', 'the task was changed at the same time; try again'), null::text;
		return;
	elsif p ->> 'id' <> p_id::text then
		return query select 422, takt.problem('invalid_body', 'a task keeps its id', '/id', 'Leave id out.'), null::text;
		return;
	end if;
	update takt.task set name = p #>> '{definition,name}', task_type = p #>> '{definition,task_type}',
		enabled = (p #>> '{definition,enabled}')::boolean, definition = p -> 'definition',
		revision = revision + 1, updated_at = now()
	where id = p_id returning * into v_task;
	insert into takt.task_revision (task_id, revision, org_id, definition, source, actor)
	values (p_id, v_task.revision, v_task.org_id, v_task.definition,
		coalesce(decode(p ->> 'source', 'base64'), (select r.source from takt.task_revision r
			where r.task_id = p_id and r.revision = v_task.revision - 1)), takt.current_actor());
	perform takt.task_put_schedule(p_id, p);
	perform takt.audit_mine(p_action, 'task', p_id::text,
		jsonb_build_object('name', v_task.name, 'revision', v_task.revision));
	return query select 200, takt.task_json(v_task) || jsonb_build_object('warnings', takt.task_warnings(v_task.definition)),
		v_task.revision::text;
exception when unique_violation then
	return query select 409, takt.problem('taken', 'there is a task named "' || (p #>> '{definition,name}') || '" already',
		'/name', 'Choose another name.'), null::text;
end $$;

create function takt.task_delete(p_id uuid, p_if_match text) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_task takt.task;
	v_live uuid;
begin
	select * into v_task from takt.task where id = p_id for update;
	if not found then
		return query select 404, takt.not_found('task', p_id::text);
		return;
	elsif p_if_match <> '*' and p_if_match <> v_task.revision::text then
		return query select 412, takt.problem('changed', format('the task is at revision %s', v_task.revision));
		return;
	end if;
	select run_id into v_live from takt.live where task_id = p_id limit 1;
	if found then
		return query select 409, takt.problem('in_use', 'its run ' || v_live || ' is not finished', '',
			'Cancel the run or wait for its end; disabling the task stops further ones.');
		return;
	end if;
	delete from takt.task where id = p_id;
	perform pg_notify('takt_schedule', '');
	perform takt.audit_mine('task.delete', 'task', p_id::text, jsonb_build_object('name', v_task.name));
	return query select 204, null::jsonb;
end $$;

-- A command, or the answer that its key already has. await is set while the engine has not decided.
create function takt.command_add(p_kind text, p_run uuid, p_body jsonb, p_key text, p_hash text)
returns table (status int, body jsonb, await uuid) language plpgsql as $$
declare
	v_id uuid := takt.uuid_v7();
	v_old takt.command;
begin
	insert into takt.command (id, org_id, idem_key, request_hash, kind, actor, body, run_id)
	values (v_id, takt.current_org(), p_key, decode(p_hash, 'hex'), p_kind, takt.current_actor(), p_body, p_run)
	on conflict (org_id, idem_key) do nothing;
	if found then
		perform takt.audit_mine(p_kind, 'run', p_run::text, p_body);
		perform pg_notify('takt_command', '');
		return query select 202, jsonb_build_object('command_id', v_id, 'run_id', p_run), v_id;
		return;
	end if;
	select * into v_old from takt.command c where c.idem_key = p_key;
	if encode(v_old.request_hash, 'hex') <> p_hash then
		return query select 422, takt.problem('idempotency_key', 'this Idempotency-Key was used for another request', '',
			'Use a new key for a new request.'), null::uuid;
	elsif v_old.decided_at is not null then
		return query select v_old.status, v_old.answer, null::uuid;
	else
		return query select 202, jsonb_build_object('command_id', v_old.id, 'run_id', v_old.run_id), v_old.id;
	end if;
end $$;

create function takt.run_task(p_task uuid, p_key text, p_hash text)
returns table (status int, body jsonb, await uuid) language plpgsql as $$
begin
	if not exists (select 1 from takt.task where id = p_task) then
		return query select 404, takt.not_found('task', p_task::text), null::uuid;
		return;
	end if;
	return query select * from takt.command_add('run.create', takt.uuid_v7(),
		jsonb_build_object('task_id', p_task), p_key, p_hash);
end $$;

create function takt.cancel_run(p_id text, p_reason text, p_key text, p_hash text)
returns table (status int, body jsonb, await uuid) language plpgsql as $$
declare
	v_runs uuid[];
	v_run uuid := takt.find_run(p_id);
begin
	if v_run is null then
		select array_agg(run_id order by run_id) into v_runs from takt.live where task_id = takt.as_uuid(p_id);
		if cardinality(v_runs) > 1 then
			return query select 409, takt.problem('ambiguous', 'the task has several live runs: '
				|| left(array_to_string(v_runs, ', '), 400), '', 'Name one of these runs.'), null::uuid;
			return;
		elsif v_runs is null and exists (select 1 from takt.task where id = takt.as_uuid(p_id)) then
			return query select 409, takt.problem('no_live_run', 'the task has no live run'), null::uuid;
			return;
		end if;
		v_run := v_runs[1];
	end if;
	if v_run is null then
		return query select 404, takt.not_found('run', p_id), null::uuid;
		return;
	end if;
	return query select * from takt.command_add('run.cancel', v_run,
		jsonb_build_object('run_id', v_run, 'reason', p_reason), p_key, p_hash);
end $$;

-- The credential that a device's body names: by id, or by name, or none. null and p_wrong filled if it does not exist.
create function takt.credential_of(b jsonb, out id uuid, out wrong jsonb) language plpgsql stable as $$
begin
	if b ->> 'credential_id' is not null then
		select c.id into id from takt.credential c where c.id = (b ->> 'credential_id')::uuid;
		if id is null then
			wrong := takt.problem('invalid_body', 'there is no credential ' || (b ->> 'credential_id'), '/credential_id',
				'GET /credentials lists them.');
		end if;
	elsif b ->> 'credential' is not null then
		select c.id into id from takt.credential c where c.name = b ->> 'credential';
		if id is null then
			wrong := takt.problem('invalid_body', 'there is no credential named "' || (b ->> 'credential') || '"', '/credential',
				'GET /credentials lists them.');
		end if;
	end if;
end $$;

create function takt.device_wrong(b jsonb) returns jsonb language plpgsql stable as $$
begin
	if b ? 'credential' and b ? 'credential_id' then
		return takt.problem('invalid_body', 'credential and credential_id exclude each other', '/credential', 'Send one of them.');
	elsif b ? 'platform' and not exists (select 1 from takt.platform where name = b ->> 'platform') then
		return takt.problem('invalid_body', 'there is no platform "' || (b ->> 'platform') || '"', '/platform',
			'Known: ' || coalesce((select string_agg(name, ', ' order by name) from takt.platform), 'none yet') || '.');
	end if;
	return (takt.credential_of(b)).wrong;
end $$;

create function takt.device_create(b jsonb) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_wrong jsonb := takt.device_wrong(b);
	v_device takt.device;
	v_constraint text;
begin
	if v_wrong is not null then
		return query select 422, v_wrong;
		return;
	end if;
	insert into takt.device (id, org_id, name, address, port, platform, credential_id, host_key)
	values (coalesce((b ->> 'id')::uuid, takt.uuid_v7()), takt.current_org(), b ->> 'name', b ->> 'address',
		coalesce((b ->> 'port')::int, 22), b ->> 'platform', (takt.credential_of(b)).id,
		coalesce(b ->> 'host_key', 'tofu')) returning * into v_device;
	insert into takt.device_group (id, org_id, name)
	select takt.uuid_v7(), v_device.org_id, g.name from (select distinct jsonb_array_elements_text(b -> 'groups') as name) g
	on conflict (org_id, name) do nothing;
	insert into takt.group_member (group_id, device_id, org_id)
	select g.id, v_device.id, v_device.org_id from takt.device_group g
	where g.name in (select jsonb_array_elements_text(b -> 'groups'));
	perform takt.audit_mine('device.create', 'device', v_device.id::text, b);
	return query select 201, takt.device_json(v_device);
exception when unique_violation then
	get stacked diagnostics v_constraint = constraint_name;
	return query select 409, case when v_constraint = 'device_pkey'
		then takt.problem('taken', 'the id ' || (b ->> 'id') || ' is taken', '/id', 'Leave id out to get a new one.')
		else takt.problem('taken', 'there is a device named "' || (b ->> 'name') || '" already', '/name', 'Choose another name.') end;
when check_violation then
	return query select 422, takt.problem('invalid_body', 'a group name has 1 to 100 characters', '/groups');
end $$;

create function takt.device_update(p_id uuid, b jsonb) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_wrong jsonb := takt.device_wrong(b);
	v_device takt.device;
begin
	if v_wrong is not null then
		return query select 422, v_wrong;
		return;
	end if;
	update takt.device d set name = coalesce(b ->> 'name', d.name), address = coalesce(b ->> 'address', d.address),
		port = coalesce((b ->> 'port')::int, d.port), platform = coalesce(b ->> 'platform', d.platform),
		host_key = coalesce(b ->> 'host_key', d.host_key), updated_at = now(),
		credential_id = case when b ?| array['credential', 'credential_id'] then (takt.credential_of(b)).id else d.credential_id end
	where d.id = p_id returning * into v_device;
	if not found then
		return query select 404, takt.not_found('device', p_id::text);
		return;
	end if;
	perform takt.audit_mine('device.update', 'device', p_id::text, b);
	return query select 200, takt.device_json(v_device);
exception when unique_violation then
	return query select 409, takt.problem('taken', 'there is a device named "' || (b ->> 'name') || '" already', '/name',
		'Choose another name.');
end $$;

create function takt.device_delete(p_id uuid) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_name text;
begin
	delete from takt.device where id = p_id returning name into v_name;
	if v_name is null then
		return query select 404, takt.not_found('device', p_id::text);
		return;
	end if;
	perform takt.audit_mine('device.delete', 'device', p_id::text, jsonb_build_object('name', v_name));
	return query select 204, null::jsonb;
end $$;

-- Names or ids of devices; the first that does not exist is told.
create function takt.group_set_members(p_group uuid, b jsonb) returns jsonb language plpgsql as $$
declare
	v_wrong text;
	v_at int;
begin
	if not b ? 'devices' then
		return null;
	end if;
	select m.name, m.i into v_wrong, v_at from jsonb_array_elements_text(b -> 'devices') with ordinality m(name, i)
	where not exists (select 1 from takt.device d where d.id = takt.as_uuid(m.name) or d.name = m.name) order by m.i limit 1;
	if v_wrong is not null then
		return takt.problem('invalid_body', 'there is no device "' || v_wrong || '"', '/devices/' || v_at - 1,
			'Add the device first; GET /devices lists them.');
	end if;
	delete from takt.group_member where group_id = p_group;
	insert into takt.group_member (group_id, device_id, org_id)
	select distinct p_group, d.id, takt.current_org() from jsonb_array_elements_text(b -> 'devices') m(name)
	join takt.device d on d.id = takt.as_uuid(m.name) or d.name = m.name;
	return null;
end $$;

create function takt.group_create(b jsonb) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_group takt.device_group;
	v_wrong jsonb;
	v_constraint text;
begin
	insert into takt.device_group (id, org_id, name)
	values (coalesce((b ->> 'id')::uuid, takt.uuid_v7()), takt.current_org(), b ->> 'name') returning * into v_group;
	v_wrong := takt.group_set_members(v_group.id, b);
	if v_wrong is not null then
		delete from takt.device_group where id = v_group.id;
		return query select 422, v_wrong;
		return;
	end if;
	perform takt.audit_mine('group.create', 'group', v_group.id::text, b);
	return query select 201, takt.group_json(v_group);
exception when unique_violation then
	get stacked diagnostics v_constraint = constraint_name;
	return query select 409, case when v_constraint = 'device_group_pkey'
		then takt.problem('taken', 'the id ' || (b ->> 'id') || ' is taken', '/id', 'Leave id out to get a new one.')
		else takt.problem('taken', 'there is a group named "' || (b ->> 'name') || '" already', '/name', 'Choose another name.') end;
end $$;

create function takt.group_update(p_id uuid, b jsonb) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_group takt.device_group;
	v_wrong jsonb;
begin
	if not exists (select 1 from takt.device_group where id = p_id) then
		return query select 404, takt.not_found('group', p_id::text);
		return;
	end if;
	v_wrong := takt.group_set_members(p_id, b);
	if v_wrong is not null then
		return query select 422, v_wrong;
		return;
	end if;
	update takt.device_group g set name = coalesce(b ->> 'name', g.name), updated_at = now()
	where g.id = p_id returning * into v_group;
	perform takt.audit_mine('group.update', 'group', p_id::text, b);
	return query select 200, takt.group_json(v_group);
exception when unique_violation then
	return query select 409, takt.problem('taken', 'there is a group named "' || (b ->> 'name') || '" already', '/name',
		'Choose another name.');
end $$;

create function takt.group_member_set(p_group uuid, p_device uuid, p_in boolean)
returns table (status int, body jsonb) language plpgsql as $$
begin
	if not exists (select 1 from takt.device_group where id = p_group) then
		return query select 404, takt.not_found('group', p_group::text);
		return;
	elsif not exists (select 1 from takt.device where id = p_device) then
		return query select 404, takt.not_found('device', p_device::text);
		return;
	end if;
	if p_in then
		insert into takt.group_member (group_id, device_id, org_id)
		values (p_group, p_device, takt.current_org()) on conflict do nothing;
	else
		delete from takt.group_member where group_id = p_group and device_id = p_device;
	end if;
	if found then
		perform takt.audit_mine(case when p_in then 'group.add' else 'group.remove' end, 'group', p_group::text,
			jsonb_build_object('device_id', p_device));
	end if;
	return query select 204, null::jsonb;
end $$;

-- p: {id, name, username, members, key_id, sealed (base64)}; the seal names the id and version 1.
create function takt.credential_create(p jsonb) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_credential takt.credential;
	v_constraint text;
begin
	insert into takt.credential (id, org_id, name, username, members, key_id, sealed)
	values ((p ->> 'id')::uuid, takt.current_org(), p ->> 'name', p ->> 'username',
		array(select jsonb_array_elements_text(p -> 'members')), p ->> 'key_id', decode(p ->> 'sealed', 'base64'))
	returning * into v_credential;
	perform takt.audit_mine('credential.create', 'credential', v_credential.id::text,
		jsonb_build_object('name', v_credential.name, 'members', v_credential.members));
	return query select 201, takt.credential_json(v_credential);
exception when unique_violation then
	get stacked diagnostics v_constraint = constraint_name;
	return query select 409, case when v_constraint = 'credential_pkey'
		then takt.problem('taken', 'the id ' || (p ->> 'id') || ' is taken', '/id', 'Leave id out to get a new one.')
		else takt.problem('taken', 'there is a credential named "' || (p ->> 'name') || '" already', '/name', 'Choose another name.') end;
end $$;

-- p: any of name, username; members, key_id, sealed and version (the one sealed) together.
create function takt.credential_update(p_id uuid, p jsonb) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_credential takt.credential;
begin
	select * into v_credential from takt.credential where id = p_id for update;
	if not found then
		return query select 404, takt.not_found('credential', p_id::text);
		return;
	elsif p ? 'version' and (p ->> 'version')::int <> v_credential.version + 1 then
		return query select 409, takt.problem('changed', 'the credential was changed at the same time; try again');
		return;
	end if;
	update takt.credential c set name = coalesce(p ->> 'name', c.name), username = coalesce(p ->> 'username', c.username),
		members = case when p ? 'sealed' then array(select jsonb_array_elements_text(p -> 'members')) else c.members end,
		key_id = coalesce(p ->> 'key_id', c.key_id), sealed = coalesce(decode(p ->> 'sealed', 'base64'), c.sealed),
		version = coalesce((p ->> 'version')::int, c.version), updated_at = now()
	where c.id = p_id returning * into v_credential;
	perform takt.audit_mine('credential.update', 'credential', p_id::text, jsonb_build_object('name', v_credential.name,
		'members', v_credential.members, 'version', v_credential.version));
	return query select 200, takt.credential_json(v_credential);
exception when unique_violation then
	return query select 409, takt.problem('taken', 'there is a credential named "' || (p ->> 'name') || '" already', '/name',
		'Choose another name.');
end $$;

create function takt.token_create(p jsonb) returns table (status int, body jsonb) language plpgsql as $$
declare
	v_token takt.token;
begin
	if (p ->> 'expires_at')::timestamptz <= now() then
		return query select 422, takt.problem('invalid_body', 'expires_at is in the past', '/expires_at', 'Name a later time.');
		return;
	end if;
	insert into takt.token (id, org_id, name, actor, role, hash, expires_at)
	values (takt.uuid_v7(), takt.current_org(), p ->> 'name', coalesce(p ->> 'actor', p ->> 'name'), p ->> 'role',
		decode(p ->> 'hash', 'hex'), (p ->> 'expires_at')::timestamptz) returning * into v_token;
	perform takt.audit_mine('token.create', 'token', v_token.id::text,
		jsonb_build_object('name', v_token.name, 'actor', v_token.actor, 'role', v_token.role));
	return query select 201, takt.token_json(v_token);
exception when unique_violation then
	return query select 409, takt.problem('taken', 'there is a token named "' || (p ->> 'name') || '" already', '/name',
		'Choose another name; names of revoked tokens stay taken.');
when datetime_field_overflow or invalid_datetime_format then
	return query select 422, takt.problem('invalid_body', 'expires_at is no time', '/expires_at', 'RFC 3339, e.g. 2030-01-31T00:00:00Z.');
end $$;

-- The feed -----------------------------------------------------------------------------------------

-- The end of every node's stream as this statement's snapshot sees it, a cursor. It tells how many commits there were
-- and nothing else, so it may look past row level security.
create function takt.feed_end() returns text
language sql stable security definer set search_path = pg_catalog, takt as $$
	select 'v1.' || coalesce(string_agg(n.no || '-' || e.incarnation || '-' || e.feed_seq, '_' order by n.no), '')
	from takt.node n, lateral (select e.incarnation, e.feed_seq from takt.event e where e.node_no = n.no
		order by e.incarnation desc, e.feed_seq desc limit 1) e
$$;

revoke all on all functions in schema takt from public;
grant execute on function takt.session(text, int), takt.ts(timestamptz), takt.ms(timestamptz, timestamptz), takt.as_uuid(text),
	takt.uuid_v7(), takt.problem(text, text, text, text), takt.not_found(text, text), takt.page(jsonb[], text[], int),
	takt.task_json(takt.task), takt.task_warnings(jsonb), takt.last_event(uuid), takt.run_json(takt.run), takt.find_run(text),
	takt.find_any(text), takt.timeline(uuid, text, text, bigint, int), takt.attempts(uuid, text, text),
	takt.device_json(takt.device), takt.group_json(takt.device_group), takt.credential_json(takt.credential),
	takt.token_json(takt.token), takt.snapshot_json(takt.snapshot), takt.audit_mine(text, text, text, jsonb),
	takt.task_put_schedule(uuid, jsonb), takt.task_create(jsonb), takt.task_change(uuid, jsonb, text, text),
	takt.task_delete(uuid, text), takt.command_add(text, uuid, jsonb, text, text), takt.run_task(uuid, text, text),
	takt.cancel_run(text, text, text, text), takt.credential_of(jsonb), takt.device_wrong(jsonb), takt.device_create(jsonb),
	takt.device_update(uuid, jsonb), takt.device_delete(uuid), takt.group_set_members(uuid, jsonb), takt.group_create(jsonb),
	takt.group_update(uuid, jsonb), takt.group_member_set(uuid, uuid, boolean), takt.credential_create(jsonb),
	takt.credential_update(uuid, jsonb), takt.token_create(jsonb), takt.feed_end() to takt_gateway;
grant execute on function takt.feed_end() to takt_feed;
