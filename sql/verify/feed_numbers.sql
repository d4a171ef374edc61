-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: the feed numbers of an incarnation have no gap but where months were dropped
-- invariant: I22
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when feed_first <= was then format('stream %s-%s: %s is there twice', node_no, incarnation, feed_first)
		when feed_first > was + 1 and coalesce((
				select sum(least(l.last_feed, feed_first - 1) - greatest(l.first_feed, was + 1) + 1)
				from takt.event_link l
				where l.node_no = e.node_no and l.incarnation = e.incarnation and l.last_feed > e.was
				and l.first_feed < e.feed_first and l.oldest < takt.history_floor()), 0) < feed_first - 1 - was
			then format('stream %s-%s: %s is followed by %s', node_no, incarnation, was, feed_first)
		end as problem
	from (select node_no, incarnation, feed_first, coalesce(lag(feed_last) over (partition by node_no, incarnation
			order by feed_last), 0) as was
		from takt.event_batch) e) c;
