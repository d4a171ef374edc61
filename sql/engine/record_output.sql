-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Output chunks; a chunk that is there already is the same one, sent again.
-- $1 run ids, $2 attempts, $3 unit numbers, $4 epochs, $5 offsets, $6 raw bytes, $7 data (bytea[])
insert into takt.output (run_id, attempt, unit_no, off, org_id, raw_b, at, data)
select x.run_id, x.attempt, x.no, x.off, l.org_id, x.raw_b, now(), x.data
from unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::bytea[])
	as x(run_id, attempt, no, epoch, off, raw_b, data)
join takt.live l on l.run_id = x.run_id and l.epoch = x.epoch and l.attempt = x.attempt
on conflict do nothing;
