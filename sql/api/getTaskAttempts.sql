-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Attempts with the counts of their units.
select * from takt.attempts(takt.find_any($1::jsonb #>> '{path,id}'), 'task or run', $1::jsonb #>> '{path,id}');
