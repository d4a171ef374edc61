-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Where the feed starts when a gateway starts.
select takt.feed_end() as cursor;
