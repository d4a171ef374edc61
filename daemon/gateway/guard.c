// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See guard.h. Called by request.c and socket.c around each use of a token. */
#include "daemon/gateway/guard.h"

#include <sodium.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"

#include "base/banned.h"

#define SLOTS 4096u

struct failures {
	uint64_t address; /* keyed hash */
	int64_t since_ms;
	unsigned n;
};

static struct failures failures[SLOTS];
static uint64_t good[SLOTS]; /* keyed hashes of tokens; 0: none */

/* Keyed, so that nobody outside can aim at a slot. Never 0. */
static uint64_t
hash(const char *text)
{
	static unsigned char key[crypto_shorthash_KEYBYTES];
	static bool has_key;
	unsigned char out[crypto_shorthash_BYTES];
	uint64_t h;

	if (!has_key)
		randombytes_buf(key, sizeof(key));
	has_key = true;
	crypto_shorthash(out, (const unsigned char *)text, strlen(text), key);
	memcpy(&h, out, sizeof(h));
	return h ? h : 1;
}

static bool
is_over(const struct failures *f, int64_t now_ms)
{
	return now_ms - f->since_ms > GUARD_WINDOW_MS;
}

bool
guard_allows_at(const char *address, const char *token, int64_t now_ms)
{
	uint64_t a = hash(address), t = hash(token);
	const struct failures *f = &failures[a % SLOTS];

	return f->address != a || f->n < GUARD_FAILS || is_over(f, now_ms) || good[t % SLOTS] == t;
}

void
guard_learn_at(const char *address, const char *token, bool is_good, int64_t now_ms)
{
	uint64_t a = hash(address), t = hash(token);
	struct failures *f = &failures[a % SLOTS];

	if (is_good) {
		good[t % SLOTS] = t;
		return;
	}
	if (good[t % SLOTS] == t)
		good[t % SLOTS] = 0; /* revoked, or over */
	if (f->address != a || is_over(f, now_ms))
		*f = (struct failures){.address = a, .since_ms = now_ms};
	f->n++;
}

static const char *
address_of(struct lws *wsi, char buf[64])
{
	buf[0] = '\0';
	if (wsi)
		lws_get_peer_simple(wsi, buf, 64);
	return buf;
}

bool
guard_allows(struct lws *wsi, const char *token)
{
	char buf[64];

	return guard_allows_at(address_of(wsi, buf), token, clock_monotonic_ms());
}

void
guard_learn(struct lws *wsi, const char *token, bool is_good)
{
	char buf[64];

	guard_learn_at(address_of(wsi, buf), token, is_good, clock_monotonic_ms());
}
