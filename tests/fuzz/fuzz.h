// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* What the targets share: a belief, and the input as a text. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline void
believe(bool is_so)
{
	if (!is_so)
		abort();
}

/* A copy that ends with a NUL. */
static inline char *
fuzz_text(const uint8_t *data, size_t n)
{
	char *text = xmalloc(n + 1);

	if (n)
		memcpy(text, data, n);
	text[n] = 0;
	return text;
}
