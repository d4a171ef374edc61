-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Be the only engine of this node: granted when the backend of the one before is gone, with every
-- commit of its that was in doubt. Held by the connection.
-- $1 node id
select pg_advisory_lock(hashtextextended('takt.node:' || $1::uuid, 0));
