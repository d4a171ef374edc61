// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See cron.h. The same lib/when that the engine uses answers here, so what this prints is what will
 * run.
 */
#include "cli/cron.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"

#include "when/cron.h"
#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

#define EXIT_USAGE 2
#define COUNT_MAX 10000

static const char usage_text[] =
    "usage: takt cron next EXPR [--tz ZONE] [--from RFC3339] [--count N]\n"
    "                      [--dst-gap run_at_gap_end|skip] [--dst-fold first|second|both]\n"
    "       takt cron check EXPR\n"
    "\n"
    "next   prints the next times, one RFC 3339 UTC stamp a line, strictly after --from; none if "
    "there is none\n"
    "check  says what the expression means, or what is wrong with it\n"
    "EXPR   minute, hour, day of month, month, day of week; six fields begin with the second\n"
    "\n"
    "Defaults: --tz UTC, --from now, --count 5, --dst-gap run_at_gap_end, --dst-fold first.\n";

struct request {
	struct cron cron;
	const struct zone *zone;
	struct cron_policy policy;
	int64_t from;
	long count;
};

enum { OPT_TZ = 1, OPT_FROM, OPT_COUNT, OPT_GAP, OPT_FOLD, OPT_HELP };

static const struct option options[] = {
    {"tz", required_argument, NULL, OPT_TZ},
    {"from", required_argument, NULL, OPT_FROM},
    {"count", required_argument, NULL, OPT_COUNT},
    {"dst-gap", required_argument, NULL, OPT_GAP},
    {"dst-fold", required_argument, NULL, OPT_FOLD},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static int
fail(const struct err *e)
{
	char text[800];

	fprintf(stderr, "takt cron: %s\n", err_text(e, text, sizeof(text)));
	return EXIT_USAGE;
}

static int
usage(void)
{
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}

static int
parse_count(const char *s, long *out, struct err *e)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (errno || end == s || *end || v < 1 || v > COUNT_MAX) {
		err_set(e, ERR_INVALID, "'%.40s' is not a number of times", s);
		err_hint(e, "Give a number from 1 to %d.", COUNT_MAX);
		return -ERR_INVALID;
	}
	*out = v;
	return 0;
}

static int
take_option(int opt, const char *value, struct request *r, struct err *e)
{
	switch (opt) {
	case OPT_TZ:
		r->zone = zone_get(value, e);
		return r->zone ? 0 : -ERR_INVALID;
	case OPT_FROM:
		return when_parse_rfc3339(value, &r->from, NULL, e);
	case OPT_COUNT:
		return parse_count(value, &r->count, e);
	case OPT_GAP:
		return cron_gap_parse(value, &r->policy.gap, e);
	default:
		return cron_fold_parse(value, &r->policy.fold, e);
	}
}

static void
print_next(const struct request *r)
{
	int64_t at = r->from;
	char stamp[32];

	for (long i = 0; i < r->count && cron_next(&r->cron, r->zone, &r->policy, at, &at); i++)
		puts(when_format_rfc3339(at, stamp));
}

static int
check(const struct cron *c)
{
	const struct cron_policy policy = {0};
	_cleanup_buf_ struct buf b = {0};
	int64_t at;

	cron_describe(c, &b);
	if (!cron_next(c, zone_utc(), &policy, clock_realtime_us() / 1000000, &at))
		buf_adds(&b, "never         no date matches: it will never run\n");
	fputs(b.p, stdout);
	return 0;
}

/* The option's name for the error's field, unless the parser named one itself. */
static const char *
option_name(int opt)
{
	for (const struct option *o = options; o->name; o++)
		if (o->val == opt)
			return o->name;
	return "";
}

int
cli_cron(int argc, char **argv)
{
	struct request r = {.zone = zone_utc(), .from = clock_realtime_us() / 1000000, .count = 5};
	struct err e = ERR_INIT;
	bool is_next, has_option = false;
	int opt;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_HELP) {
			fputs(usage_text, stdout);
			return 0;
		}
		if (opt == '?')
			return usage();
		has_option = true;
		if (take_option(opt, optarg, &r, &e) < 0) {
			err_field(&e, "--%s", option_name(opt));
			return fail(&e);
		}
	}
	if (argc - optind != 2)
		return usage();
	is_next = strcmp(argv[optind], "next") == 0;
	if (!is_next && (strcmp(argv[optind], "check") != 0 || has_option))
		return usage();
	if (cron_parse(argv[optind + 1], &r.cron, &e) < 0)
		return fail(&e);
	if (!is_next)
		return check(&r.cron);
	print_next(&r);
	return 0;
}
