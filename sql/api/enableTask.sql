-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- A new revision with enabled set; the source stays that of the revision before.
select * from takt.task_change(($1::jsonb #>> '{path,id}')::uuid, $1::jsonb -> 'prepared', null, 'task.enable');
