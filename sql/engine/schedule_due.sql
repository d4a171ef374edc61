-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The due rows. Only read: the next time is computed in C, schedule_fire compares and sets.
-- $1 limit, $2 ["zone that could not be read a moment ago", …]
select s.id, s.expr, s.zone, s.dst_gap, s.dst_fold, s.next_due_at::text as was,
	floor(extract(epoch from s.next_due_at))::bigint as due_s,
	floor(extract(epoch from now()))::bigint as now_s,
	floor(extract(epoch from now()) * 1000)::bigint as now_ms
from takt.schedule s join takt.task t on t.id = s.task_id
where s.enabled and t.enabled and s.kind = 'cron' and s.next_due_at <= now() and not $2::jsonb ? s.zone
order by s.next_due_at
limit $1::int;
