// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Failpoints: named places (failpoints.def) where a test makes this process stop, sleep or die.
 * Only with ./configure --enable-failpoints; without it the macros are nothing and the module is
 * empty. Nothing in a package has them.
 *
 * TAKT_FAILPOINTS=name:action[:nth][,…]. Actions: crash (SIGKILL to itself), stop (SIGSTOP to
 * itself), sleep=MS, powerloss (what was written to a noted file and not synced is cut off, a
 * rename whose directory was not synced is undone; then SIGKILL). nth: fires at the nth passing, 1
 * if absent. A name or action that does not exist ends the process: a typo must not look like a
 * pass.
 *
 * With TAKT_FAILPOINTS_DIR=DIR (writable to all roles) passings are counted over all processes
 * (DIR/name.count), and firing makes DIR/name; while that is there the point does not fire again.
 * A file DIR/name.arm with "action[:nth]" arms the point in processes that run already; firing
 * renames it to DIR/name.
 */
#pragma once

#include "config.h"

#ifdef HAVE_FAILPOINTS
#include <stddef.h>

#define FAILPOINT(name) failpoint_hit(name)
/* Ends a list of variables that an environment keeps. */
#define FAILPOINT_VARIABLES , "TAKT_FAILPOINTS", "TAKT_FAILPOINTS_DIR"
/* What is written to fd and not io_sync()ed is lost in a power loss. */
#define FAILPOINT_FILE(fd) failpoint_file(fd)

void failpoint_hit(const char *name);
/* The same for a name in two parts: "record" and ".sent"; a name not in the table is no point. */
void failpoint_hit2(const char *first, const char *second);
void failpoint_file(int fd);
/* For io.c only: fd (a file or a directory) is durable as it is now; a rename is about to be made. */
void failpoint_synced(int fd);
void failpoint_renaming(int dirfd, const char *from, const char *to);
#else
#define FAILPOINT(name) ((void)0)
#define FAILPOINT_FILE(fd) ((void)0)
#define FAILPOINT_VARIABLES
#endif
