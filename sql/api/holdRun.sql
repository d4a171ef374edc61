-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Retention keeps this run.
select * from takt.run_hold_put($1::jsonb #>> '{path,id}', $1::jsonb #>> '{body,reason}');
