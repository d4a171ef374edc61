-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- One row a target and attempt.
with a as (select $1::jsonb -> 'path' as p, $1::jsonb -> 'query' as q)
select case when r.id is null then 404 else 200 end as status,
	case when r.id is null then takt.not_found('run', a.p ->> 'id')
	else jsonb_build_object('run', takt.run_json(r), 'items', (select coalesce(jsonb_agg(jsonb_build_object(
		'attempt', u.attempt, 'no', u.no, 'device_id', u.device_id, 'device_name', u.device_name, 'address', u.address,
		'state', u.state, 'started_at', takt.ts(u.started_at), 'finished_at', takt.ts(u.finished_at),
		'duration_ms', takt.ms(u.started_at, u.finished_at), 'error_class', u.error_class, 'error', u.error,
		'result', u.result, 'snapshot_id', u.snapshot_id, 'output_bytes', u.output_b, 'output_cut_bytes', u.output_cut_b)
		order by u.attempt, u.no), '[]')
		from takt.unit u where u.run_id = r.id
			and u.attempt = coalesce((a.q ->> 'attempt')::int, u.attempt))) end as body
from a left join takt.run r on r.id = takt.find_run(a.p ->> 'id');
