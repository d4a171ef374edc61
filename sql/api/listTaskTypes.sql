-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- What loaded plugins offer; of several versions of a type the one seen last.
select 200 as status, jsonb_build_object('items', coalesce(jsonb_agg(x.t || jsonb_build_object('plugin', x.name,
	'plugin_version', x.version) order by x.t ->> 'id'), '[]')) as body
from (select distinct on (t ->> 'id') t, p.name, p.version
	from takt.plugin p, jsonb_array_elements(p.types) t
	where p.status = 'loaded' and $1::jsonb is not null order by t ->> 'id', p.seen_at desc) x;
