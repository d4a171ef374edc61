-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
select * from takt.device_update(($1::jsonb #>> '{path,id}')::uuid, $1::jsonb -> 'body');
