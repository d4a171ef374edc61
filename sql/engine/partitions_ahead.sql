-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Make the partitions from last month to four months ahead.
select takt.make_partitions((current_date - interval '1 month')::date, 6) as made;
