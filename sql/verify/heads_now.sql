-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Not a check: the heads of all chains, to be written down.
select takt.chain_heads() as heads;
