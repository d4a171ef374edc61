-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Forget plugin files that the executor's full listing no longer has.
-- $1 node id, $2 ["file", …]
delete from takt.plugin
where node_id = $1::uuid and not ($2::jsonb ? file);
