-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: output belongs to a unit
-- invariant: I18
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case when u.run_id is null
		then format('unit %s.%s.%s is not there, its output is', o.run_id, o.attempt, o.unit_no) end as problem
	from (select distinct run_id, attempt, unit_no from takt.output where run_id >= $1::uuid and run_id < $2::uuid) o
	left join takt.unit u on u.run_id = o.run_id and u.attempt = o.attempt and u.no = o.unit_no
		and u.run_id >= $1::uuid and u.run_id < $2::uuid) c;
