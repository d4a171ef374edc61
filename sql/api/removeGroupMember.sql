-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
select * from takt.group_member_set(($1::jsonb #>> '{path,id}')::uuid, ($1::jsonb #>> '{path,device_id}')::uuid, false);
