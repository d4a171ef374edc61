/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Takt authors */
/*
 * Extension "takt.ssh/1": a blocking command line session with the unit's target device.
 *
 * The host opens the SSH connection (libssh), checks the host key (strict or trust on first use;
 * never off), authenticates with the target's credential (publickey, password,
 * keyboard-interactive), finds the prompt and turns paging off, as the device's platform file
 * says. Every call observes the unit's deadline and its cancellation. On failure a call has
 * already recorded code, message and hint, so that `return rc;` is enough.
 *
 * A session belongs to the thread that opened it. Text that is returned stays valid until the
 * next call on the same session.
 */
/* clang-format off */
#ifndef TAKT_SSH_H
#define TAKT_SSH_H

#include <takt/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TAKT_SSH_EXTENSION "takt.ssh/1"

typedef struct takt_ssh takt_ssh;

/* What takt_ssh_1.backup gives. */
typedef struct takt_ssh_backup {
	uint32_t struct_size;   /* set by the caller */
	uint32_t reserved;
	takt_str exact;         /* the configuration as the device gave it, line ends as \n */
	takt_str normalised;    /* without volatile lines, secrets replaced; for showing and comparing */
	int64_t started_at_us;  /* capture start, microseconds since the epoch */
	int64_t duration_us;
} takt_ssh_backup;

typedef struct takt_ssh_1 {
	uint32_t struct_size;
	uint32_t reserved;
	/* Connect and log in to the unit's target. TAKT_E_UNREACHABLE, TAKT_E_AUTH, TAKT_E_TIMEOUT, … */
	takt_rc (*open)(takt_ctx *, takt_ssh **out);
	/* Send one command line, wait for the prompt; output without echo and prompt.
	 * timeout_ms 0: the platform's. An error marker of the platform gives TAKT_E_PERMANENT. */
	takt_rc (*command)(takt_ssh *, takt_str line, uint32_t timeout_ms, takt_str *output);
	/* Run the platform's backup commands and hold the result against its completeness rules;
	 * an incomplete configuration is TAKT_E_TRANSIENT with code "backup.incomplete". */
	takt_rc (*backup)(takt_ssh *, takt_ssh_backup *out);
	void (*close)(takt_ssh *);
} takt_ssh_1;

#ifdef __cplusplus
}
#endif
#endif
