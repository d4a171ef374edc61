-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Queued runs with their event task_created, as an engine would have written them over time: ids ascend, one a millisecond.
-- Used by Loader in common.py: tasks of type %(type)s in turn; %(first)s..%(last)s numbers in the stream of node %(node)s.
with task as (
	select *, row_number() over (order by id) as nth, count(*) over () as total from takt.task where task_type = %(type)s
), asked as materialized (
	select g, overlay(takt.uuid_v7()::text placing
			left(takt.uuid_floor(now() - (%(last)s::int - g) * interval '1 ms')::text, 13) from 1 for 13)::uuid as run_id,
		upper(substr(md5(g::text || random()::text), 1, 8)) as code, t.*,
		overlay(md5(%(node)s || ' ' || %(first)s || ' ' || g / 200)::uuid::text placing left(takt.uuid_floor(now())::text, 13)
			from 1 for 13)::uuid as batch
	from generate_series(%(first)s::int, %(last)s::int) g join task t on t.nth = g %% t.total + 1
	order by g
), made as (
	insert into takt.run (id, org_id, code, task_id, task_revision, task_name, task_type, trigger, actor, created_at, policy)
	select run_id, org_id, code, id, revision, name, task_type, 'manual', 'bench', now(), definition || '{"revision": 1}' from asked
), alive as (
	insert into takt.live (run_id, org_id, task_id, state, next_at, event_seq, last_batch, queue_depth, task_type,
		task_revision, policy_hash, timeout_s, target)
	select run_id, org_id, id, 'queued', now(), 1, batch, definition ->> 'overlap' = 'queue', task_type, revision,
		takt.policy_hash(definition || '{"revision": 1}'), takt.policy_timeout_s(definition), takt.policy_target(definition)
	from asked
)
insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs, prevs, items)
select batch, org_id, %(node)s, 1, min(g), max(g), now(), array_agg(run_id order by g), array_agg(id order by g), array_agg(1),
	array_agg(null::uuid), array_agg(json_build_array(jsonb_build_object('type', 'task_created',
	'severity', 'info', 'at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'state', 'queued',
	'trigger', 'manual', 'task_name', name, 'task_type', task_type, 'actor', 'bench', 'code', code)) order by g)
from asked group by batch, org_id
