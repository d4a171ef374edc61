// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Processes by /proc. Used by the keeper (its tree) and the executor (orphans of a dead keeper).
 *
 * A process is named by pid and start time together; a signal is sent through a pidfd after the
 * start time was read again, so that a pid that was given to somebody else is never hit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc {
	pid_t pid, ppid;
	char state;
	uint64_t start; /* clock ticks since boot, field 22 of stat */
};

/* 0, or -1 if there is no such process. */
int proc_read(pid_t pid, struct proc *out);
/* Start time of a process; 0 if there is none. */
uint64_t proc_start(pid_t pid);
/* True if pid still is the process that started then, and not a zombie. */
bool proc_is_alive(pid_t pid, uint64_t start);
/* 36 characters; "" if it cannot be read. */
const char *proc_boot_id(void);
/* Number of threads of this process. */
unsigned proc_threads(void);

/* Signal exactly this process. 0, or -1 (gone, or another one has its pid). */
int proc_signal(const struct proc *p, int sig);
/* Signal every process below root (not root itself); returns how many were signalled. */
size_t proc_signal_tree(pid_t root, int sig);
/*
 * SIGKILL our direct children; returns how many were there. Needs no check of identity: a child's
 * pid is not given to anybody else before we have waited for it. Much faster than the tree, for
 * what forks and exits faster than /proc can be read. 0 on a kernel without CONFIG_PROC_CHILDREN.
 */
size_t proc_kill_children(void);
/* SIGKILL every process whose initial environment carries TAKT_UNIT=tag; returns how many. */
size_t proc_kill_tagged(const char *tag);
