-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The next schedules, in the order of their ids, whose zone has other rules: their next time is to be computed anew.
-- $1 ["zone", …], $2 the last id that was looked at, $3 how many
with of_zone as materialized (
	select s.id from takt.schedule s where s.id > $2::uuid and $1::jsonb ? s.zone and s.enabled and s.next_due_at > now()
	order by s.id limit $3::int
), planned as (
	update takt.schedule s set replan_from = now() from of_zone o
	where s.id = o.id and s.enabled and s.next_due_at > now()
)
select count(*) as n, (select o.id from of_zone o order by o.id desc limit 1) as last from of_zone;
