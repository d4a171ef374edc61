-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- The layout of runs, chosen by measurement (sql/README.md).
select 1;
