-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Keep a device's configuration; the same unit's snapshot is kept once. A clash of names gets -2, -3, …
-- $1 run id, $2 attempt, $3 unit number, $4 epoch, $5 wanted id, $6 captured at (microseconds),
-- $7 destination, $8 size, $9 key id, $10 exact hash, $11 exact body, $12 normalised body
with old as (
	select id from takt.snapshot
	where run_id = $1::uuid and attempt = $2::int and unit_no = $3::int
), owner as (
	select l.org_id, u.device_id, u.device_name
	from takt.live l join takt.unit u on u.run_id = l.run_id and u.attempt = l.attempt
	where l.run_id = $1::uuid and l.attempt = $2::int and l.epoch = $4::bigint and u.no = $3::int
	and u.device_id is not null
), name as (
	select o.org_id, c.id
	from owner o, lateral (
		select case when k = 1 then $5::text else $5::text || '-' || k end as id
		from generate_series(1, 1000) as k
		where not exists (select from takt.snapshot s where s.org_id = o.org_id
			and s.id = case when k = 1 then $5::text else $5::text || '-' || k end)
		order by k limit 1) c
), made as (
	insert into takt.snapshot (id, org_id, device_id, device_name, run_id, attempt, unit_no, captured_at,
		destination, size_b, key_id, exact_hash, exact, normalised)
	select n.id, o.org_id, o.device_id, o.device_name, $1::uuid, $2::int, $3::int,
		to_timestamp($6::bigint / 1e6), $7::text, $8::bigint, $9::text, $10::bytea, $11::bytea,
		$12::bytea
	from owner o join name n on n.org_id = o.org_id
	where not exists (select from old)
	returning id
)
select id from made union all select id from old;
