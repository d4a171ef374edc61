-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- For whyTask's hook: the settings of the task from about the time that is asked for on, the days of their calendars, and
-- where its schedule stands.
with a as (
	select ($1::jsonb #>> '{path,id}')::uuid as id, $1::jsonb #>> '{query,at}' as at
), t as (
	select t.id, t.name, t.created_at, a.at, s.zone, s.anchor, s.enabled, s.next_due_at, s.last_due_at, s.jitter_off_s,
		s.disabled_at, takt.latest_decision(t.id) as latest
	from a join takt.task t on t.id = a.id left join takt.schedule s on s.id = t.id
), about as (
	select t.*, coalesce(takt.when_asked(t.at, t.zone), t.latest, now()) as asked from t
), held as materialized (
	select h.since, h.item from about b, takt.task_settings(b.id, b.asked - interval '2 days') h
), names as (
	select array_agg(distinct n) as names from held h,
		jsonb_array_elements_text(coalesce(h.item #> '{schedule,include}', '[]') || coalesce(h.item #> '{schedule,exclude}', '[]')) n
)
select case when b.id is null then 404 else 200 end as status,
	case when b.id is null then takt.not_found('task', a.id::text)
	else jsonb_build_object('id', b.id, 'name', b.name, 'created', takt.second_after(b.created_at), 'created_at', takt.ts(b.created_at),
		'now', floor(extract(epoch from now()))::bigint, 'zone', coalesce(b.zone, 'UTC'),
		'anchor', floor(extract(epoch from coalesce(b.anchor, b.created_at)))::bigint, 'enabled', coalesce(b.enabled, false),
		'next_due', floor(extract(epoch from b.next_due_at))::bigint, 'last_due', floor(extract(epoch from b.last_due_at))::bigint,
		'disabled_at', floor(extract(epoch from b.disabled_at))::bigint, 'jitter', coalesce(b.jitter_off_s, 0),
		'latest', floor(extract(epoch from b.latest))::bigint,
		'settings', (select coalesce(jsonb_agg(h.item order by h.since), '[]') from held h),
		'calendars', takt.days_about(coalesce((select names from names), '{}'), b.asked - interval '400 days',
			greatest(b.asked, now()) + interval '800 days')) end as body
from a left join about b on true;
