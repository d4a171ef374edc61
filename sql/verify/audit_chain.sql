-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: audit rows continue one another, and none was changed
-- invariant: I23
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when a.seq <> coalesce(lag(a.seq) over chain, 0) + 1
			then format('organisation %s: audit row %s comes after %s', a.org_id, a.seq, coalesce(lag(a.seq) over chain, 0))
		when a.prev_hash <> coalesce(lag(a.hash) over chain, '\x')
			then format('organisation %s: audit row %s does not continue the one before', a.org_id, a.seq)
		when a.hash <> takt.audit_hash(a.prev_hash, a.org_id, a.seq, a.at, a.actor, a.action, a.object_type, a.object_id,
			a.detail)
			then format('organisation %s: audit row %s was changed', a.org_id, a.seq)
		end as problem
	from takt.audit a window chain as (partition by a.org_id order by a.seq)) c;
