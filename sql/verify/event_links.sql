-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- title: the links of the event chains continue one another, and none was changed
-- invariant: I8
-- scope: all
select count(*) as examined, count(problem) as violations, to_jsonb(takt.first_20(problem)) as details
from (select case
		when link_no <> coalesce(was_no, 0) + 1
			then format('chain %s: link %s comes after %s', node_no, link_no, coalesce(was_no, 0))
		when prev_hash <> coalesce(was_hash, '\x')
			then format('chain %s: link %s does not continue the one before', node_no, link_no)
		when hash <> takt.link_hash(prev_hash, node_no, link_no, incarnation, first_feed, last_feed, n, oldest, at, digest)
			then format('chain %s: link %s was changed', node_no, link_no)
		when incarnation < was_incarnation or first_feed <> case incarnation when was_incarnation then was_feed + 1 else 1 end
			then format('chain %s: link %s begins at %s-%s, the one before ends at %s-%s', node_no, link_no, incarnation,
				first_feed, was_incarnation, was_feed)
		-- the first row behind the link before: found by one step in the index, where a range would be two conditions
		when (select (e.incarnation, e.feed_first) < (l.incarnation, l.first_feed) from takt.event_batch e
				where e.node_no = l.node_no
				and (e.incarnation, e.feed_last) > (coalesce(l.was_incarnation, -1), coalesce(l.was_feed, 0))
				order by e.incarnation, e.feed_last limit 1)
			then format('chain %s: there are events before link %s that no link has', node_no, link_no)
		end as problem
	from (select *, lag(link_no) over chain as was_no, lag(hash) over chain as was_hash,
			lag(incarnation) over chain as was_incarnation, lag(last_feed) over chain as was_feed
		from takt.event_link window chain as (partition by node_no order by link_no)) l) c;
