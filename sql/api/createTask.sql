-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- $1.prepared: id, definition, source, next_due_at.
select * from takt.task_create($1::jsonb -> 'prepared');
