-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Runs of one task, newest first (ids are in order of time). The cursor is the last id. A task that does not exist has none.
select * from takt.runs_page(($1::jsonb -> 'query') || jsonb_build_object('task', $1::jsonb #>> '{path,id}'));
