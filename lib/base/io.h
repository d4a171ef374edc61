// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Files, the careful way: whole writes, durable replacement, bounded reads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

int io_write_all(int fd, const void *p, size_t n);
/* Read a whole file of at most max bytes into *out (appended). */
int io_read_file(const char *path, size_t max, struct buf *out, struct err *e);
/* Write to a temporary name in dirfd, fsync, rename to name, fsync the directory. */
int io_replace_file(
    int dirfd, const char *name, const void *p, size_t n, mode_t mode, struct err *e);
/* mkdir -p; the last component gets mode. */
int io_mkdirs(const char *path, mode_t mode, struct err *e);
/* fsync and renameat; failpoints know of them (base/failpoint.h). */
int io_sync(int fd);
int io_rename(int dirfd, const char *from, const char *to);
int io_set_nonblock(int fd, bool on);
int io_set_cloexec(int fd, bool on);
/*
 * Bind or connect a unix socket `name` inside directory dirfd through /proc/self/fd, so that the
 * length of the directory's path does not count against sun_path. type: SOCK_STREAM or
 * SOCK_SEQPACKET. Returns a CLOEXEC fd or a negative code. Connecting never waits: it fails when
 * the listener has not accepted for so long that its backlog is full.
 */
int io_unix_listen(int dirfd, const char *name, int type, struct err *e);
int io_unix_connect(int dirfd, const char *name, int type, struct err *e);
