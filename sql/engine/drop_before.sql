-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Drop the oldest month of history that is older than so many whole months; no row: there is none.
-- $1 months to keep beside the running one
select month, is_dropped, detail from takt.drop_before(
	(date_trunc('month', now() at time zone 'UTC') - make_interval(months => $1::int))::date);
