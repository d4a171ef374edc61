-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Add a link to the chain of this node's events, or to each chain of a node that is gone: of the rows behind its last
-- link, in feed order, those of the first incarnation. Another engine may add the same link to a dead node's chain:
-- one row wins. Within an incarnation rows become visible in feed order, and an incarnation begins after the one before
-- has ended, so that no row appears behind the last link later.
-- $1 node id, $2 true: the nodes whose lease is over, false: this one, $3 at most so many rows a link
with head as (
	select n.no as node_no, coalesce(l.link_no, 0) as link_no, coalesce(l.incarnation, 0) as incarnation,
		coalesce(l.last_feed, 0) as last_feed, coalesce(l.hash, '\x') as hash
	from takt.node n left join lateral (select l.link_no, l.incarnation, l.last_feed, l.hash from takt.event_link l
		where l.node_no = n.no order by l.link_no desc limit 1) l on true
	where case when $2::boolean then n.id <> $1::uuid and n.lease_until < now() else n.id = $1::uuid end
), rest as (
	select h.node_no, e.incarnation, e.feed_first, e.feed_last, e.id, e.hash
	from head h, lateral (select e.incarnation, e.feed_first, e.feed_last, e.id, takt.event_hash(e) as hash
		from takt.event_batch e
		where e.node_no = h.node_no and (e.incarnation, e.feed_last) > (h.incarnation, h.last_feed)
		order by e.incarnation, e.feed_last limit $3::int) e
), piece as (
	select distinct on (node_no) node_no, incarnation, min(feed_first) as first_feed, max(feed_last) as last_feed,
		count(*)::int as n, min(id::text collate "C")::uuid as oldest,
		sha256(string_agg(hash, '')) as digest
	from (select * from rest order by node_no, incarnation, feed_last) r
	group by node_no, incarnation order by node_no, incarnation
), added as (
	insert into takt.event_link (node_no, link_no, incarnation, first_feed, last_feed, n, oldest, at, digest,
		prev_hash, hash)
	select p.node_no, h.link_no + 1, p.incarnation, p.first_feed, p.last_feed, p.n, p.oldest, now(), p.digest, h.hash,
		takt.link_hash(h.hash, p.node_no, h.link_no + 1, p.incarnation, p.first_feed, p.last_feed, p.n, p.oldest,
			now(), p.digest)
	from piece p join head h on h.node_no = p.node_no
	on conflict do nothing
)
select coalesce(bool_or(n = $3::int or incarnations > 1), false) as has_more
from (select count(*) as n, count(distinct incarnation) as incarnations from rest group by node_no) r;
