-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- What the other nodes do, and whether this one is to claim.
-- $1 node id
select n.id, n.name, n.beat, n.draining, n.id = $1::uuid as is_me,
	exists (select from takt.live l where l.node_id = n.id) as has_runs
from takt.node n;
