-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- New next times, where the row is still as it was read.
-- Arrays, an element a schedule: $1 id, $2 version, $3 replan_from as it was read, $4 the next due time (epoch s), null:
-- never again
with asked as materialized (
	select a.id, a.version, a.was::timestamptz as was, to_timestamp(a.next) as next
	from unnest($1::uuid[], $2::int[], $3::text[], $4::bigint[]) a(id, version, was, next)
), held as materialized (
	select a.id, a.next from asked a join takt.schedule s on s.id = a.id
	where s.version = a.version and s.replan_from = a.was
		and (s.next_due_at is null or s.next_due_at > now() or not s.enabled)
	for update of s skip locked
), planned as (
	update takt.schedule s set next_due_at = h.next, next_fire_at = h.next + s.jitter_off_s * interval '1 s',
		replan_from = null
	from held h where s.id = h.id
	returning s.id
)
select count(*) as planned from planned;
