// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
// pg-boss, tuned: batches of 1,000, 4 workers, the next fetch at once after a full batch.
// node pgboss.js throughput N; the server by PGHOST, PGUSER, PGDATABASE.
'use strict';
const { Pool } = require('pg');
const { PgBoss } = require('pg-boss');
const { say, go, sleep, seconds, main } = require('./talk.js');

const CHUNK = 5000;

main(async (mode, n) => {
  const pool = new Pool({ max: 2 });
  const boss = new PgBoss({ host: process.env.PGHOST, user: process.env.PGUSER, database: process.env.PGDATABASE, max: 12 });
  let left = n, over;
  const all = new Promise((resolve) => { over = resolve; });

  boss.on('error', (e) => console.error(e.message));
  await boss.start();
  await boss.createQueue('noop');
  for (let i = 0; i < n; i += CHUNK)
    await boss.insert('noop', Array.from({ length: Math.min(CHUNK, n - i) }, (_, k) => ({ data: { i: i + k } })));
  await pool.query('vacuum analyze');
  await go({ loaded: n });
  const since = process.hrtime.bigint();
  await boss.work('noop', { batchSize: 1000, localConcurrency: 4, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true },
    async (jobs) => { left -= jobs.length; if (left <= 0) over(); });
  await all;
  while ((await pool.query("select 1 from pgboss.job where name = 'noop' and state < 'completed' limit 1")).rowCount) await sleep(2);
  say({ s: seconds(since) });
  await boss.stop({ graceful: false });
});
