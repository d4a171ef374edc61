-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Retention may take this run again.
select * from takt.run_hold_end($1::jsonb #>> '{path,id}');
