-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- A page of the schedules that may be due before prepared.to, by id, with the days of their calendars: the hook makes the
-- times. The cursor is the last id.
with a as (
	select to_timestamp((p ->> 'from')::bigint) as from_at, to_timestamp((p ->> 'to')::bigint) as to_at,
		coalesce(takt.as_uuid($1::jsonb #>> '{query,cursor}'), '00000000-0000-0000-0000-000000000000') as after
	from (select $1::jsonb -> 'prepared' as p) p
), page as materialized (
	select s.id, t.name, s.anchor, s.jitter_off_s, case when s.replan_from is null then s.next_due_at end as next_due_at,
		coalesce(g.definition, takt.schedule_said(t.definition)) as schedule
	from a, takt.schedule s join takt.task t on t.id = s.id left join takt.shared_schedule g on g.id = s.shared_id
	where s.enabled and s.id > a.after and (s.next_due_at < a.to_at or s.replan_from is not null)
	order by s.id limit 1001
), names as (
	select array_agg(distinct n) as names from page,
		jsonb_array_elements_text(coalesce(schedule -> 'include', '[]') || coalesce(schedule -> 'exclude', '[]')) n
)
select 200 as status, jsonb_build_object(
	'tasks', (select coalesce(jsonb_agg(jsonb_build_object('id', p.id, 'name', p.name, 'schedule', p.schedule,
		'anchor', floor(extract(epoch from p.anchor))::bigint, 'jitter', p.jitter_off_s,
		'next_due', floor(extract(epoch from p.next_due_at))::bigint) order by p.id), '[]') from page p),
	'calendars', takt.days_about(coalesce((select names from names), '{}'), a.from_at - interval '400 days',
		a.to_at + interval '400 days')) as body
from a;
