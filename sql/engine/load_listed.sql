-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- What the database knows of the units that the executor holds. Each is looked up by itself (offset 0): a join would
-- read all units of all history.
-- $1 ["run.attempt.no", …]
select x.unit, u.epoch, u.state
from jsonb_array_elements_text($1::jsonb) as x(unit), lateral (
	select u.epoch, u.state from takt.unit u
	where u.run_id = split_part(x.unit, '.', 1)::uuid and u.attempt = split_part(x.unit, '.', 2)::int
		and u.no = split_part(x.unit, '.', 3)::int
	offset 0) u;
