-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Not a check: whom this connection is, and what it sees.
select (select max(version) from takt.schema_version) as version, current_user as role,
	current_user = 'takt_auditor' or not row_security_active('takt.run') as sees_all;
