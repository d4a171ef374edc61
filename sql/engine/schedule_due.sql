-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The due rows, and where they are. Only read: the next time is computed in C, schedule_fire compares and sets. A
-- schedule is enabled as its task is. Calendars are lists "ID:VERSION:NAME,…" (daemon/schedule/calendars.h); seen_s is
-- until when what was passed over has been told.
-- $1 limit, $2 ["zone that could not be read a moment ago", …]
select s.ctid as place, s.id, s.version, s.kind, s.expr, s.zone, s.dst_gap, s.dst_fold, s.on_hit,
	s.catch_up, s.catch_up_limit, s.catch_up_deadline_s, s.jitter_off_s, s.next_due_at::text as was,
	floor(date_part('epoch', s.next_due_at))::bigint as due_s,
	floor(date_part('epoch', greatest(s.last_due_at, s.planned_from)))::bigint as seen_s,
	case when s.kind in ('cron', 'every') then floor(date_part('epoch', coalesce(s.effective_from, s.anchor)))::bigint end as anchor_s,
	floor(date_part('epoch', s.effective_from))::bigint as from_s,
	floor(date_part('epoch', s.effective_until))::bigint as until_s,
	case when s.has_calendars then takt.calendar_list(s.id, s.shared_id, false) end as include,
	case when s.has_calendars then takt.calendar_list(s.id, s.shared_id, true) end as exclude,
	(select floor(extract(epoch from now()))::bigint) as now_s,
	(select floor(extract(epoch from now()) * 1000)::bigint) as now_ms
from takt.schedule s
where s.enabled and s.next_fire_at <= now() and not $2::jsonb ? s.zone
order by s.next_fire_at
limit $1::int;
