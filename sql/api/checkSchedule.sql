-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The hook has made the answer.
select 200 as status, $1::jsonb -> 'prepared' as body;
