-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Revisions and schedule go with it; runs and events stay.
select * from takt.task_delete(($1::jsonb #>> '{path,id}')::uuid, $1::jsonb ->> 'if_match');
