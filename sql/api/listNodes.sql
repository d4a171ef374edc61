-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Nodes; a node is dead, for who asks, when its lease has run out by the database's clock.
select 200 as status, jsonb_build_object('items', coalesce(jsonb_agg(takt.node_json(n) order by n.name, n.id), '[]'))
	as body
from takt.node n where $1::jsonb is not null;
