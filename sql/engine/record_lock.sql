-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Hold the runs of a batch, in one order, so that its statements see the same rows.
-- $1 run ids (uuid array)
select l.run_id from takt.live l where l.run_id = any ($1::uuid[]) order by l.run_id for update;
