-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- New days, all at once; schedules that use it get new next times.
select * from takt.calendar_put(lower($1::jsonb #>> '{path,name}'), $1::jsonb -> 'prepared', $1::jsonb ->> 'if_match');
