-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: the event rows are those that were linked
-- invariant: I8
-- scope: all
-- Links with rows of a month that was dropped lack some: they are left out.
select coalesce(sum(found), 0) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select r.found, case
		when r.found <> l.n then format('chain %s, link %s (%s-%s to %s): %s event rows, %s were linked', l.node_no, l.link_no,
			l.incarnation, l.first_feed, l.last_feed, r.found, l.n)
		when r.digest <> l.digest then format('chain %s, link %s (%s-%s to %s): an event row was changed', l.node_no, l.link_no,
			l.incarnation, l.first_feed, l.last_feed)
		end as problem
	from takt.event_link l cross join lateral (
		select count(*) as found, sha256(coalesce(string_agg(takt.event_hash(e), '' order by e.feed_last), '')) as digest
		from takt.event_batch e where e.node_no = l.node_no and e.incarnation = l.incarnation
		and e.feed_last between l.first_feed and l.last_feed) r
	where l.oldest >= $1::uuid) c;
