-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Every plugin file of every node, refused ones with the reason.
select 200 as status, jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('node', n.name, 'file', p.file,
	'status', p.status, 'reason', p.reason, 'name', p.name, 'version', p.version, 'abi', p.abi, 'digest', p.digest,
	'task_types', (select coalesce(jsonb_agg(t ->> 'id'), '[]') from jsonb_array_elements(p.types) t),
	'seen_at', takt.ts(p.seen_at)) order by n.name, p.file), '[]')) as body
from takt.plugin p left join takt.node n on n.id = p.node_id where $1::jsonb is not null;
