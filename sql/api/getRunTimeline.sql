-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Events after query.since, by number.
select * from takt.timeline(takt.find_run($1::jsonb #>> '{path,id}'), 'run', $1::jsonb #>> '{path,id}',
	($1::jsonb #>> '{query,since}')::bigint, ($1::jsonb #>> '{query,limit}')::int);
