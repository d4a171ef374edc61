// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* What commands read: JSON documents and secrets, from a file or "-" (standard input). */
#pragma once

#include "base/buf.h"

#include "cli/cli.h"

/* The bytes of FILE or "-", at most 1 MiB. CLI_OK or CLI_REFUSED after telling why. */
int input_bytes(const char *file, struct buf *out);
/* An object from FILE or "-"; NULL after telling why. Caller owns. */
json_t *input_object(const char *file);
/*
 * A secret from FILE or "-", one trailing newline cut. With file NULL it is asked for on the
 * terminal without echo. NULL after telling why. Caller frees with input_forget().
 */
char *input_secret(const char *file, const char *what);
void input_forget(char *secret);
