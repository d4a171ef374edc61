-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The hook has checked and normalised it; only the inventory is asked here.
select 200 as status, jsonb_build_object('definition', $1::jsonb #> '{prepared,definition}', 'next', $1::jsonb #> '{prepared,next}',
	'warnings', coalesce($1::jsonb #> '{prepared,warnings}', '[]') || takt.task_warnings($1::jsonb #> '{prepared,definition}')) as body;
