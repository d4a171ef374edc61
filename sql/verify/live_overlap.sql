-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: of a task that queues its runs at most one has started
-- invariant: I4
-- scope: all
select coalesce(sum(n), 0) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select count(*) as n, case when count(*) filter (where attempt > 0) > 1
		then format('task %s: %s started runs at once', task_id, count(*) filter (where attempt > 0)) end as problem
	from takt.live where queue_depth group by task_id) c;
