-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Take finished runs out of live, in the transaction that finished them.
-- $1 [run id, …]
with gone as (
	delete from takt.live l using takt.run r
	where l.run_id in (select x::uuid from jsonb_array_elements_text($1::jsonb) as a(x))
	and r.id = l.run_id and r.state is not null
	returning l.task_id, coalesce(l.started_at, now()) as at
)
update takt.task t set last_run_at = greatest(t.last_run_at, g.at)
from (select task_id, max(at) as at from gone group by task_id) g
where t.id = g.task_id;
