-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: an idempotency key has one command, a run was asked for once
-- invariant: I5
-- scope: all
select coalesce(sum(n), 0) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select count(*) as n, case when count(*) > 1 and idem_key is not null
		then format('organisation %s: the key %s has %s commands', org_id, idem_key, count(*)) end as problem
	from takt.command group by org_id, idem_key
	union all
	select 0, format('run %s was asked for by %s commands', run_id, count(*)) as problem
	from takt.command where kind = 'run.create' group by run_id having count(*) > 1) c;
