-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Schedules whose next time is to be computed anew, as schedule_due.sql gives those that are due. What is due
-- already is decided first. A disabled one has no next time.
-- $1 limit, $2 ["zone that could not be read a moment ago", …]
select s.id, s.version, s.enabled, s.kind, s.expr, s.zone, s.dst_gap, s.dst_fold, s.on_hit, s.replan_from::text as was,
	floor(date_part('epoch', greatest(s.replan_from, s.last_due_at)))::bigint as after_s,
	floor(date_part('epoch', s.next_due_at))::bigint as next_s,
	floor(date_part('epoch', coalesce(s.effective_from, s.anchor)))::bigint as anchor_s,
	floor(date_part('epoch', s.effective_from))::bigint as from_s,
	floor(date_part('epoch', s.effective_until))::bigint as until_s,
	case when s.has_calendars then takt.calendar_list(s.id, s.shared_id, false) end as include,
	case when s.has_calendars then takt.calendar_list(s.id, s.shared_id, true) end as exclude
from takt.schedule s
where s.replan_from is not null and (s.next_due_at is null or s.next_due_at > now() or not s.enabled)
	and not $2::jsonb ? s.zone
order by s.replan_from
limit $1::int;
