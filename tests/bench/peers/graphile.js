// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
// graphile-worker as its performance page tunes it: 24 jobs at a time, a local queue of 500, completions batched.
// node graphile.js throughput|latency|cron N; the server by PGHOST, PGUSER, PGDATABASE.
'use strict';
const { run, runMigrations, parseCronItems, Logger } = require('graphile-worker');
const { Pool } = require('pg');
const { say, go, sleep, seconds, main } = require('./talk.js');

const silent = new Logger(() => () => {});

const add = `select graphile_worker.add_jobs(array(
  select row('noop', json_build_object('i', g), null, null, null, null, null, null)::graphile_worker.job_spec
  from generate_series(1, $1::int) g))`;

function counted(n) {
  let left = n, over;
  const all = new Promise((resolve) => { over = resolve; });
  return { all, one: () => { if (--left === 0) over(); } };
}

async function throughput(base, pool, n) {
  await pool.query(add, [n]);
  await pool.query('vacuum analyze graphile_worker._private_jobs');
  const count = counted(n);
  await go({ loaded: n });
  const since = process.hrtime.bigint();
  const runner = await run({ ...base, taskList: { noop: async () => count.one() } });
  await count.all;
  while ((await pool.query('select 1 from graphile_worker._private_jobs limit 1')).rowCount) await sleep(2);
  say({ s: seconds(since) });
  await runner.stop();
}

async function latency(base, pool, n) {
  const started = new Map(), ms = [];
  const runner = await run({ ...base, taskList: { noop: async (p) => { started.set(p.i, process.hrtime.bigint()); } } });
  await sleep(1000);
  await go({ loaded: 0 });
  for (let i = 0; i < n; i++) {
    const since = process.hrtime.bigint();
    await pool.query("select graphile_worker.add_job('noop', json_build_object('i', $1::int))", [i]);
    while (!started.has(i)) await sleep(1);
    ms.push(Number(started.get(i) - since) / 1e6);
    await sleep(50);
  }
  say({ ms });
  await runner.stop();
}

// n schedules, all due at the next full minute.
async function cron(base, pool, n) {
  const ms = [], count = counted(n);
  const items = Array.from({ length: n }, (_, i) => (
    { task: 'tick', match: '* * * * *', identifier: 's' + i, options: { backfillPeriod: 0 } }));
  await go({ loaded: n });
  const runner = await run({ ...base, parsedCronItems: parseCronItems(items),
    taskList: { tick: async () => { if (ms.length < n) ms.push(Date.now() % 60000); count.one(); } } });
  await count.all;
  say({ ms });
  await runner.stop();
}

main(async (mode, n) => {
  const pool = new Pool({ max: 26 });
  const worker = { concurrentJobs: 24, maxPoolSize: 25, pollInterval: 2000, localQueue: { size: mode === 'latency' ? -1 : 500 },
    completeJobBatchDelay: 0, failJobBatchDelay: 0, logger: silent };
  const base = { preset: { worker }, pgPool: pool, logger: silent, noHandleSignals: true };
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  await runMigrations(base);
  await { throughput, latency, cron }[mode](base, pool, n);
});
