-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- What time it is: microseconds since 1970 by the database's clock, by which everything is decided.
select floor(extract(epoch from clock_timestamp()) * 1000000)::bigint as us;
