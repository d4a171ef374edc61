-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
select * from takt.shared_enable($1::jsonb #>> '{path,name}', true, ($1::jsonb #>> '{query,backfill}')::boolean);
