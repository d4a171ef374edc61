-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- The way of a command. An SQL function that is not folded into its statement is parsed and planned at each call, and
-- the gateway's session plans each statement anew, those inside of functions too: that was most of what accepting a
-- command cost (1.15 ms of CPU; 0.5 now).

create or replace function takt.current_actor() returns text
language plpgsql stable security definer set search_path = pg_catalog, takt, pg_temp as $$
begin
	return (select t.actor from takt.token t
		where t.hash = sha256(convert_to(current_setting('takt.token', true), 'UTF8'))
		  and t.revoked_at is null and (t.expires_at is null or t.expires_at > now()));
end $$;

create or replace function takt.audit_mine(p_action text, p_type text, p_id text, p_detail jsonb default '{}') returns void
language plpgsql volatile as $$
begin
	perform takt.audit_add(takt.current_org(), takt.current_actor(), p_action, p_type, p_id, p_detail);
end $$;

-- As before (0003), but a new run's command is named in the notification: engines need not look for it.
create or replace function takt.command_add(p_kind text, p_run uuid, p_body jsonb, p_key text, p_hash text)
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
		perform pg_notify('takt_command', case p_kind when 'run.create' then v_id::text else '' end);
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

-- Rows by their keys only: a plan that is kept is as good as one made for the values.
alter function takt.run_task(uuid, text, text) set plan_cache_mode = force_generic_plan;
alter function takt.cancel_run(text, text, text, text) set plan_cache_mode = force_generic_plan;
