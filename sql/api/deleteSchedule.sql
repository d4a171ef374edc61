-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Refused while a task follows it.
select * from takt.shared_delete($1::jsonb #>> '{path,name}', $1::jsonb ->> 'if_match');
