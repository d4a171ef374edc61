-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Renew the lease; no row: another engine has this node's identity.
-- $1 node id, $2 epoch
update takt.node set lease_until = now() + interval '30 s', beat = beat + 1
where id = $1::uuid and epoch = $2::bigint
returning no;
