-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Put the shipped calendars: new ones, and the days of those that say something else now. Schedules that use one of
-- these get new next times. Locks in the order of the gateway's: calendars (calendars_lock.sql, before this statement's
-- snapshot, so that it sees who began to use them until then), then rows of schedule by id.
-- $1 [{"name","title","digest" (hex, of the days),"report","days":[["2026-12-25","Christmas Day"],…]}]
with asked as materialized (
	select x.name, x.title, decode(x.digest, 'hex') as digest, x.report, x.days
	from jsonb_to_recordset($1::jsonb) as x(name text, title text, digest text, report jsonb, days jsonb)
), held as materialized (
	select c.id, a.title, a.digest, a.report, a.days from asked a join takt.calendar c on c.org_id is null and c.name = a.name
	where c.digest <> a.digest
	order by c.id for update of c
), changed as (
	update takt.calendar c set title = h.title, digest = h.digest, report = h.report, version = c.version + 1, updated_at = now()
	from held h where c.id = h.id
	returning c.id
), made as (
	insert into takt.calendar (id, org_id, name, title, source, digest, report)
	select takt.uuid_v7(), null, a.name, a.title, 'shipped', a.digest, a.report from asked a
	where not exists (select from takt.calendar c where c.org_id is null and c.name = a.name)
	on conflict do nothing
	returning id, name
), day as materialized (
	select p.id, (d ->> 0)::date as day, coalesce(d ->> 1, '') as reason
	from (select h.id, h.days from held h union all select m.id, a.days from made m join asked a on a.name = m.name) p,
	jsonb_array_elements(p.days) d
), gone as (
	delete from takt.calendar_day c using changed h
	where c.calendar_id = h.id and not exists (select from day d where d.id = c.calendar_id and d.day = c.day)
), put as (
	insert into takt.calendar_day (calendar_id, day, org_id, reason) select id, day, null, reason from day
	on conflict (calendar_id, day) do update set reason = excluded.reason
), used as materialized (
	select s.id from takt.schedule s
	where s.enabled and s.kind <> 'on_demand' and exists (select from takt.schedule_calendar u
		where u.calendar_id in (select id from changed) and (u.schedule_id = s.id or u.shared_id = s.shared_id))
	order by s.id for no key update
), planned as (
	update takt.schedule s set version = s.version + 1,
		replan_from = case when s.next_due_at is null then least(s.replan_from, now()) else now() end,
		next_due_at = case when s.next_due_at <= now() then s.next_due_at end,
		next_fire_at = case when s.next_due_at <= now() then s.next_fire_at end
	from used u where s.id = u.id
	returning s.id
)
select (select count(*) from made) as made, (select count(*) from changed) as changed, (select count(*) from planned) as planned,
	(select pg_notify('takt_schedule', '') from planned limit 1) as told;
