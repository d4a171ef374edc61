-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Functions that run as the owner look into the session's temporary schema last. If the path does not name it,
-- types and tables are looked up there first: a caller's own pg_temp.timestamptz, a domain with a check, would
-- be code of the caller's that runs as the owner. And nobody but the owner makes temporary objects.

do $$
declare v_function regprocedure;
begin
	for v_function in select p.oid from pg_proc p where p.pronamespace = 'takt'::regnamespace and p.prosecdef loop
		execute format('alter function %s set search_path = pg_catalog, takt, pg_temp', v_function);
	end loop;
	-- A server of somebody else's keeps its own rules for its database.
	if pg_has_role((select datdba from pg_database where datname = current_database()), 'usage') then
		execute format('revoke temporary on database %I from public', current_database());
	end if;
end $$;
