-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Ends a transaction that added events: wakes the readers of the feed, once.
select pg_notify('takt_feed', '');
