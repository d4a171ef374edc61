-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Before a node is entered: if every lease has been over for a while, nobody fired anything since. One that had the lease
-- at its end may have been dead for up to 30 s before it.
insert into takt.downtime (from_at, until_at)
select n.last, now() from (select max(lease_until) as last from takt.node) n
where n.last < now() - interval '30 s'
on conflict do nothing;
