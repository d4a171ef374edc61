-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Rows after the cursor $1 [{no, inc, seq}], of every node's stream at most $2, in the order of each stream.
select e.run_id, e.task_id, e.first_seq, e.node_no, e.incarnation, e.feed_seq, e.items
from takt.node n
left join jsonb_to_recordset($1::jsonb) as v(no int, inc bigint, seq bigint) on v.no = n.no,
lateral (select * from takt.event x
	where x.node_no = n.no and (x.incarnation, x.feed_seq) > (coalesce(v.inc, 0), coalesce(v.seq, 0))
	order by x.incarnation, x.feed_seq limit $2::int) e
order by e.node_no, e.incarnation, e.feed_seq;
