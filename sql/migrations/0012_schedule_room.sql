-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- Room in the pages of `schedule`: each firing writes its row anew, and beside the old one it dirties one page instead of
-- two (four tenths of a tick's WAL after a checkpoint). A table that is full already gets it as rows move.

alter table takt.schedule set (fillfactor = 80);
