-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: events of a run are numbered 1, 2, … without gaps
-- invariant: I8
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when first_seq <> expected
		then format('run %s: event %s is followed by event %s', run_id, expected - 1, first_seq) end as problem
	from (select run_id, first_seq, coalesce(lag(first_seq + json_array_length(items)) over (partition by run_id
			order by first_seq), 1) as expected
		from takt.month_events($1::uuid, $2::uuid)) e) c;
