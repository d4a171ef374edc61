-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Not a check: the ranges of run ids that the monthly checks are made for, one a month's partition, one before them
-- (what was moved aside) and one behind.
-- $1 the first month (a date) or null: all
with month as (
	select to_date(right(c.relname, 6), 'YYYYMM') as first
	from pg_inherits i join pg_class c on c.oid = i.inhrelid
	where i.inhparent = 'takt.run'::regclass and c.relname ~ '^run_[0-9]{6}$'
), edge as (
	select takt.uuid_floor(first::timestamp at time zone 'UTC') as at, to_char(first, 'YYYY-MM') as name
	from month where $1::date is null or first >= $1::date
	union all
	select takt.uuid_floor((max(first) + interval '1 month')::timestamp at time zone 'UTC'), 'later' from month
	union all
	select '00000000-0000-0000-0000-000000000000', 'earlier' where $1::date is null
)
select name, at as run_from, coalesce(lead(at) over (order by at), 'ffffffff-ffff-ffff-ffff-ffffffffffff') as run_to
from edge where at is not null order by at;
