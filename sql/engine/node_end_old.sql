-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- End the connection that this process had before: it gave it up, the server may not know that yet, and the node's
-- lock would wait. Only the backend that the node's row names, under this process's own epoch.
-- $1 node id, $2 node epoch
select pg_terminate_backend(l.pid) as is_ended
from takt.node n
join (select hashtextextended('takt.node:' || $1::uuid, 0) as key) k on true
join pg_locks l on l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.pid = n.backend_pid
	and l.database = (select d.oid from pg_database d where d.datname = current_database())
	and l.classid = (k.key >> 32 & 4294967295)::oid and l.objid = (k.key & 4294967295)::oid
where n.id = $1::uuid and n.epoch = $2::bigint and l.pid <> pg_backend_pid();
