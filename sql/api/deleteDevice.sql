-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
select * from takt.device_delete(($1::jsonb #>> '{path,id}')::uuid);
