-- SPDX-License-Identifier: Apache-2.0
-- The database's clock, which decides what is due; microseconds since 1970.
select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now_us
