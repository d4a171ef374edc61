// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
// Other cron libraries as a filter, for test_peers.py: a line {"expr", "zone", "after", "count", "instants"} in, a line
// {"croner": [unix, …] or "error: …", "cron-parser": …, "offsets": those of the instants by Node's own zone data} out.
"use strict";
const readline = require("node:readline");
const { Cron } = require("croner");
const { CronExpressionParser } = require("cron-parser");

function croner(q) {
	const options = { timezone: q.zone, paused: true, fixedTimeRule: "no-wildcard" };
	const runs = new Cron(q.expr, options).nextRuns(q.count, new Date(q.after * 1000));
	return runs.map((d) => d.getTime() / 1000);
}

function cronParser(q) {
	const it = CronExpressionParser.parse(q.expr, { tz: q.zone, currentDate: new Date(q.after * 1000) });
	const out = [];
	while (out.length < q.count)
		out.push(it.next().getTime() / 1000);
	return out;
}

function attempt(library, q) {
	try {
		return library(q);
	} catch (e) {
		return "error: " + e.message.slice(0, 120);
	}
}

const formats = new Map();
function offset(zone, unix) {
	if (!formats.has(zone))
		formats.set(zone, new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" }));
	const [, sign, h, m] = / GMT(?:([+-])(\d+):(\d+))?/.exec(formats.get(zone).format(new Date(unix * 1000)));
	return sign ? (sign === "-" ? -1 : 1) * (h * 3600 + m * 60) : 0;
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
	const q = JSON.parse(line);
	const offsets = q.instants.map((t) => offset(q.zone, t));
	console.log(JSON.stringify({ croner: attempt(croner, q), "cron-parser": attempt(cronParser, q), offsets }));
});
