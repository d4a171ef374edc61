// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The keeper: one process per unit, forked from the plugin's zygote. It forks the plugin process,
 * reads its frames and its output, keeps the journal, the deadline and the kill ladder, and writes
 * the result. It outlives executor and zygote, runs no plugin code, believes nothing the
 * plugin process wrote, and is the subreaper of its unit only, so that killing everything below
 * it cannot hit a neighbour.
 */
#pragma once

#include <takt/plugin.h>

#include "base/log.h"
#include "executor/unitfile.h"

#define KEEPER_SEAL_PK_LEN 32

/* What the zygote hands to the keeper it forks. */
struct keeper_job {
	struct unit_meta meta;
	int64_t timeout_ms, grace_ms, output_limit_b;
	int64_t lease_until_ms; /* BOOTTIME; -1: it needs no lease */
	unsigned char seal_pk[KEEPER_SEAL_PK_LEN];
	bool has_seal_pk;
	int file_fd;    /* the unit's file */
	int control_fd; /* to the executor that started it */
	int input_fd;   /* memfd: never read here, only by the plugin process */
	const char *plugin_path;
	int plugin_fd;                  /* the checked file; only a cold unit loads it */
	const takt_plugin_entry *entry; /* NULL: the plugin process loads it itself (cold) */
	enum log_level log_level;
	enum log_format log_format;
	char *env_tag; /* where TAKT_UNIT=… stands in the initial environment */
};

/* Runs the unit to its end; never returns. Call in a fresh fork of a single-threaded process. */
_Noreturn void keeper_main(const struct keeper_job *job);
