-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Attempts with the counts of their units.
select * from takt.attempts(takt.find_run($1::jsonb #>> '{path,id}'), 'run', $1::jsonb #>> '{path,id}');
