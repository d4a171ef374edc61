-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Platform files that the engine has read.
select 200 as status, jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('name', p.name, 'title', p.title,
	'evidence', p.evidence, 'digest', p.digest) order by p.name), '[]')) as body
from takt.platform p where $1::jsonb is not null;
