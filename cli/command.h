// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The command table: every command of `takt`, its arguments, flags, permission and help. Help,
 * parser and shell completion read it; nothing else knows the list.
 */
#pragma once

#include "cli/cli.h"

enum flag_kind { FLAG_BOOL, FLAG_STR, FLAG_LIST };

struct flag {
	const char *name;
	enum flag_kind kind;
	const char *value; /* what the help calls the value */
	const char *help;
};

struct command {
	const char *noun;
	const char *verb; /* NULL: the noun is the command */
	const char *args; /* as the help shows them */
	int min, max;     /* positional arguments; max < 0: any number */
	const char *permission;
	const char *help;
	const struct flag *flags; /* ended by a NULL name; NULL: none */
	int (*run)(struct cli *c, const struct args *a);
	bool is_local;        /* needs no daemon: no URL, no token */
	bool is_url_optional; /* asks a daemon if one is known */
};

/* Ended by a NULL noun. */
extern const struct command commands[];
extern const struct flag global_flags[];

/*
 * The command that argv names, its flags and arguments in *a; global flags in *global (an object).
 * argv is reordered. NULL when help was printed (*code 0) or the line was refused (*code 2).
 */
const struct command *command_parse(
    int argc, char **argv, struct args *a, json_t **global, int *code);
