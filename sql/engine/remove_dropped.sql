-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Free the room of one table that was dropped out of sight.
select takt.remove_dropped() as name;
