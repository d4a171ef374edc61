-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- A new revision, made from the document that the hook merged.
select * from takt.task_change(($1::jsonb #>> '{path,id}')::uuid, $1::jsonb -> 'prepared', $1::jsonb ->> 'if_match', 'task.update');
