-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Newest first; the cursor is the last sequence number.
with a as (select $1::jsonb -> 'query' as q),
page as (
	select t.seq, jsonb_build_object('seq', t.seq, 'at', takt.ts(t.at), 'actor', t.actor, 'action', t.action,
		'object_type', t.object_type, 'object_id', t.object_id, 'detail', t.detail, 'hash', encode(t.hash, 'hex')) as item
	from takt.audit t, a
	where t.seq < case when a.q ->> 'cursor' ~ '^[0-9]{1,18}$' then (a.q ->> 'cursor')::bigint else 9223372036854775807 end
	order by t.seq desc limit (select (q ->> 'limit')::int + 1 from a))
select 200 as status, takt.page(array_agg(item order by seq desc) filter (where seq is not null),
	array_agg(seq::text order by seq desc) filter (where seq is not null), (a.q ->> 'limit')::int) as body
from a left join page on true group by a.q;
