-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- This node's runs with an open attempt, a run with one target or none with its unit: those just rescued, or (null) all
-- of them, at recovery.
-- $1 node id, $2 run ids (uuid array) or null
select l.run_id, l.org_id, l.task_id, l.state, l.epoch, l.attempt, coalesce(l.cancel_reason, '') as cancel_reason,
	r.task_type, r.task_revision || '.' || jsonb_hash_extended(r.policy, 0) as policy_key,
	l.attempt_started_at is not null as is_attempt_started, l.timeout_s,
	ceil(extract(epoch from l.opened_at + make_interval(secs => l.timeout_s) - now()) * 1000)::bigint as remaining_ms,
	floor(extract(epoch from now() - l.started_at) * 1000)::bigint as running_ms,
	l.taken_from is not null as is_rescued, l.units as units_total,
	case when l.units > 1 and l.attempt > 1 then (select count(distinct u.no) from takt.unit_row u where u.run_id = l.run_id
		and u.attempt < l.attempt and u.state in ('passed', 'skipped')) else 0 end as passed_before,
	0 as no, case when l.attempt_started_at is null then 'pending' else 'running' end as unit_state, l.journal_off,
	l.output_b, l.device_id, l.device_name, l.address, d.port, d.platform, d.host_key, c.id as credential_id,
	c.version as credential_version, c.username, encode(c.sealed, 'hex') as sealed,
	(select jsonb_agg(jsonb_build_object('key_type', k.key_type, 'public_key', k.public_key))
		from takt.host_key k where k.device_id = d.id) as known
from takt.live l join takt.run r on r.id = l.run_id
left join takt.device d on d.id = l.device_id left join takt.credential c on c.id = d.credential_id
where l.node_id = $1::uuid and l.state in ('dispatched', 'running', 'cancelling')
and ($2::uuid[] is null or l.run_id = any ($2::uuid[]))
order by l.run_id;
