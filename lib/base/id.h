// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Identifiers: UUIDs as PostgreSQL prints them (36 characters, lower case), UUIDv7 (RFC 9562) from a given time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UUID_LEN 36

struct uuid {
	char s[UUID_LEN + 1];
};

/* True if s is any UUID that PostgreSQL's uuid type takes in the 8-4-4-4-12 form. */
bool uuid_valid(const char *s);
/* Parse into canonical lower case; false if invalid. */
bool uuid_parse(const char *s, struct uuid *out);
/* A UUIDv7 for unix time ms; monotonic within this process. */
void uuid_v7(int64_t unix_ms, struct uuid *out);
/* n random bytes as 2n hex digits and a NUL. */
void id_random_hex(char *out, size_t n);
/* A run's short code: 8 characters of Crockford's base 32 (no I, L, O, U), 40 random bits. */
void id_run_code(char out[9]);
