-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Enter this node: a new incarnation at each connect, a new epoch at the first one of a process.
-- $1 node id, $2 name, $3 boot id, $4 version, $5 1 at the first connect of this process, else 0
insert into takt.node as n (id, name, epoch, incarnation, boot_id, version, lease_until, started_at, beat, backend_pid)
values ($1::uuid, $2::text, 1, 1, $3::text, $4::text, now() + interval '30 s', now(), 1, pg_backend_pid())
on conflict (id) do update set
	name = excluded.name, boot_id = excluded.boot_id, version = excluded.version,
	epoch = n.epoch + $5::int, incarnation = n.incarnation + 1,
	lease_until = excluded.lease_until, beat = n.beat + 1, backend_pid = excluded.backend_pid,
	started_at = case when $5::int = 1 then excluded.started_at else n.started_at end
returning no, epoch, incarnation;
