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
		from takt.month_events($1::uuid, $2::uuid) e, jsonb_array_elements(e.items::jsonb) with ordinality as i(item, n)
		where i.item ? 'state'
		and (i.item ->> 'type' like 'task\_%' or i.item ->> 'type' = 'attempt_started')
		order by e.run_id, e.first_seq desc, i.n desc) f on f.run_id = r.id
	left join lateral (select max(e.first_seq + jsonb_array_length(e.items) - 1) as last_seq
		from takt.run_events(l.run_id, l.event_seq - 1) e) n on l.run_id is not null
	where r.id >= $1::uuid and r.id < $2::uuid) c;
