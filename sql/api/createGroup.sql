-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
select * from takt.group_create($1::jsonb -> 'body');
