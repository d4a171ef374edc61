-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Partitions that the next 25 days need and that are not there.
select name from takt.missing_partitions(25);
