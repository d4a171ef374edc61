-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- From now on next times are those of these rules.
-- $1 [{"name", "was": fingerprint or null, "now"}, …]
update takt.zone z set fingerprint = c.now, changed_at = now()
from jsonb_to_recordset($1::jsonb) c(name text, was text, now text)
where z.name = c.name and z.fingerprint is not distinct from c.was;
