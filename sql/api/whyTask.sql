-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The decisions that the hook's probes fall on; the hook makes the answer.
select 200 as status, takt.why(($1::jsonb #>> '{path,id}')::uuid, $1::jsonb #> '{prepared,probes}') as body;
