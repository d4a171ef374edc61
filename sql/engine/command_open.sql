-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Commands that wait for this engine's decision; who holds a run decides about it.
-- $1 node id, $2 limit
select c.id, c.kind, c.run_id
from takt.command c left join takt.live l on l.run_id = c.run_id
where c.decided_at is null and (c.kind = 'run.create' or l.node_id is null or l.node_id = $1::uuid)
order by c.created_at
limit $2::int;
