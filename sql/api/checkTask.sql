-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The hook has checked and normalised it; only the inventory is asked here.
select 200 as status, ($1::jsonb -> 'prepared') - array['source', 'id', 'next_due_at']
	|| jsonb_build_object('warnings', takt.task_warnings($1::jsonb #> '{prepared,definition}')) as body;
