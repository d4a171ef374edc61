// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What the commands of `takt` share: where the daemon is, how to print, what an exit code means.
 * One process runs one command; a command's function returns the exit code.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The exit codes of takt.1. */
enum cli_exit {
	CLI_OK = 0,
	CLI_NO = 1,      /* the run ended not completed; diff: the two differ */
	CLI_REFUSED = 2, /* bad usage or refused input: HTTP 4xx */
	CLI_MISSING = 3, /* no such thing: HTTP 404 */
	CLI_DENIED = 4,  /* HTTP 401, 403 */
	CLI_SERVER = 5,  /* unreachable, HTTP 5xx */
};

struct cli {
	char *url;   /* without a slash at the end */
	char *token; /* NULL: none */
	char *state; /* the state directory of `takt dev`, where client.json is looked for */
	bool is_json;
	bool is_tty;    /* standard output is a terminal */
	bool has_color; /* and NO_COLOR is not set */
};

struct command;

/* The parsed command line. opt: flag name -> string, true, or array of strings. */
struct args {
	const struct command *cmd;
	int n;
	char **pos;
	json_t *opt;
};

/* Borrowed from args; NULL / false when the flag was not given. */
const char *arg_str(const struct args *a, const char *name);
bool arg_bool(const struct args *a, const char *name);
const json_t *arg_list(const struct args *a, const char *name);
/* --limit, or dflt (0: all) if it was not given. CLI_OK, or CLI_REFUSED after telling why. */
int arg_limit(const struct args *a, size_t dflt, size_t *out);

/* Print "takt: field: message (hint)" on stderr; returns the exit code that fits e->code. */
int cli_fail(const struct err *e);
/* The same for one message: CLI_REFUSED. */
int cli_refuse(const char *field, const char *hint, const char *fmt, ...) _printf_(3, 4);

/* Where the daemon is: flags, then environment, then client.json. ERR_NOT_FOUND: nothing says. */
int conf_load(struct cli *c, const char *url, const char *token_file, struct err *e);
/* The state directory of `takt dev` when nothing is said; caller frees. */
char *conf_default_state(void);
