-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- $1.prepared: what the hook sealed anew, or only new names.
select * from takt.credential_update(($1::jsonb #>> '{path,id}')::uuid, $1::jsonb -> 'prepared');
