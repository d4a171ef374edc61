// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The keeper's part of its unit's file: the journal, appended here only, and the result, written
 * once behind it. The executor reads both; a frame is in the file before GREW names it.
 */
#include "executor/keeper_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/io.h"
#include "base/log.h"

#include "base/banned.h"

/* Kept free behind the journal: a disk that fills up while the unit runs must not eat its result. */
#define RESULT_RESERVE 65536u
/* Asked for beyond that, so that not each frame has to ask. */
#define ROOM_STEP 65536u

/* Room for a file that ends at `end`, and for the result behind it. */
static int
make_room(struct keeper *k, uint64_t end)
{
	uint64_t want = end + RESULT_RESERVE;

	if (want <= k->room_b)
		return 0;
	if (want > k->file_max_b) {
		errno = EFBIG;
		return -1;
	}
	want += ROOM_STEP;
	/* A file system that cannot reserve gives what it can. */
	if (fallocate(k->job->file_fd, FALLOC_FL_KEEP_SIZE, (off_t)k->room_b,
		(off_t)(want - k->room_b)) < 0 &&
	    errno != EOPNOTSUPP)
		return -1;
	k->room_b = want;
	return 0;
}

int
journal_open(struct keeper *k, struct err *e)
{
	struct rlimit size = {.rlim_cur = RLIM_INFINITY};

	FAILPOINT_FILE(k->job->file_fd);
	getrlimit(RLIMIT_FSIZE, &size);
	k->file_max_b = size.rlim_cur;
	k->room_b = UNIT_HEAD_B;
	if (lseek(k->job->file_fd, UNIT_HEAD_B, SEEK_SET) < 0 || make_room(k, UNIT_HEAD_B) < 0)
		return err_sys(e, "no room for journal and result");
	return 0;
}

/* All of it or nothing: half a frame would hide what comes after it. */
static int
write_frame(struct keeper *k, uint64_t at, const struct buf *b)
{
	int fd = k->job->file_fd, saved;

	if (io_write_all(fd, b->p, b->n) == 0)
		return 0;
	saved = errno;
	if (ftruncate(fd, (off_t)at) < 0 || lseek(fd, (off_t)at, SEEK_SET) < 0)
		log_error(LOG_KEEPER, "journal cannot be cut back: %m");
	/* Cutting gave back what was reserved for the result, too. */
	k->room_b = at;
	make_room(k, at);
	errno = saved;
	return -1;
}

int
journal_add(struct keeper *k, enum frame_type type, const json_t *json, const void *blob, size_t n)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	uint64_t at = UNIT_HEAD_B + k->journal_b;

	if (frame_encode(&b, type, k->journal_b, json, blob, n, &e) < 0)
		return -1;
	if (b.n > FRAME_JOURNAL_MAX)
		return -1;
	if (make_room(k, at + b.n) < 0 || write_frame(k, at, &b) < 0) {
		if (!k->is_journal_broken)
			log_error(LOG_KEEPER, "journal cannot grow: %m");
		k->is_journal_broken = true;
		return -1;
	}
	k->journal_b += b.n;
	return 0;
}

int
journal_finish(struct keeper *k, const json_t *result, struct err *e)
{
	_cleanup_buf_ struct buf b = {0};
	uint64_t at = UNIT_HEAD_B + k->journal_b;
	int fd = k->job->file_fd;
	int r = frame_encode(&b, FRAME_J_RESULT, k->journal_b, result, NULL, 0, e);

	if (r < 0)
		return r;
	FAILPOINT("keeper.ended");
	if (unit_result_place(fd, at) < 0 || io_write_all(fd, b.p, b.n) < 0 ||
	    ftruncate(fd, (off_t)(at + b.n)) < 0)
		return err_sys(e, "result");
	FAILPOINT("keeper.result_written");
	/* Name, head, journal and result: all of it is durable, or nothing of it counts. */
	if (io_sync(fd) < 0)
		return err_sys(e, "result sync");
	FAILPOINT("keeper.result_synced");
	if (unit_mark(fd, UNIT_DURABLE) < 0)
		return err_sys(e, "result mark");
	FAILPOINT("keeper.result_marked");
	return 0;
}
