-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- Host keys learned by trust on first use; the first one stays.
-- $1 [{"run_id","device_id","key_type","public_key","fingerprint"}]
insert into takt.host_key (device_id, org_id, key_type, public_key, fingerprint, learned_by)
select d.id, d.org_id, x.key_type, x.public_key, x.fingerprint, 'tofu run ' || x.run_id
from jsonb_to_recordset($1::jsonb) as x(run_id uuid, device_id uuid, key_type text, public_key text,
	fingerprint text)
join takt.live l on l.run_id = x.run_id
join takt.device d on d.id = x.device_id and d.org_id = l.org_id
on conflict do nothing;
