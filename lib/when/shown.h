// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A stranger's text for an error message: printable ASCII, cut to fit, so that it can break neither
 * a line nor the JSON that it ends up in. What is legal here (zones, stamps, policies) is ASCII.
 */
#pragma once

#include <ctype.h>
#include <stddef.h>

#define WHEN_SHOWN_MAX 64

static inline const char *
when_shown(const char *s, char buf[WHEN_SHOWN_MAX + 1])
{
	size_t i;

	for (i = 0; i < WHEN_SHOWN_MAX && s[i]; i++)
		buf[i] = isprint((unsigned char)s[i]) ? s[i] : '?';
	buf[i] = 0;
	return buf;
}
