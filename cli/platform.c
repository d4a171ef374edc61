// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Checks a platform file with the reader that the executor uses. */
#include "cli/platform.h"

#include <stdio.h>

#include "sdk/device/platform.h"

#include "base/banned.h"

int
cli_platform_check(const char *file)
{
	struct err e = ERR_INIT;
	_cleanup_platform_ struct platform *p = NULL;
	if (platform_read(file, &p, &e)) {
		fprintf(stderr, "takt: %s\n", e.message);
		if (*e.hint)
			fprintf(stderr, "  %s\n", e.hint);
		return 1;
	}
	printf("%s: platform %s, %s: valid (%zu backup commands, %zu redactions)\n", file, p->name,
	    p->title, p->backup.command.n,
	    p->normalise.redact_word.n + p->normalise.redact_rest.n + p->normalise.redact_begin.n);
	return 0;
}
