-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- A socket joins: $1 {kind: task|run, id, vector: [{no, inc, seq, skip}]|null, since: event number|null, limit}.
-- In one snapshot: the object, the end of the feed, and the first rows after the cursor in the order of each stream.
-- A page ends where a cursor can stand: of a run rows come by number; else by time, which is made to go only forward
-- in each stream, so that a page holds the beginning of each and nothing of a run before what happened earlier.
with a as (select $1::jsonb as a),
topic as (select case a ->> 'kind' when 'task' then takt.as_uuid(a ->> 'id') end as task,
	case a ->> 'kind' when 'run' then takt.find_run(a ->> 'id') end as run, a from a),
v as (select n.no, coalesce((x ->> 'inc')::bigint, 0) as inc, coalesce((x ->> 'seq')::bigint, 0) as seq
	from a, takt.node n left join lateral (select x from jsonb_array_elements(nullif(a.a -> 'vector', 'null')) x
		where (x ->> 'no')::int = n.no) y on true),
-- A mark of the run that the cursor is behind: what was before it was seen.
seen as (select m.seq from topic t, takt.event_mark m join takt.event_batch b on b.id = m.batch_id and b.org_id = m.org_id
	join v on v.no = b.node_no
	where m.run_id = t.run and t.a -> 'vector' <> 'null' and (b.incarnation, b.feed_last) <= (v.inc, v.seq)
	order by m.seq desc limit 1),
fresh as (
	select r.run_id, r.first_seq, b.org_id, r.task_id, b.node_no, b.incarnation, b.feed_first + r.i - 1 as feed_seq, b.at,
		r.items::jsonb as items
	from topic t, v join takt.event_batch b on b.node_no = v.no and (b.incarnation, b.feed_last) > (v.inc, v.seq),
	unnest(b.run_ids, b.first_seqs, b.task_ids, b.items) with ordinality as r(run_id, first_seq, task_id, items, i)
	where t.a -> 'vector' <> 'null' and t.task = any (b.task_ids) and r.task_id = t.task
		and (b.incarnation, b.feed_first + r.i - 1) > (v.inc, v.seq)
	union all
	select e.* from topic t, takt.run_events(t.run, greatest((t.a ->> 'since')::bigint, (select seq from seen), 0)) e
		join v on v.no = e.node_no
	where (t.a ->> 'since' is not null or t.a -> 'vector' <> 'null') and (e.incarnation, e.feed_seq) > (v.inc, v.seq)
		and e.first_seq + jsonb_array_length(e.items) - 1 > coalesce((t.a ->> 'since')::bigint, 0)),
placed as (select f.*, case when t.run is null then 0 else f.first_seq end as place,
	max(f.at) over (partition by f.node_no order by f.incarnation, f.feed_seq) as not_before from fresh f, topic t),
few as (select p.*, row_number() over (order by p.place, p.not_before, p.node_no, p.incarnation, p.feed_seq) as n
	from placed p order by n limit (select (a ->> 'limit')::int + 1 from a))
select case when o.body is null then 404 else 200 end as status,
	coalesce(o.body, takt.not_found(t.a ->> 'kind', t.a ->> 'id')) as body, t.run, takt.feed_end() as cursor,
	(select coalesce(jsonb_agg(jsonb_build_object('run', f.run_id, 'task', f.task_id, 'first', f.first_seq, 'no', f.node_no,
		'inc', f.incarnation, 'seq', f.feed_seq, 'items', f.items)
		order by f.node_no, f.incarnation, f.feed_seq), '[]') from few f, a where f.n <= (a.a ->> 'limit')::int) as rows,
	(select count(*) > (a.a ->> 'limit')::int from few, a group by a.a) is true as more
from topic t left join lateral (
	select takt.task_json(k) as body from takt.task k where k.id = t.task
	union all select takt.run_json(r) from takt.run r where r.id = t.run) o on true;
