-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Partitions are made aside and attached: "create table … partition of" would wait for every reader of the parent (a
-- dump, say) and hold up all others meanwhile. Two engines that find the same month missing take turns.

create or replace function takt.make_partitions(p_from date, p_months int) returns int
language plpgsql security definer set search_path = pg_catalog, takt, pg_temp as $$
declare
	v_month date; v_next date; v_part text; v_table text; v_made int := 0; v_from text; v_to text;
begin
	for i in 0 .. p_months - 1 loop
		v_month := date_trunc('month', p_from) + make_interval(months => i);
		v_next := v_month + interval '1 month';
		foreach v_table in array array['run', 'attempt', 'unit', 'event', 'output', 'occurrence'] loop
			v_part := format('%s_%s', v_table, to_char(v_month, 'YYYYMM'));
			continue when to_regclass('takt.' || v_part) is not null;
			perform pg_advisory_xact_lock(hashtextextended('takt.make_partitions', 0));
			-- to_regclass() would remember that there was none
			continue when exists (select 1 from pg_class where relname = v_part and relnamespace = 'takt'::regnamespace);
			if v_table = 'occurrence' then
				v_from := v_month::timestamp at time zone 'UTC';
				v_to := v_next::timestamp at time zone 'UTC';
			else
				v_from := takt.uuid_floor(v_month::timestamp at time zone 'UTC');
				v_to := takt.uuid_floor(v_next::timestamp at time zone 'UTC');
			end if;
			execute format('create table takt.%I (like takt.%I including all)', v_part, v_table);
			execute format('alter table takt.%I attach partition takt.%I for values from (%L) to (%L)',
				v_table, v_part, v_from, v_to);
			v_made := v_made + 1;
		end loop;
	end loop;
	return v_made;
end $$;
