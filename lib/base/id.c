// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See id.h. */
#include "base/id.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"

#include "base/banned.h"

static void
random_bytes(void *p, size_t n)
{
	if (getrandom(p, n, 0) != (ssize_t)n)
		log_bug(LOG_MAIN, "getrandom gave fewer than %zu bytes", n);
}

bool
uuid_valid(const char *s)
{
	for (int i = 0; i < UUID_LEN; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
			return false;
	}
	return s[UUID_LEN] == 0;
}

bool
uuid_parse(const char *s, struct uuid *out)
{
	if (!uuid_valid(s))
		return false;
	for (int i = 0; i <= UUID_LEN; i++)
		out->s[i] = (char)tolower((unsigned char)s[i]);
	return true;
}

void
uuid_v7(int64_t unix_ms, struct uuid *out)
{
	static int64_t last_ms;
	static uint32_t counter; /* 12 bits, in rand_a (RFC 9562, 6.2 method 1) */
	uint8_t b[16];

	if (unix_ms > last_ms) {
		last_ms = unix_ms;
		random_bytes(&counter, sizeof(counter));
		counter &= 0x7ff; /* leave room to count up */
	} else if (++counter > 0xfff) {
		last_ms++;
		counter = 0;
	}
	random_bytes(b, sizeof(b));
	for (int i = 0; i < 6; i++)
		b[i] = (uint8_t)((uint64_t)last_ms >> (40 - 8 * i));
	b[6] = (uint8_t)(0x70 | counter >> 8);
	b[7] = (uint8_t)counter;
	b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
	snprintf(out->s, sizeof(out->s),
	    "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
	    b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
	    b[15]);
}

void
id_random_hex(char *out, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t *raw = (uint8_t *)out + n; /* the upper half is read before it is overwritten */

	random_bytes(raw, n);
	for (size_t i = 0; i < n; i++) {
		uint8_t b = raw[i];

		out[2 * i] = digits[b >> 4];
		out[2 * i + 1] = digits[b & 15];
	}
	out[2 * n] = 0;
}

void
id_run_code(char out[9])
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint64_t r;

	random_bytes(&r, sizeof(r));
	for (int i = 0; i < 8; i++, r >>= 5)
		out[i] = digits[r & 31];
	out[8] = 0;
}
