// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See clock.h. */
#include "base/clock.h"

#include <stdio.h>
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
	int64_t s = us / 1000000, frac = us % 1000000;
	time_t t;
	struct tm tm;
	size_t n;

	if (frac < 0) {
		frac += 1000000;
		s--;
	}
	t = (time_t)s;
	gmtime_r(&t, &tm);
	n = strftime(buf, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, 32 - n, ".%03dZ", (int)(frac / 1000));
	return buf;
}
