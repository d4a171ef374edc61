-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Make the months' partitions that are missing.
-- $1 first month (a date), $2 how many
select takt.make_partitions($1::date, $2::int) as made;
