-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Compressed chunks in order, as many as make 4 MiB of text, in base64; the hook decompresses them.
with a as (select takt.find_run($1::jsonb #>> '{path,id}') as run, $1::jsonb -> 'query' as q),
sized as (
	select o.attempt, o.unit_no, o.off, o.raw_b,
		sum(o.raw_b::bigint) over (order by o.attempt, o.unit_no, o.off) - o.raw_b as before
	from takt.output o, a
	where o.run_id = a.run
		and (a.q ->> 'attempt' is null or o.attempt = (a.q ->> 'attempt')::int)
		and (a.q ->> 'unit' is null or o.unit_no = (a.q ->> 'unit')::int)
		and (a.q ->> 'offset' is null or o.off + o.raw_b > (a.q ->> 'offset')::bigint)),
chunk as (
	-- The unit by a subquery: a join would read the view whole.
	select s.attempt, s.unit_no, s.off, encode(o.data, 'base64') as data, s.raw_b,
		(select jsonb_build_object('device', u.device_name, 'cut', u.output_cut_b) from takt.unit u
			where u.run_id = o.run_id and u.attempt = o.attempt and u.no = o.unit_no) as unit
	from sized s, a, takt.output o
	where s.before < 4194304 and o.run_id = a.run and o.attempt = s.attempt and o.unit_no = s.unit_no and o.off = s.off)
select case when a.run is null then 404 else 200 end as status,
	case when a.run is null then takt.not_found('run', $1::jsonb #>> '{path,id}')
	else jsonb_build_object(
		'chunks', (select coalesce(jsonb_agg(jsonb_build_object('attempt', c.attempt, 'unit', c.unit_no, 'off', c.off,
			'device', coalesce(c.unit ->> 'device', ''), 'cut', c.unit -> 'cut', 'raw_b', c.raw_b, 'zstd', c.data)
			order by c.attempt, c.unit_no, c.off), '[]') from chunk c),
		'more', (select jsonb_build_object('attempt', s.attempt, 'unit', s.unit_no, 'off', s.off)
			from sized s where s.before >= 4194304 order by s.before limit 1)) end as body
from a;
