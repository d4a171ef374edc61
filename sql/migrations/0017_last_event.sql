-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- As before (0009), but the run is found first and its last row of events then by key: a join of both may read all rows of
-- events, and did so at ten million runs.
create or replace function takt.last_event(p_run uuid) returns bigint
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
	return coalesce((select b.last
		from (select r.org_id, coalesce(l.last_batch, r.last_batch) as batch
			from takt.run r left join lateral (select l.last_batch from takt.live l where l.run_id = r.id offset 0) l on true
			where r.id = p_run offset 0) s,
		lateral (select e.first_seqs[p.i] + json_array_length(e.items[p.i]) - 1 as last
			from takt.event_batch e, lateral (select array_position(e.run_ids, p_run) as i) p
			where e.id = s.batch and e.org_id = s.org_id offset 0) b), 0);
end $$;
