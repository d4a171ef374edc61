-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Revoked, kept for the audit. Revoking it again changes nothing.
with a as (select $1::jsonb -> 'path' as p),
gone as (update takt.token t set revoked_at = now() from a
	where t.id = (a.p ->> 'id')::uuid and t.revoked_at is null returning t.id, t.name),
told as (select true as done, takt.audit_mine('token.revoke', 'token', id::text, jsonb_build_object('name', name)) from gone)
select case when t.done or x.id is not null then 204 else 404 end as status,
	case when t.done or x.id is not null then null else takt.not_found('token', a.p ->> 'id') end as body
from a left join told t on true left join takt.token x on x.id = (a.p ->> 'id')::uuid;
