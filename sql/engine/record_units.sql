-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- What units of runs with several targets have done, by compare-and-set on epoch, state and journal offset.
-- $1 [{"run_id","attempt","no","epoch","journal_off","state","is_started","age_us","error_class","error","result",
--    "snapshot_id","output_b","output_cut_b"}]; state null: no change
update takt.unit_row u set
	journal_off = x.journal_off,
	state = coalesce(x.state, u.state),
	started_at = case when x.is_started then coalesce(u.started_at,
		greatest(now() - x.age_us * interval '1 microsecond', l.opened_at)) else u.started_at end,
	finished_at = case when x.state is not null and x.state <> 'running' then now() end,
	error_class = x.error_class, error = x.error, result = x.result, snapshot_id = x.snapshot_id,
	output_b = greatest(u.output_b, x.output_b), output_cut_b = greatest(u.output_cut_b, x.output_cut_b)
from jsonb_to_recordset($1::jsonb) as x(run_id uuid, attempt int, no int, epoch bigint, journal_off bigint,
	state text, is_started boolean, age_us bigint, error_class text, error jsonb, result jsonb, snapshot_id text,
	output_b bigint, output_cut_b bigint)
join takt.live l on l.run_id = x.run_id and l.epoch = x.epoch and l.attempt = x.attempt
where u.run_id = x.run_id and u.attempt = x.attempt and u.no = x.no and u.epoch = x.epoch
and u.state in ('pending', 'running') and u.journal_off <= x.journal_off
returning u.run_id, u.no;
