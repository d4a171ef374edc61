-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Several nodes: rescue of a dead node's runs, draining.

alter table takt.node
	-- +1 at each renewal and at each entering. Whether a node lives is told by this number moving, watched by the
	-- other nodes' own clocks: no clock that somebody sets has a part in it.
	add column beat bigint not null default 0,
	add column backend_pid int,                            -- of the event connection that entered last
	add column draining boolean not null default false;    -- claims nothing; what it has goes on

-- The node that had this attempt before it was rescued. Whoever finds it set knows that another executor may have
-- been told of units that are still pending.
alter table takt.attempt add column taken_from uuid;

-- How many unfinished runs a node has: a number and nothing else, so it may look past row level security.
create function takt.node_running(p_node uuid) returns bigint
language sql stable security definer set search_path = pg_catalog, takt, pg_temp as $$
	select count(*) from takt.live l where l.node_id = p_node
$$;

create function takt.node_json(n takt.node) returns jsonb language sql stable as $$
	select jsonb_build_object('id', n.id, 'name', n.name, 'version', n.version, 'up', n.lease_until > now(),
		'state', case when n.lease_until <= now() then 'dead' when not n.draining then 'up'
			when r.running > 0 then 'draining' else 'drained' end,
		'running', r.running, 'lease_until', case when isfinite(n.lease_until) then takt.ts(n.lease_until) end,
		'started_at', takt.ts(n.started_at))
	from (select takt.node_running(n.id) as running) r
$$;

-- Stop or go on claiming. p_node: name or id. Nodes are nobody's own: an administrator of any organisation may.
create function takt.node_drain(p_node text, p_draining boolean) returns table (status int, body jsonb)
language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
declare
	v_ids uuid[];
	v_node takt.node;
begin
	if takt.current_rank() < 3 then
		raise exception 'this needs the role admin' using errcode = 'TK403';
	end if;
	v_ids := array(select n.id from takt.node n where n.id = takt.as_uuid(p_node) or n.name = p_node);
	if cardinality(v_ids) = 0 then
		return query select 404, takt.not_found('node', p_node);
		return;
	elsif cardinality(v_ids) > 1 then
		return query select 409, takt.problem('ambiguous', format('%s nodes are named "%s"; name one by its id: %s',
			cardinality(v_ids), left(p_node, 80), array_to_string(v_ids[1:10], ', ')));
		return;
	end if;
	update takt.node n set draining = p_draining where n.id = v_ids[1] returning * into v_node;
	perform takt.audit_mine(case when p_draining then 'node.drain' else 'node.resume' end, 'node', v_node.id::text,
		jsonb_build_object('name', v_node.name));
	perform pg_notify('takt_node', '');
	return query select 200, takt.node_json(v_node);
end $$;

revoke all on function takt.node_running(uuid), takt.node_json(takt.node), takt.node_drain(text, boolean) from public;
grant execute on function takt.node_running(uuid), takt.node_json(takt.node), takt.node_drain(text, boolean)
	to takt_gateway;
