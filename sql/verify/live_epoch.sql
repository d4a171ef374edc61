-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: a live run's epoch and attempt are those of its last attempt
-- invariant: I7
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when l.epoch <> coalesce(a.epoch, 0) or l.attempt <> coalesce(a.no, 0)
		then format('run %s: the live row says attempt %s of epoch %s, the last attempt is %s of epoch %s', l.run_id, l.attempt,
			l.epoch, coalesce(a.no, 0), coalesce(a.epoch, 0)) end as problem
	from takt.live l left join lateral (select a.no, a.epoch from takt.attempt a where a.run_id = l.run_id
		order by a.no desc limit 1) a on true) c;
