-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: snapshots belong to a run, until its month is dropped
-- invariant: I18
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when r.id is null and s.run_id >= takt.history_floor()
		then format('run %s is not there, its snapshot %s is', s.run_id, s.id) end as problem
	from takt.snapshot s left join takt.run r on r.id = s.run_id) c;
