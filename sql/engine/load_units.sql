-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The units of those runs' open attempts that have more than one target, with what each needs to be started.
-- $1 node id, $2 run ids (uuid array) or null: all of this node
select u.run_id, u.no, u.epoch, u.state as unit_state, u.device_id, u.device_name, u.address, u.journal_off, u.output_b,
	u.error_class, u.error ->> 'code' as code, u.error ->> 'message' as message, u.error ->> 'hint' as hint, d.port,
	d.platform, d.host_key, c.id as credential_id, c.version as credential_version, c.username,
	encode(c.sealed, 'hex') as sealed,
	(select jsonb_agg(jsonb_build_object('key_type', k.key_type, 'public_key', k.public_key))
	 from takt.host_key k where k.device_id = u.device_id) as known
from takt.live l join takt.unit_row u on u.run_id = l.run_id and u.attempt = l.attempt
left join takt.device d on d.id = u.device_id
left join takt.credential c on c.id = d.credential_id
where l.node_id = $1::uuid and l.units > 1 and l.state in ('dispatched', 'running', 'cancelling')
and ($2::uuid[] is null or l.run_id = any ($2::uuid[]))
order by u.run_id, u.no;
