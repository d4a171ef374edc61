// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
// date-holidays as a filter, for test_calendars.py: a line "COUNTRY STATE FIRST LAST" in, its public holidays of these years out:
// [["2026-12-28", "Boxing Day (substitute day)"], …], the days as the clock there shows them.
"use strict";
const readline = require("node:readline");
const Holidays = require("date-holidays");

readline.createInterface({ input: process.stdin }).on("line", (line) => {
	const [country, state, first, last] = line.split(" ");
	const days = [];
	const hd = state === "-" ? new Holidays(country) : new Holidays(country, state);
	for (let year = Number(first); year <= Number(last); year++)
		for (const h of hd.getHolidays(year))
			if (h.type === "public")
				days.push([h.date.slice(0, 10), h.name]);
	console.log(JSON.stringify(days));
});
