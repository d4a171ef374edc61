-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- What the hooks check against: types of loaded plugins. No token: neither table belongs to an organisation.
select coalesce(jsonb_agg(x.t), '[]') as types
from (select distinct on (t ->> 'id') t from takt.plugin p, jsonb_array_elements(p.types) t
	where p.status = 'loaded' order by t ->> 'id', p.seen_at desc) x;
