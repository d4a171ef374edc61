-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Hold the shipped calendars that calendars_put.sql will change, behind whoever saves a schedule that uses one.
-- $1 as there
select c.id from jsonb_to_recordset($1::jsonb) as x(name text, digest text)
join takt.calendar c on c.org_id is null and c.name = x.name
where c.digest <> decode(x.digest, 'hex')
order by c.id for update of c;
