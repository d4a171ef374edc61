/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Takt authors */
/* What the test plugins share: their parameters, sleeping until cancelled, durable lines. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <takt/plugin.h>
#include <time.h>
#include <unistd.h>

static inline const char *
param_str(const json_t *p, const char *key, const char *dflt)
{
	const char *s = json_string_value(json_object_get(p, key));

	return s ? s : dflt;
}

static inline int64_t
param_int(const json_t *p, const char *key, int64_t dflt)
{
	const json_t *v = json_object_get(p, key);

	return json_is_integer(v) ? json_integer_value(v) : dflt;
}

/* Sleep ms; non-zero if the unit was cancelled before. */
static inline int
sleep_or_cancel(const takt_host *h, takt_ctx *ctx, int64_t ms)
{
	struct timespec now;
	int64_t end;

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec * 1000 + now.tv_nsec / 1000000 + ms;
	for (;;) {
		struct pollfd p = {h->cancel_fd(ctx), POLLIN, 0};
		int64_t left;

		clock_gettime(CLOCK_MONOTONIC, &now);
		left = end - (now.tv_sec * 1000 + now.tv_nsec / 1000000);
		if (left <= 0)
			return h->is_cancelled(ctx);
		if (poll(&p, 1, (int)left) > 0)
			return 1;
	}
}

static inline int64_t
realtime_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

/* Append one line to path in one write, and make it durable. */
static inline void
append_line(const char *path, const char *line, int is_durable)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (fd < 0)
		return;
	if (write(fd, line, strlen(line)) < 0 || (is_durable && fsync(fd) < 0))
		perror(path);
	close(fd);
}
