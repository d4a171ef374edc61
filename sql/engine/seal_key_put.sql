-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Publish what secrets and exact snapshots are sealed to.
-- $1 key id, $2 public key (bytea)
insert into takt.seal_key (id, public_key) values ($1::text, $2::bytea)
on conflict (id) do nothing;
