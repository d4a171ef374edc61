// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The command line, parsed by the command table; see command.h. Also help and completion words. */
#include "config.h"

#include "cli/command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "base/banned.h"

#define FLAGS_MAX 32
#define FLAG_BASE 1000

const char *
arg_str(const struct args *a, const char *name)
{
	return json_string_value(json_object_get(a->opt, name));
}

bool
arg_bool(const struct args *a, const char *name)
{
	return json_is_true(json_object_get(a->opt, name));
}

const json_t *
arg_list(const struct args *a, const char *name)
{
	return json_object_get(a->opt, name);
}

int
arg_limit(const struct args *a, size_t dflt, size_t *out)
{
	const char *s = arg_str(a, "limit");
	size_t digits = s ? strspn(s, "0123456789") : 0;

	*out = s ? strtoul(s, NULL, 10) : dflt;
	if (s && (s[digits] || !digits || digits > 9 || !*out))
		return cli_refuse("--limit", "Give a whole number from 1 to 999999999.",
		    "'%.40s' is not a limit", s);
	return CLI_OK;
}

static void
print_flags(FILE *to, const struct flag *f)
{
	for (; f && f->name; f++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", f->name, f->value ? " " : "",
		    f->value ? f->value : "");
		fprintf(to, "  %-26s %s\n", left, f->help);
	}
}

static void
print_line(FILE *to, const struct command *c)
{
	char left[96];

	snprintf(left, sizeof(left), "takt %s%s%s%s%s", c->noun, c->verb ? " " : "",
	    c->verb ? c->verb : "", *c->args ? " " : "", c->args);
	fprintf(to, "  %-44s %s\n", left, c->help);
}

static void
print_command(FILE *to, const struct command *c)
{
	fprintf(to, "usage: takt %s%s%s%s%s%s\n%s\n", c->noun, c->verb ? " " : "",
	    c->verb ? c->verb : "", c->flags ? " [flags]" : "", *c->args ? " " : "", c->args,
	    c->help);
	if (*c->permission)
		fprintf(to, "Needs a token of role %s.\n", c->permission);
	if (c->flags) {
		fputs("\nflags:\n", to);
		print_flags(to, c->flags);
	}
	fputs("\neverywhere:\n", to);
	print_flags(to, global_flags);
}

/* noun NULL: all commands. Returns how many were printed. */
static int
print_commands(FILE *to, const char *noun)
{
	int n = 0;

	for (const struct command *c = commands; c->noun; c++) {
		if (noun && strcmp(noun, c->noun) != 0)
			continue;
		if (!n++)
			fputs("usage:\n", to);
		print_line(to, c);
	}
	if (n) {
		fputs("\neverywhere:\n", to);
		print_flags(to, global_flags);
		fputs("\n`takt NOUN VERB --help` tells a command's flags; the manual page is "
		      "takt(1).\n",
		    to);
	}
	return n;
}

/* One word a line for the shells: what may follow the words given. */
static int
print_words(int argc, char **argv)
{
	const char *noun = argc > 0 ? argv[0] : NULL, *verb = argc > 1 ? argv[1] : NULL;
	const char *last = "";

	for (const struct command *c = commands; c->noun; c++) {
		if (!noun && strcmp(last, c->noun) != 0)
			puts(last = c->noun);
		if (!noun || strcmp(noun, c->noun) != 0)
			continue;
		if (!verb && c->verb)
			puts(c->verb);
		if ((!c->verb || (verb && strcmp(verb, c->verb) == 0)) && c->flags)
			for (const struct flag *f = c->flags; f->name; f++)
				printf("--%s\n", f->name);
	}
	for (const struct flag *f = global_flags; noun && f->name; f++)
		printf("--%s\n", f->name);
	return 0;
}

static const struct command *
find(const char *noun, const char *verb)
{
	for (const struct command *c = commands; c->noun; c++)
		if (strcmp(c->noun, noun) == 0 &&
		    (!c->verb || (verb && strcmp(c->verb, verb) == 0)))
			return c;
	return NULL;
}

static int
add_options(const struct flag *f, struct option *o, const struct flag **by_index, int n)
{
	for (; f && f->name && n < FLAGS_MAX; f++, n++) {
		o[n] = (struct option){f->name,
		    f->kind == FLAG_BOOL ? no_argument : required_argument, NULL, FLAG_BASE + n};
		by_index[n] = f;
	}
	return n;
}

/* A value that is dropped would be a flag that was never given. */
static int
store_flag(json_t *to, const struct flag *f, const char *value)
{
	json_t *v = f->kind == FLAG_BOOL ? json_true() : json_string(value), *list;

	if (!v) {
		fprintf(stderr,
		    "takt: --%s: the value is not UTF-8 (Write it in UTF-8; a file can be "
		    "renamed, or read from standard input as -.)\n",
		    f->name);
		return -1;
	}
	if (f->kind != FLAG_LIST) {
		json_object_set_new(to, f->name, v);
		return 0;
	}
	list = json_object_get(to, f->name);
	if (!list)
		json_object_set_new(to, f->name, list = json_array());
	json_array_append_new(list, v);
	return 0;
}

