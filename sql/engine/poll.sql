-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- What is due, or how long may the engine sleep? Milliseconds by the database's clock, at most 0
-- if due, null if there is nothing.
-- $1 node id
select
	(select ceil(extract(epoch from min(s.next_fire_at) - now()) * 1000)::bigint
	 from takt.schedule s where s.enabled and s.next_fire_at is not null) as schedule_ms,
	case when exists (select from takt.schedule s where s.replan_from is not null
		and (s.next_due_at is null or s.next_due_at > now() or not s.enabled)) then 0::bigint end as replan_ms,
	(select ceil(extract(epoch from min(l.next_at) - now()) * 1000)::bigint
	 from takt.live l where l.state = 'retry_wait') as retry_ms,
	(select ceil(extract(epoch from min(l.expires_at) - now()) * 1000)::bigint
	 from takt.live l where l.expires_at is not null) as expire_ms,
	case when exists (select from takt.live l where l.state = 'queued') then 0::bigint end as queued_ms,
	exists (select from takt.command c left join takt.live l on l.run_id = c.run_id
		where c.decided_at is null
		and (c.kind = 'run.create' or l.node_id is null or l.node_id = $1::uuid)) as has_commands;
