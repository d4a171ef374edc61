// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Inside the host: host.c (vtable), host_input.c (memfd, secrets), host_device.c (takt.ssh/1). */
#pragma once

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <takt/plugin.h>

#include "base/err.h"
#include "executor/host.h"

#define HOST_SECRETS_MAX 8
#define HOST_INPUT_MAX (2u << 20)

struct host_secret {
	char name[32];
	char *value; /* sodium_malloc: locked, not dumped, guarded; NUL-terminated */
	size_t n;
};

struct takt_ctx {
	const struct host_setup *setup;
	takt_str identity, target, params;
	json_t *host_key; /* policy and known keys; no secret in it */
	struct host_secret secrets[HOST_SECRETS_MAX];
	size_t secrets_n;
	pthread_mutex_t lock; /* artifact parts stay together; counters */
	unsigned artifacts, events;
	size_t events_b;
};

/* Fill ctx from the memfd. */
int host_input_read(struct takt_ctx *ctx, struct err *e);
void host_input_wipe(struct takt_ctx *ctx);
/* Value of a secret, NULL if absent. */
const char *host_secret(struct takt_ctx *ctx, const char *name, size_t *n);

/* Text of a plugin as a JSON string: at most max bytes, cut between characters, always UTF-8. */
json_t *host_text(takt_str s, size_t max);

extern const takt_host host_vtable;

/* Give the device library this unit; the extension's vtable or NULL. */
const void *host_device_extension(struct takt_ctx *ctx);
