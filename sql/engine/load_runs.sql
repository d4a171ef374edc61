-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- This node's runs with an open attempt: those just claimed, or (null) all of them, at recovery.
-- $1 node id, $2 [run id, …] or null
select l.run_id, l.org_id, l.task_id, l.state, l.epoch, l.attempt, coalesce(l.cancel_reason, '') as cancel_reason,
	r.task_type, r.task_name, r.policy, a.state as attempt_state, a.timeout_s,
	a.taken_from is not null as is_rescued,
	ceil(extract(epoch from a.opened_at + make_interval(secs => a.timeout_s) - now()) * 1000)::bigint
		as remaining_ms,
	floor(extract(epoch from now() - l.started_at) * 1000)::bigint as running_ms,
	(select count(*) from takt.unit u where u.run_id = l.run_id and u.attempt = 1) as units_total,
	(select count(distinct u.no) from takt.unit u where u.run_id = l.run_id and u.attempt < l.attempt
		and u.state in ('passed', 'skipped')) as passed_before
from takt.live l join takt.run r on r.id = l.run_id
join takt.attempt a on a.run_id = l.run_id and a.no = l.attempt
where l.node_id = $1::uuid and l.state in ('dispatched', 'running', 'cancelling')
and ($2::jsonb is null or $2::jsonb ? l.run_id::text)
order by l.run_id;
