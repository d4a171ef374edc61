-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- End the connection of a dead node's engine: it was stopped in the middle of a transaction whose locks it would
-- hold for ever. Only the backend that has the node's advisory lock and that the node's row names, and only while
-- the node is as it was observed. No row: there is no such backend.
-- $1 the dead node's id, $2 its beat as observed
select l.pid, pg_terminate_backend(l.pid) as is_ended
from takt.node n
join (select hashtextextended('takt.node:' || $1::uuid, 0) as key) k on true
join pg_locks l on l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.pid = n.backend_pid
	and l.database = (select d.oid from pg_database d where d.datname = current_database())
	and l.classid = (k.key >> 32 & 4294967295)::oid and l.objid = (k.key & 4294967295)::oid
where n.id = $1::uuid and n.beat = $2::bigint;
