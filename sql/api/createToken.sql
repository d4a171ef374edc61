-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- $1.prepared: body and the hash of the text that the hook made; the hook adds the text to the answer.
select * from takt.token_create($1::jsonb -> 'prepared');
