-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Ends a transaction that may have added events: wakes the readers of the feed, once. One that wrote nothing wakes nobody.
select pg_notify('takt_feed', '') where pg_current_xact_id_if_assigned() is not null;
