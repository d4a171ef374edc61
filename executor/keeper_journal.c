// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The keeper's files: `journal`, appended here only, and `result`, written once. The executor
 * reads both; a frame is on disk before GREW names it.
 */
#include "executor/keeper_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/io.h"
#include "base/log.h"

#include "base/banned.h"

#define RESULT_TMP "result.tmp"
#define RESULT_RESERVE 65536

int
journal_open(struct keeper *k, struct err *e)
{
	int dir = k->job->dirfd;

	k->journal_fd =
	    openat(dir, "journal", O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (k->journal_fd < 0)
		return err_sys(e, "journal");
	k->result_fd = openat(dir, RESULT_TMP, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (k->result_fd < 0)
		return err_sys(e, "result file");
	FAILPOINT_FILE(k->journal_fd);
	FAILPOINT_FILE(k->result_fd);
	/* A disk that fills up while the unit runs must not eat its result. */
	if (posix_fallocate(k->result_fd, 0, RESULT_RESERVE) != 0)
		return err_sys(e, "no room for the result file");
	return 0;
}

int
journal_add(struct keeper *k, enum frame_type type, const json_t *json, const void *blob, size_t n)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;

	if (frame_encode(&b, type, k->journal_b, json, blob, n, &e) < 0)
		return -1;
	if (b.n > FRAME_JOURNAL_MAX)
		return -1;
	if (io_write_all(k->journal_fd, b.p, b.n) < 0) {
		if (!k->is_journal_broken)
			log_error(LOG_KEEPER, "journal cannot grow: %m");
		k->is_journal_broken = true;
		/* Half a frame would hide what comes after it. */
		if (ftruncate(k->journal_fd, (off_t)k->journal_b) < 0)
			log_error(LOG_KEEPER, "journal cannot be cut back: %m");
		return -1;
	}
	k->journal_b += b.n;
	return 0;
}

int
journal_finish(struct keeper *k, const json_t *result, struct err *e)
{
	_cleanup_buf_ struct buf b = {0};
	int dir = k->job->dirfd;
	int r = frame_encode(&b, FRAME_J_RESULT, k->journal_b, result, NULL, 0, e);

	if (r < 0)
		return r;
	FAILPOINT("keeper.ended");
	if (io_sync(k->journal_fd) < 0)
		return err_sys(e, "journal sync");
	FAILPOINT("keeper.journal_synced");
	if (io_write_all(k->result_fd, b.p, b.n) < 0 || ftruncate(k->result_fd, (off_t)b.n) < 0)
		return err_sys(e, "result file");
	FAILPOINT("keeper.result_written");
	if (io_sync(k->result_fd) < 0)
		return err_sys(e, "result sync");
	FAILPOINT("keeper.result_synced");
	if (io_rename(dir, RESULT_TMP, "result") < 0)
		return err_sys(e, "result rename");
	FAILPOINT("keeper.result_renamed");
	if (io_sync(dir) < 0)
		return err_sys(e, "result directory");
	return 0;
}
