-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Who the token says the caller is.
select 200 as status, jsonb_build_object('actor', t.actor, 'role', t.role, 'org', o.name, 'token', t.name) as body
from takt.current_token() t join takt.org o on o.id = t.org_id where $1::jsonb is not null;
