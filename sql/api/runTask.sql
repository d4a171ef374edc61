-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
-- A durable command; the engine makes the run.
select * from takt.run_task(($1::jsonb #>> '{path,id}')::uuid, $1::jsonb ->> 'idempotency_key', $1::jsonb ->> 'request_hash');
