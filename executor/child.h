// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The plugin process: forked by the keeper, runs run() of one unit and ends. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct keeper_job;

struct child_fds {
	int frames; /* SEQPACKET to the keeper */
	int output; /* becomes standard output and standard error */
	int cancel; /* readable when the unit is asked to stop */
	int input;  /* memfd with identity, parameters, target, secrets */
};

/* Never returns. deadline_at: monotonic milliseconds, -1 none. */
_Noreturn void child_main(const struct keeper_job *job, const struct child_fds *fds,
    int64_t deadline_at, pid_t keeper_pid);
