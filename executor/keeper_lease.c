// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A unit that changes something must be dead before another node may take over its run. So its
 * keeper holds the node's lease as an instant of BOOTTIME and stops its tree when that is over,
 * whoever else is dead or stopped by then. The timer is a descriptor of BOOTTIME: it ends with the
 * lease also when the machine slept meanwhile.
 */
#include "executor/keeper_priv.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#include "base/banned.h"

static void
set_timer(const struct keeper *k)
{
	const struct itimerspec at = {.it_value = {.tv_sec = k->lease_until_ms / 1000,
					  .tv_nsec = k->lease_until_ms % 1000 * 1000000}};

	if (timerfd_settime(k->lease_fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
		log_fatal(LOG_KEEPER, "timer of the lease: %m");
}

void
lease_init(struct keeper *k)
{
	if (k->job->lease_until_ms < 0)
		return;
	k->lease_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	/* At most a millisecond after the epoch of the clock: zero would stop the timer. */
	k->lease_until_ms = k->job->lease_until_ms ? k->job->lease_until_ms : 1;
	set_timer(k);
}

void
lease_renew(struct keeper *k, int64_t until_ms)
{
	/* Once over it stays over: another node may have taken the run meanwhile. */
	lease_check(k);
	if (k->lease_fd < 0 || until_ms <= k->lease_until_ms)
		return;
	k->lease_until_ms = until_ms;
	set_timer(k);
}

void
lease_check(struct keeper *k)
{
	int64_t grace = k->job->grace_ms;

	if (k->lease_fd < 0 || clock_boottime_ms() < k->lease_until_ms)
		return;
	close(k->lease_fd);
	k->lease_fd = -1;
	keeper_stop(k, STOP_LEASE, grace < LEASE_GRACE_MS ? grace : LEASE_GRACE_MS,
	    "the node's lease is over");
}
