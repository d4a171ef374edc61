-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Publish the platforms of this node.
-- $1 [{"name","title","evidence","digest"}]
with put as (
	insert into takt.platform as p (name, title, evidence, digest, seen_at)
	select name, coalesce(title, name), coalesce(evidence, ''), coalesce(digest, ''), now()
	from jsonb_to_recordset($1::jsonb) as x(name text, title text, evidence text, digest text)
	on conflict (name) do update set
		title = excluded.title, evidence = excluded.evidence, digest = excluded.digest,
		seen_at = excluded.seen_at
	returning name
)
select count(*) as n, pg_notify('takt_plugins', '') from put;
