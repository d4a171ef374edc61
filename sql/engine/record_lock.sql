-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Hold the runs of a batch, in one order, so that its statements see the same rows.
-- $1 [run id, …]
select l.run_id from takt.live l
where l.run_id in (select x::uuid from jsonb_array_elements_text($1::jsonb) as a(x))
order by l.run_id
for update;
