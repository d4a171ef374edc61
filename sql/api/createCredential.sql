-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- $1.prepared: what the hook sealed.
select * from takt.credential_create($1::jsonb -> 'prepared');
