-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: the chains still have the heads that were written down
-- invariant: I23
-- scope: heads
-- $1 what takt.chain_heads() was, once
with was as (
	select 'chain ' || e.node_no || ', link ' || e.link_no as what, e.hash, encode(l.hash, 'hex') as found
	from jsonb_to_recordset($1::jsonb -> 'events') as e(node_no int, link_no bigint, hash text)
	left join takt.event_link l on l.node_no = e.node_no and l.link_no = e.link_no
	union all
	select 'organisation ' || e.org_id || ', audit row ' || e.seq, e.hash, encode(a.hash, 'hex')
	from jsonb_to_recordset($1::jsonb -> 'audit') as e(org_id uuid, seq bigint, hash text)
	left join takt.audit a on a.org_id = e.org_id and a.seq = e.seq
)
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when found is null then what || ': it was cut off' when found is distinct from hash
		then what || ': it was replaced' end as problem from was) c;
