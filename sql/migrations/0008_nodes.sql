-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Several nodes: filled by the work on rescue and draining.
select 1;
