// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* migrate CONNINFO: what `taktd --migrate` does, for tests that need a schema and no daemon. */
#include <stdio.h>

#include "base/err.h"

#include "daemon/store/store.h"

#include "base/banned.h"

int
main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	char text[800];

	if (argc != 2)
		return 64;
	if (store_migrate(argv[1], &e) == 0)
		return 0;
	fprintf(stderr, "%s\n", err_text(&e, text, sizeof(text)));
	return 1;
}
