// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The host's side of takt/plugin.h, inside the plugin process: what a plugin may ask for. */
#pragma once

#include <stdint.h>
#include <takt/plugin.h>

struct host_setup {
	int frame_fd, cancel_fd, input_fd, log_fd;
	int64_t deadline_at; /* monotonic milliseconds, -1 none */
	const takt_task_type *type;
};

/* Read the input, call run(), report its return to the keeper, wipe the secrets. */
void host_run(const struct host_setup *setup);
