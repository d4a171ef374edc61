-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: the last state that the events tell is the row's, and so is their number
-- invariant: I8
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when f.state is distinct from coalesce(r.state, l.state)
			then format('run %s: the events say %s, the row says %s', r.id, coalesce(f.state, 'nothing'),
				coalesce(r.state, l.state, 'nothing'))
		when r.state is null and n.last_seq is distinct from l.event_seq
			then format('run %s: %s events, the live row counts %s', r.id, coalesce(n.last_seq, 0), l.event_seq)
		end as problem
	from takt.run r left join takt.live l on l.run_id = r.id
	left join (select distinct on (e.run_id) e.run_id, i.item ->> 'state' as state
		from takt.event e, jsonb_array_elements(e.items) with ordinality as i(item, n)
		where e.run_id >= $1::uuid and e.run_id < $2::uuid and i.item ? 'state'
		and (i.item ->> 'type' like 'task\_%' or i.item ->> 'type' = 'attempt_started')
		order by e.run_id, e.first_seq desc, i.n desc) f on f.run_id = r.id
	left join lateral (select e.first_seq + jsonb_array_length(e.items) - 1 as last_seq from takt.event e
		where e.run_id = l.run_id order by e.first_seq desc limit 1) n on true
	where r.id >= $1::uuid and r.id < $2::uuid) c;
