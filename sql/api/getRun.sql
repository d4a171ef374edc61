-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- One run, and whether it is held.
with a as (select $1::jsonb -> 'path' as p)
select case when t.id is null then 404 else 200 end as status,
	case when t.id is null then takt.not_found('run', a.p ->> 'id') else takt.run_json(t)
		|| jsonb_build_object('hold', (select takt.hold_json(h) from takt.run_hold h where h.run_id = t.id)) end as body
from a left join takt.run t on t.id = takt.find_run(a.p ->> 'id');
