-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- An orderly end: nobody needs to wait for the lease to run out.
-- $1 node id, $2 epoch
update takt.node set lease_until = now()
where id = $1::uuid and epoch = $2::bigint;
