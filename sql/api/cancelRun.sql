-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- A durable command; the engine stops the run.
select * from takt.cancel_run($1::jsonb #>> '{path,id}', coalesce($1::jsonb #>> '{body,reason}', ''),
	$1::jsonb ->> 'idempotency_key', $1::jsonb ->> 'request_hash');
