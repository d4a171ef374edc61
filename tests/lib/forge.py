# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Rows that only an engine writes, written by a test."""
import json

# $: run, items, feed number or null (the next one), node's id or null (the only node), incarnation or null (the node's)
_EVENT = """
with told as (
    insert into takt.event_batch (id, org_id, node_no, incarnation, feed_first, feed_last, at, run_ids, task_ids, first_seqs,
        prevs, items)
    select takt.uuid_v7(), l.org_id, n.no, n.incarnation, f.feed, f.feed, now(), array[l.run_id], array[l.task_id],
        array[l.event_seq - json_array_length(a.items) + 1], array[l.last_batch], array[a.items]
    from (select %s::uuid as run, %s::json as items, %s::bigint as feed, %s::uuid as node) a
    join takt.live l on l.run_id = a.run join takt.node n on n.id = coalesce(a.node, n.id),
    lateral (select coalesce(a.feed, 1 + coalesce((select max(b.feed_last) from takt.event_batch b
        where b.node_no = n.no and b.incarnation = n.incarnation), 0)) as feed) f
    returning id, run_ids[1] as run_id
)
update takt.live l set last_batch = t.id from told t where l.run_id = t.run_id
"""


def add_events(execute, run, items, feed=None, node=None):
    """The live run's newest events, which its event_seq counts already."""
    execute(_EVENT, (run, json.dumps(items), feed, node))
