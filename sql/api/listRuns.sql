-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Newest first (ids are in order of time); the cursor is the last id. Live runs have their state in takt.live.
select * from takt.runs_page($1::jsonb -> 'query');
