-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Publish what this node can run.
-- $1 node id, $2 [{"file","status","reason","name","version","abi","digest","types"}]
with put as (
	insert into takt.plugin as p (node_id, file, status, reason, name, version, abi, digest, types, seen_at)
	select $1::uuid, file, status, coalesce(reason, ''), coalesce(name, ''), coalesce(version, ''),
		coalesce(abi, ''), coalesce(digest, ''), coalesce(types, '[]'), now()
	from jsonb_to_recordset($2::jsonb) as x(file text, status text, reason text, name text,
		version text, abi text, digest text, types jsonb)
	on conflict (node_id, file) do update set
		status = excluded.status, reason = excluded.reason, name = excluded.name,
		version = excluded.version, abi = excluded.abi, digest = excluded.digest,
		types = excluded.types, seen_at = excluded.seen_at
	returning file
)
select count(*) as n, pg_notify('takt_plugins', '') from put;
