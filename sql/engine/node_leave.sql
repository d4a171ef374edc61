-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- An orderly end: the lease is over at once.
-- $1 node id, $2 epoch
update takt.node set lease_until = now(), beat = beat + 1
where id = $1::uuid and epoch = $2::bigint;
