-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- A new revision; all tasks that follow it follow.
select * from takt.shared_change($1::jsonb #>> '{path,name}', $1::jsonb -> 'prepared', $1::jsonb ->> 'if_match');
