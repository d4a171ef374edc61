// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What outlives a unit, and an executor: units found on disk at start, and those that the engine has
 * settled, kept for a database that may have forgotten them (a failover that lost commits).
 */
#include "executor/executor.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "executor/spares.h"

#include "base/banned.h"

#define SETTLED_KEEP_MS (15 * 60 * 1000)
#define SETTLED_LOOK_S 20.

static ev_timer settled_timer;

void
unit_settle(struct unit *u)
{
	_cleanup_fd_ int fd = unit_file_open(X.units_fd, u->meta.unit);

	stream_stop(u);
	if (fd >= 0)
		unit_mark(fd, UNIT_SETTLED);
	FAILPOINT("executor.settled");
	if (u->is_settled)
		return;
	u->is_settled = true;
	u->settled_ms = clock_monotonic_ms();
	TAILQ_INSERT_TAIL(&X.settled, u, link);
}

static void
on_settled_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct unit *u;

	(void)loop;
	(void)w;
	(void)revents;
	while (
	    (u = TAILQ_FIRST(&X.settled)) && clock_monotonic_ms() - u->settled_ms > SETTLED_KEEP_MS)
		unit_forget(u);
	stream_pump();
}

void
keep_init(void)
{
	TAILQ_INIT(&X.settled);
	ev_timer_init(&settled_timer, on_settled_timer, SETTLED_LOOK_S, SETTLED_LOOK_S);
	ev_timer_start(X.loop, &settled_timer);
}

static void
scan_one(const char *name)
{
	_cleanup_fd_ int fd = unit_file_open(X.units_fd, name);
	struct unit_meta m = {0};
	struct unit *u;

	if (fd < 0)
		return;
	if (unit_meta_read(fd, &m, NULL) < 0 || strcmp(m.unit, name) != 0) {
		m = (struct unit_meta){0};
		snprintf(m.unit, sizeof(m.unit), "%s", name);
	}
	u = unit_new(&m, UNIT_ADOPTING);
	if (unit_is_marked(fd, UNIT_SETTLED)) {
		/* Kept for another full period: the clock that counts does not survive us. */
		unit_set_phase(u, UNIT_FINISHED);
		unit_settle(u);
	} else
		adopt_start(u);
}

void
units_scan(void)
{
	int fd = openat(X.units_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *ent;

	/* One more than there are, so that nothing is listed before all were looked at. */
	X.adopting++;
	while (d && (ent = readdir(d)))
		if (unit_id_valid(ent->d_name))
			scan_one(ent->d_name);
		else
			spare_note(ent->d_name);
	if (d)
		closedir(d);
	spare_stock(X.units_fd);
	X.adopting--;
}
