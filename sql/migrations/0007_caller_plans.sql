-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Row level security asks for the caller's organisation in every statement, also in each that runs inside of a
-- function. As SQL functions, one calling another, current_org() and the others were parsed and planned at each call
-- (0.15 ms; a page of 50 runs asked 100 times). PL/pgSQL keeps their plans for the session.

create or replace function takt.current_org() returns uuid
language plpgsql stable security definer set search_path = pg_catalog, takt, pg_temp as $$
begin
	return (select t.org_id from takt.token t
		where t.hash = sha256(convert_to(current_setting('takt.token', true), 'UTF8'))
		  and t.revoked_at is null and (t.expires_at is null or t.expires_at > now()));
end $$;

create or replace function takt.current_rank() returns int
language plpgsql stable security definer set search_path = pg_catalog, takt, pg_temp as $$
begin
	return coalesce((select case t.role when 'viewer' then 1 when 'operator' then 2 when 'admin' then 3 end
		from takt.token t
		where t.hash = sha256(convert_to(current_setting('takt.token', true), 'UTF8'))
		  and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())), 0);
end $$;
