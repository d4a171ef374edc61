// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
// How a peer talks to the bench (tests/bench/peers.py): a line of JSON when loaded, one when done; it goes on at a line from there.
'use strict';
const readline = require('node:readline');
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

exports.say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
exports.go = async (what) => { exports.say(what); await lines.next(); };
exports.sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
exports.seconds = (since) => Number(process.hrtime.bigint() - since) / 1e9;
exports.main = (run) => run(process.argv[2], Number(process.argv[3])).then(() => process.exit(0), (e) => {
  console.error(e);
  process.exit(1);
});
