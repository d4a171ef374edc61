-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Ends a transaction that decided commands: wakes the gateways that wait for answers.
select pg_notify('takt_answer', ''), pg_notify('takt_feed', '');
