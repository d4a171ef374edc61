// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See fds.h. */
#include "executor/fds.h"

#include <limits.h>
#include <unistd.h>

#include "base/banned.h"

void
fds_close_others(const int *keep, size_t n)
{
	unsigned from = 3;

	/* Gap by gap between the kept ones, in rising order. */
	for (;;) {
		unsigned next = UINT_MAX;

		for (size_t i = 0; i < n; i++)
			if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next > from)
			close_range(from, next == UINT_MAX ? UINT_MAX : next - 1, 0);
		if (next == UINT_MAX)
			return;
		from = next + 1;
	}
}
