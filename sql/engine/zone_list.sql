-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- The zones of schedules, and the rules by which their next times were computed.
select z.name, z.fingerprint from takt.zone z;
