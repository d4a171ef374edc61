-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Nodes; a node is up while its lease holds.
select 200 as status, jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('id', n.id, 'name', n.name,
	'version', n.version, 'up', n.lease_until > now(), 'lease_until', case when isfinite(n.lease_until) then takt.ts(n.lease_until) end,
	'started_at', takt.ts(n.started_at)) order by n.name), '[]')) as body
from takt.node n where $1::jsonb is not null;
