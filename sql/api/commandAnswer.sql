-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Whether the engine has decided: no row, or what it answered.
select c.status as status, c.answer as body from takt.command c where c.id = $1::uuid and c.decided_at is not null;