static bool
is_global(const struct flag *f)
{
	for (const struct flag *g = global_flags; g->name; g++)
		if (g == f)
			return true;
	return false;
}

/* argv[0] is ignored; what is left of it are the positional arguments. */
static int
parse_flags(const struct command *cmd, int argc, char **argv, struct args *a, json_t *global)
{
	struct option o[FLAGS_MAX + 1] = {0};
	const struct flag *by_index[FLAGS_MAX];
	int n = add_options(global_flags, o, by_index, 0), opt;

	if (cmd)
		add_options(cmd->flags, o, by_index, n);
	optind = 0;
	opterr = 1;
	/* A leading '+' before the command is known: its own flags are not ours to judge. */
	while ((opt = getopt_long(argc, argv, cmd ? "o:h" : "+o:h", o, NULL)) != -1) {
		const struct flag *f;

		if (opt == 'h') {
			json_object_set_new(global, "help", json_true());
			continue;
		}
		if (opt == 'o') {
			json_object_set_new(global, "output", json_string_nocheck(optarg));
			continue;
		}
		if (opt < FLAG_BASE)
			return -1;
		f = by_index[opt - FLAG_BASE];
		if (store_flag(is_global(f) ? global : a->opt, f, optarg) < 0)
			return -1;
	}
	a->n = argc - optind;
	a->pos = argv + optind;
	return 0;
}

static const struct command *
refuse(int *code)
{
	*code = CLI_REFUSED;
	return NULL;
}

static const struct command *
unknown(const char *noun, const char *verb, int *code)
{
	bool is_noun = false;

	for (const struct command *c = commands; c->noun; c++)
		is_noun |= strcmp(c->noun, noun) == 0;
	if (!is_noun)
		fprintf(stderr, "takt: '%s' is not a command (`takt --help` lists them)\n", noun);
	else if (verb)
		fprintf(stderr, "takt: '%s' is nothing that `takt %s` can do\n", verb, noun);
	else
		fprintf(stderr, "takt: what about %s?\n", noun);
	if (is_noun)
		print_commands(stderr, noun);
	return refuse(code);
}

static const struct command *
helped(const char *noun, const char *verb, int *code)
{
	const struct command *c = noun ? find(noun, verb) : NULL;

	*code = CLI_OK;
	if (c)
		print_command(stdout, c);
	else if (!print_commands(stdout, noun))
		return unknown(noun, verb, code);
	return NULL;
}

const struct command *
command_parse(int argc, char **argv, struct args *a, json_t **global, int *code)
{
	const struct command *c;
	char *noun, *verb;
	int skip;

	a->opt = json_object();
	*global = json_object();
	if (parse_flags(NULL, argc, argv, a, *global) < 0)
		return refuse(code);
	noun = a->n > 0 ? a->pos[0] : NULL;
	verb = a->n > 1 && a->pos[1][0] != '-' ? a->pos[1] : NULL;
	if (arg_bool(&(struct args){.opt = *global}, "version")) {
		puts("takt " PACKAGE_VERSION);
		*code = CLI_OK;
		return NULL;
	}
	if (noun && strcmp(noun, "__words") == 0) {
		*code = print_words(a->n - 1, a->pos + 1);
		return NULL;
	}
	if (noun && strcmp(noun, "help") == 0)
		return helped(verb, a->n > 2 ? a->pos[2] : NULL, code);
	if (!noun || arg_bool(&(struct args){.opt = *global}, "help")) {
		helped(noun, verb, code);
		*code = noun || json_object_get(*global, "help") ? CLI_OK : CLI_REFUSED;
		return NULL;
	}
	c = find(noun, verb);
	if (!c && a->n > 1 && (strcmp(a->pos[1], "--help") == 0 || strcmp(a->pos[1], "-h") == 0))
		return helped(noun, NULL, code);
	if (!c)
		return unknown(noun, verb, code);
	skip = c->verb ? 1 : 0;
	a->pos[skip] = argv[0];
	if (parse_flags(c, a->n - skip, a->pos + skip, a, *global) < 0) {
		fprintf(stderr, "`takt %s%s%s --help` tells its flags\n", c->noun,
		    c->verb ? " " : "", c->verb ? c->verb : "");
		return refuse(code);
	}
	if (json_object_get(*global, "help"))
		return helped(noun, c->verb, code);
	if (a->n < c->min || (c->max >= 0 && a->n > c->max)) {
		fprintf(stderr, "takt: %s\n",
		    a->n < c->min ? "an argument is missing" : "there are too many arguments");
		print_command(stderr, c);
		return refuse(code);
	}
	a->cmd = c;
	return c;
}
