// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The device library: a blocking command line session with one device over SSH, offered to
 * plugins as extension "takt.ssh/1". Linked into takt-executor (and the tests' devprobe); the CLI
 * uses its platform reader only.
 *
 * Invariant: one process is one unit, so there is one binding. Nothing here starts threads, and
 * a secret is only ever read through device_host.secret, never logged, never put in an error.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <takt/plugin.h>
#include <takt/ssh.h>

#include "base/err.h"

struct device_known_key {
	const char *key_type;   /* "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", … */
	const char *public_key; /* base64 of the key blob, as in authorized_keys */
};

/* What the library needs of the unit it runs in. All pointers stay valid until run() returns. */
struct device_host {
	void *arg; /* given back to each function */
	/* {"id","name","address","port","platform"}; NULL or "" when the unit has no target. */
	const char *target_json;
	/* false: trust on first use; true: only keys that are known. There is no "off". */
	bool is_strict;
	const struct device_known_key *known;
	size_t known_n;
	/* "username", "password", "private_key", "passphrase", "enable"; NULL if absent. */
	const char *(*secret)(void *arg, const char *name, size_t *n);
	/* Milliseconds until the unit is killed; -1: none. */
	int64_t (*deadline_ms)(void *arg);
	/* Readable when the unit is asked to stop; -1: none. */
	int (*cancel_fd)(void *arg);
	/* level: TAKT_LOG_*; line is NUL-terminated, may hold text of the device (not yet escaped). */
	void (*log)(void *arg, int32_t level, const char *line);
	/* Record why; as takt_host.fail. Returns e->rc. */
	takt_rc (*fail)(void *arg, const takt_err *e);
	/* A first key was trusted: J_HOST_KEY. fingerprint: "SHA256:…". */
	void (*host_key_learned)(
	    void *arg, const char *key_type, const char *public_key, const char *fingerprint);
};

/* Load libssh and what comes with it. A session does so itself; call it before fork where it is known
 * that units will open sessions. */
int device_load(struct err *e);

/* Bind the process's unit; host stays the caller's and must outlive the binding. NULL unbinds. */
void device_bind(takt_ctx *ctx, const struct device_host *host);

/* The vtable for get_extension(ctx, "takt.ssh/1"). Never NULL. */
const takt_ssh_1 *device_ssh_extension(void);

/*
 * Read every *.conf of dirs (NULL-terminated; a missing directory is skipped, a later directory
 * replaces platforms of the same name). All or nothing: on failure the platforms loaded before
 * stay, and *e names file:line, field, value and remedy. Call before fork; again on reload.
 */
int device_platforms_load(const char *const *dirs, struct err *e);

/* [{"name","title","evidence","evidence_text","file","digest"}], sorted by name; caller owns. */
json_t *device_platforms_json(void);
