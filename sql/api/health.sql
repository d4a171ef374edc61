-- SPDX-License-Identifier: Apache-2.0
-- Does the database answer, and which schema is it? Needs no token.
select current_setting('server_version') as server_version, clock_timestamp() as now
