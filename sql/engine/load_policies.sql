-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- What runs keep of their definitions; the engine remembers what it has seen by task and policy_key.
-- $1 node id, $2 run ids (uuid array) or null: all with an open attempt on this node
select distinct on (1, 2) r.task_id, r.task_revision || '.' || jsonb_hash_extended(r.policy, 0) as policy_key, r.policy
from takt.run r
where r.id = any (coalesce($2::uuid[], array(select l.run_id from takt.live l where l.node_id = $1::uuid)))
order by 1, 2;
