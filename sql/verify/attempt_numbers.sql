-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: attempts have the numbers 1, 2, … and epochs that rise
-- invariant: I9
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when no <> coalesce(lag(no) over run, 0) + 1
			then format('run %s: attempt %s comes after %s', run_id, no, coalesce(lag(no) over run, 0))
		when epoch <= coalesce(lag(epoch) over run, 0)
			then format('run %s: attempt %s has epoch %s, the one before %s', run_id, no, epoch,
				coalesce(lag(epoch) over run, 0))
		end as problem
	from takt.attempt where run_id >= $1::uuid and run_id < $2::uuid
	window run as (partition by run_id order by no)) c;
