// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The node's lease, as its engine tells it, and handed on to the keepers of units that must not
 * outlive it (on_lease_loss: kill). It is an instant of BOOTTIME, the same clock in all processes of
 * this machine, so that a frame that waited in the socket of a stopped process renews nothing.
 *
 * The executor stops nobody: each keeper looks at the clock itself, whatever has become of us.
 */
#include "executor/executor.h"

#include "base/clock.h"
#include "base/jsonx.h"

#include "base/banned.h"

static int64_t until_ms;

bool
lease_holds(void)
{
	return clock_boottime_ms() < until_ms;
}

int64_t
lease_until(const struct unit *u)
{
	return u->meta.is_killed_without_lease ? until_ms : -1;
}

void
lease_tell(const struct unit *u)
{
	_cleanup_json_ json_t *j = NULL;

	if (!u->meta.is_killed_without_lease || u->keeper_fd < 0 || !until_ms)
		return;
	j = json_pack("{s:I}", "until_ms", (json_int_t)until_ms);
	/* A keeper whose socket is full reads nothing anyhow. */
	frame_send(u->keeper_fd, FRAME_K_LEASE, 0, j, NULL, 0, -1, NULL);
}

void
lease_on_frame(const json_t *j)
{
	int64_t now = clock_boottime_ms(), left = json_get_int(j, "left_ms", 0);
	int64_t until = json_get_int(j, "until_ms", now + left);

	/* The shorter one: what is left cannot have grown on the way. */
	until = left < until - now ? now + left : until;
	if (until <= until_ms)
		return;
	until_ms = until;
	for (size_t i = 0; i < UNIT_BUCKETS; i++) {
		const struct unit *u;

		LIST_FOREACH(u, &X.units[i], bucket)
		if (u->phase == UNIT_STARTING || u->phase == UNIT_RUNNING)
			lease_tell(u);
	}
}
