-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: output has no overlap, and no gap but what the unit says was cut
-- invariant: I12
-- scope: month
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when o.has_overlap then format('unit %s.%s.%s: output overlaps', u.run_id, u.attempt, u.no)
		when coalesce(o.end_b, 0) > u.output_b
			then format('unit %s.%s.%s: output reaches to %s, the unit says %s', u.run_id, u.attempt, u.no, o.end_b, u.output_b)
		when u.output_b - coalesce(o.raw_b, 0) > u.output_cut_b
			then format('unit %s.%s.%s: %s of %s bytes of output are there, %s were cut', u.run_id, u.attempt, u.no,
				coalesce(o.raw_b, 0), u.output_b, u.output_cut_b)
		end as problem
	from takt.unit u left join (
		select run_id, attempt, unit_no, sum(raw_b) as raw_b, max(off + raw_b) as end_b,
			bool_or(off < coalesce(reached, 0) or raw_b <= 0) as has_overlap
		from (select run_id, attempt, unit_no, off, raw_b, max(off + raw_b) over (partition by run_id, attempt, unit_no
				order by off rows between unbounded preceding and 1 preceding) as reached
			from takt.output where run_id >= $1::uuid and run_id < $2::uuid) w
		group by run_id, attempt, unit_no) o on o.run_id = u.run_id and o.attempt = u.attempt and o.unit_no = u.no
	where u.run_id >= $1::uuid and u.run_id < $2::uuid) c;
