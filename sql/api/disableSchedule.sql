-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- All tasks that follow it pause.
select * from takt.shared_enable($1::jsonb #>> '{path,name}', false, false);
