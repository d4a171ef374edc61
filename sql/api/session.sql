-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- First in every transaction: $1 the token's text, $2 the least rank.
select takt.session($1::text, $2::int) as rank;
