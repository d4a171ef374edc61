-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Refused while a schedule uses it.
select * from takt.calendar_delete(lower($1::jsonb #>> '{path,name}'));
