-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The node claims nothing more; what it has goes on.
select * from takt.node_drain($1::jsonb #>> '{path,node}', true);
