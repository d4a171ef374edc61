-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
select * from takt.shared_create($1::jsonb -> 'prepared');
