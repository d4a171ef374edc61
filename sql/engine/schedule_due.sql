-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The due rows, and where they are. Only read: the next time is computed in C, schedule_fire compares and sets. A
-- schedule is enabled as its task is.
-- $1 limit, $2 ["zone that could not be read a moment ago", …]
select s.ctid as place, s.id, s.version, s.expr, s.zone, s.dst_gap, s.dst_fold, s.next_due_at::text as was,
	floor(extract(epoch from s.next_due_at))::bigint as due_s,
	(select floor(extract(epoch from now()))::bigint) as now_s,
	(select floor(extract(epoch from now()) * 1000)::bigint) as now_ms
from takt.schedule s
where s.enabled and s.kind = 'cron' and s.next_fire_at <= now() and not $2::jsonb ? s.zone
order by s.next_fire_at
limit $1::int;
