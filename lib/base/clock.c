// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See clock.h. */
#include "base/clock.h"

#include <string.h>
#include <time.h>

#include "base/banned.h"

static int64_t
read_clock(clockid_t id, int64_t per_s)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * per_s + ts.tv_nsec / (1000000000 / per_s);
}

int64_t
clock_realtime_us(void)
{
	return read_clock(CLOCK_REALTIME, 1000000);
}

int64_t
clock_monotonic_ms(void)
{
	return read_clock(CLOCK_MONOTONIC, 1000);
}

int64_t
clock_boottime_ms(void)
{
	return read_clock(CLOCK_BOOTTIME, 1000);
}

const char *
clock_rfc3339_us(int64_t us, char buf[32])
{
	/* Most calls are about the same second as the last one. */
	static _Thread_local int64_t known_s = -1;
	static _Thread_local char known[32];
	int64_t s = us / 1000000, frac = us % 1000000;

	if (frac < 0) {
		frac += 1000000;
		s--;
	}
	if (s != known_s || !*known) {
		time_t t = (time_t)s;
		struct tm tm;
		gmtime_r(&t, &tm);
		strftime(known, sizeof(known), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		known_s = s;
	}
	memcpy(buf, known, sizeof(known));
	char *ms = buf + strlen(buf) - 4;
	ms[0] = (char)('0' + frac / 100000);
	ms[1] = (char)('0' + frac / 10000 % 10);
	ms[2] = (char)('0' + frac / 1000 % 10);
	return buf;
}
