-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Decide run.create commands: a run of its own for each, whatever the task's schedule says. A run id that
-- is not of this time has no partition, and one that is taken makes no second run: such a command is refused, or it
-- would hold up all others.
-- $1 node id, $2 [{"id":command,"code"}]
with me as materialized (
	select n.no, n.incarnation, takt.uuid_v7() as batch, coalesce((select max(e.feed_last) from takt.event_batch e
		where e.node_no = n.no and e.incarnation = n.incarnation), 0) as feed,
		to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
	from takt.node n where n.id = $1::uuid
), cmd as (
	select c.id, c.org_id, c.actor, c.run_id, c.body, a.code
	from takt.command c join jsonb_to_recordset($2::jsonb) as a(id uuid, code text) on a.id = c.id
	where c.kind = 'run.create' and c.decided_at is null
	for update of c skip locked
), found as (
	select c.id, c.org_id, c.actor, c.run_id, c.code, c.body, t.id as task_id, t.name, t.task_type,
		t.revision, t.definition, c.has_place
	from (select cmd.*, coalesce(run_id between takt.uuid_floor(now() - interval '25 days')
			and takt.uuid_floor(now() + interval '25 days'), false)
			and row_number() over (partition by run_id order by id) = 1 as has_place from cmd) c
	left join takt.task t on t.org_id = c.org_id and c.has_place
		and t.id = case when c.body ->> 'task_id' ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
			then (c.body ->> 'task_id')::uuid end
), made as (
	insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, actor,
		created_at, policy)
	select run_id, org_id, code, task_id, revision, name, task_type, 'manual', actor, now(),
		definition || jsonb_build_object('revision', revision)
	from found where task_id is not null
	on conflict (id) do nothing
	returning id, org_id, task_id, task_type, task_revision, policy
), fresh as (
	select f.* from found f join made m on m.id = f.run_id where f.task_id is not null
), alive as (
	insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, last_batch, queue_depth, task_type,
		task_revision, policy_hash, timeout_s, target)
	select m.id, m.org_id, m.task_id, 'queued', now(), 1, me.batch, coalesce(m.policy ->> 'overlap', 'queue') <> 'parallel',
		m.task_type, m.task_revision, takt.policy_hash(m.policy), takt.policy_timeout_s(m.policy), takt.policy_target(m.policy)
	from made m, me
), item as (
	select f.org_id, f.run_id, f.task_id, 1 as first_seq, null::uuid as prev,
		json_build_array(jsonb_build_object('type', 'task_created', 'severity', 'info', 'at', me.at,
			'state', 'queued', 'trigger', 'manual', 'task_name', f.name, 'task_type', f.task_type,
			'actor', f.actor, 'code', f.code)) as items
	from fresh f, me
), told as (
	insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
		prevs, items)
	select me.batch, t.org_id, me.no, me.incarnation, me.feed + min(t.nth), me.feed + max(t.nth), now(),
		array_agg(t.run_id order by t.nth), array_agg(t.task_id order by t.nth), array_agg(t.first_seq order by t.nth),
		array_agg(t.prev order by t.nth), array_agg(t.items order by t.nth)
	from (select i.*, row_number() over (order by i.org_id, i.run_id) as nth from item i) t, me
	group by t.org_id, me.batch, me.no, me.incarnation, me.feed
)
update takt.command c set decided_at = now(),
	status = case when f.has_place and f.task_id is null then 404 when m.id is null or not f.has_place then 422 else 201 end,
	answer = case when not f.has_place or m.id is null and f.task_id is not null then jsonb_build_object('code', 'run.bad_id',
			'detail', format('%s is taken, or not a version 7 UUID of the present', f.run_id))
		when f.task_id is null then jsonb_build_object('code', 'task.not_found',
			'detail', format('there is no task %s', f.body ->> 'task_id'))
		else jsonb_build_object('id', f.run_id, 'code', f.code, 'state', 'queued', 'task_id', f.task_id,
			'task_name', f.name, 'task_type', f.task_type, 'trigger', 'manual', 'actor', f.actor,
			'attempt', 0, 'created_at', me.at) end
from found f left join made m on m.id = f.run_id, me
where c.id = f.id
returning c.status;
