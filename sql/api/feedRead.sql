-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- What runs were told after the cursor $1 [{no, inc, seq}], in the order of each stream: of every node's stream
-- at least $2 elements, if there are so many, and as many more as the last row has.
select r.run_id, r.task_id, r.first_seq, e.node_no, e.incarnation, e.feed_first + r.i - 1 as feed_seq, r.items
from takt.node n
left join jsonb_to_recordset($1::jsonb) as v(no int, inc bigint, seq bigint) on v.no = n.no,
lateral (select x.*, sum(x.feed_last - x.feed_first + 1 - x.seen) over (order by x.incarnation, x.feed_last
		rows between unbounded preceding and 1 preceding) as before
	from (select x.*, case x.incarnation when v.inc then greatest(v.seq - x.feed_first + 1, 0) else 0 end as seen
		from takt.event_batch x
		where x.node_no = n.no and (x.incarnation, x.feed_last) > (coalesce(v.inc, 0), coalesce(v.seq, 0))
		order by x.incarnation, x.feed_last limit $2::int) x) e,
unnest(e.run_ids, e.task_ids, e.first_seqs, e.items) with ordinality as r(run_id, task_id, first_seq, items, i)
where coalesce(e.before, 0) < $2::int and r.i > e.seen
order by e.node_no, e.incarnation, e.feed_last, r.i;
