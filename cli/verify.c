// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * `takt verify`: every check of sql/verify/ on one snapshot, one line each. A check's statement
 * gives one row: rows examined, violations, the first 20 of them; those made month by month are
 * added up.
 * Exit codes are its own: 0 clean, 1 violations, 2 something could not be checked.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/jsonx.h"

#include "cli/commands.h"
#include "cli/print.h"
#include "cli/verify_db.h"

#include "base/banned.h"

#define DETAILS_MAX 20
#define HEADS_MAX (16 << 20)

enum { CLEAN = 0, VIOLATED = 1, CANNOT = 2 };

struct verify {
	struct cli *c;
	PGconn *db;
	PGresult *months;  /* name, run_from, run_to */
	const char *since; /* the first run id that matters */
	char *against;     /* heads that were written down, JSON text; or NULL */
	bool has_progress;
	int code;
};

/* What one check has found, over all months. */
struct finding {
	int64_t examined, violations;
	json_t *details;
	struct err err; /* code ERR_NONE: it was checked */
};

static int
cannot(const struct err *e)
{
	char text[800];

	fprintf(stderr, "takt: %s\n", err_text(e, text, sizeof(text)));
	return CANNOT;
}

static void
tell_progress(const struct verify *v, const struct sql_check *check, const char *month)
{
	if (v->has_progress)
		fprintf(stderr, "\r\033[K%s%s%s …", check->name, *month ? " " : "", month);
}

static void
end_progress(const struct verify *v)
{
	if (v->has_progress)
		fputs("\r\033[K", stderr);
}

static int
check_part(
    struct verify *v, const struct sql_check *check, const char *const *values, struct finding *f)
{
	_cleanup_pgresult_ PGresult *r = NULL;
	_cleanup_json_ json_t *details = NULL;

	if (verify_query(v->db, check->id, values, &r, &f->err) < 0)
		return -(int)f->err.code;
	f->examined += strtoll(PQgetvalue(r, 0, 0), NULL, 10);
	f->violations += strtoll(PQgetvalue(r, 0, 1), NULL, 10);
	details = json_loads(PQgetvalue(r, 0, 2), 0, NULL);
	for (size_t i = 0;
	     i < json_array_size(details) && json_array_size(f->details) < DETAILS_MAX; i++)
		json_array_append(f->details, json_array_get(details, i));
	return 0;
}

static void
check_run(struct verify *v, const struct sql_check *check, struct finding *f)
{
	const char *whole[] = {check->scope == SCOPE_HEADS ? v->against : v->since};

	if (check->scope != SCOPE_MONTH) {
		tell_progress(v, check, "");
		check_part(v, check, whole, f);
		return;
	}
	for (int i = 0; i < PQntuples(v->months); i++) {
		const char *range[] = {PQgetvalue(v->months, i, 1), PQgetvalue(v->months, i, 2)};

		tell_progress(v, check, PQgetvalue(v->months, i, 0));
		if (check_part(v, check, range, f) < 0)
			return;
	}
}

static void
print_finding(const struct verify *v, const struct sql_check *check, const struct finding *f)
{
	char text[800];

	if (f->err.code != ERR_NONE) {
		printf("%-16s %-4s %12s %10s  %s\n", check->name, check->invariant, "-", "-",
		    "cannot be checked:");
		fputs("    ", stdout);
		print_line(v->c, err_text(&f->err, text, sizeof(text)));
		putchar('\n');
		return;
	}
	printf("%-16s %-4s %12" PRId64 " %10" PRId64 "  %s\n", check->name, check->invariant,
	    f->examined, f->violations, check->title);
	for (size_t i = 0; i < json_array_size(f->details); i++) {
		fputs("    ", stdout);
		print_line(v->c, json_string_value(json_array_get(f->details, i)));
		putchar('\n');
	}
	if (f->violations > DETAILS_MAX)
		printf("    … and %" PRId64 " more\n", f->violations - DETAILS_MAX);
}

static json_t *
finding_json(const struct sql_check *check, const struct finding *f, int64_t ms)
{
	char text[800];
	json_t *j = json_pack("{s:s, s:s, s:s, s:I, s:I, s:O, s:I}", "name", check->name, "title",
	    check->title, "invariant", check->invariant, "examined", (json_int_t)f->examined,
	    "violations", (json_int_t)f->violations, "details", f->details, "duration_ms",
	    (json_int_t)ms);

	if (f->err.code != ERR_NONE)
		json_object_set_new(
		    j, "problem", json_string(err_text(&f->err, text, sizeof(text))));
	return j;
}

/* All checks, told one by one; the array for -o json. */
static json_t *
check_all(struct verify *v)
{
	json_t *all = json_array();

	if (!v->c->is_json)
		printf("%-16s %-4s %12s %10s\n", "CHECK", "INV", "ROWS", "VIOLATIONS");
	for (const struct sql_check *check = sql_checks; check->name; check++) {
		_cleanup_json_ json_t *details = json_array();
		struct finding f = {.details = details};
		int64_t start = clock_monotonic_ms();

		if (check->scope == SCOPE_HEADS && !v->against)
			continue;
		check_run(v, check, &f);
		end_progress(v);
		if (f.err.code != ERR_NONE)
			v->code = CANNOT;
		else if (f.violations && v->code == CLEAN)
			v->code = VIOLATED;
		if (v->c->is_json)
			json_array_append_new(
			    all, finding_json(check, &f, clock_monotonic_ms() - start));
		else
			print_finding(v, check, &f);
		fflush(stdout);
	}
	return all;
}

static int
heads_read(struct verify *v, const char *path, struct err *e)
{
	static const struct json_limits limits = {HEADS_MAX, 8, 2000000};
	_cleanup_buf_ struct buf text = {0};
	_cleanup_json_ json_t *j = NULL;

	if (io_read_file(path, HEADS_MAX, &text, e) < 0)
		return err_field(e, "--against");
	j = json_parse(text.p, text.n, &limits, e);
	if (j && (!json_is_array(json_object_get(j, "events")) ||
		     !json_is_array(json_object_get(j, "audit"))))
		err_set(e, ERR_INVALID, "it has no arrays \"events\" and \"audit\"");
	if (e->code != ERR_NONE) {
		err_push(e, "%s", path);
		err_field(e, "--against");
		return err_hint(e, "Give a file that takt verify --heads has written.");
	}
	v->against = buf_take(&text);
	return 0;
}

/* The heads of the same snapshot that was found clean; others would be no anchor. */
static int
heads_write(struct verify *v, const char *path, struct err *e)
{
	_cleanup_pgresult_ PGresult *r = NULL;
	_cleanup_json_ json_t *heads = NULL;
	_cleanup_free_ char *directory = xstrdup(path), *name = xstrdup(path), *text = NULL;
	char at[32];

	if (verify_query(v->db, SQL_VERIFY_HEADS_NOW, NULL, &r, e) < 0)
		return -(int)e->code;
	heads = json_loads(PQgetvalue(r, 0, 0), 0, NULL);
	json_object_set_new(heads, "at", json_string(clock_rfc3339_us(clock_realtime_us(), at)));
	text = json_text(heads);
	_cleanup_fd_ int dirfd = open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(e, "%s", path);
	return io_replace_file(dirfd, basename(name), text, strlen(text), 0644, e);
}

/* "2026-11" to the date of its first day. */
static int
month_of(const char *text, char first[16], struct err *e)
{
	int year = 0, month = 0, end = 0;

	if (sscanf(text, "%4d-%2d%n", &year, &month, &end) == 2 && end == 7 && !text[7] &&
	    year >= 1970 && month >= 1 && month <= 12) {
		snprintf(first, 16, "%.7s-01", text);
		return 0;
	}
	err_set(e, ERR_INVALID, "'%.40s' is no month", text);
	err_field(e, "--since");
	return err_hint(e, "Give one like 2026-11.");
}

static int
open_all(struct verify *v, const struct args *a, struct err *e)
{
	const char *since = arg_str(a, "since"), *against = arg_str(a, "against");
	const char *month[1] = {NULL};
	char first[16];

	if ((since && month_of(since, first, e) < 0) ||
	    (against && heads_read(v, against, e) < 0) ||
	    verify_connect(&v->db, v->c, arg_str(a, "db"), e) < 0)
		return -(int)e->code;
	if (since)
		month[0] = first;
	if (verify_query(v->db, SQL_VERIFY_MONTHS, month, &v->months, e) < 0)
		return -(int)e->code;
	v->since = PQntuples(v->months) ? PQgetvalue(v->months, 0, 1)
					: "00000000-0000-0000-0000-000000000000";
	return 0;
}

static void
tell_end(struct verify *v, json_t *checks, const char *heads)
{
	static const char *const words[] = {
	    [CLEAN] = "clean", [VIOLATED] = "violated", [CANNOT] = "not checked"};

	if (v->c->is_json) {
		_cleanup_json_ json_t *j = json_pack("{s:s, s:O}", "verdict",
		    v->code == CANNOT ? "cannot_check" : words[v->code], "checks", checks);
		print_json(j);
	} else {
		printf("%s\n", words[v->code]);
	}
	if (heads && v->code != CLEAN)
		fprintf(stderr, "takt: the heads were not written: they would vouch for what is "
				"listed above\n");
}

int
cmd_verify(struct cli *c, const struct args *a)
{
	struct verify v = {.c = c, .has_progress = isatty(STDERR_FILENO)};
	const char *heads = arg_str(a, "heads");
	struct err e = ERR_INIT;

	if (open_all(&v, a, &e) < 0) {
		v.code = cannot(&e);
	} else {
		_cleanup_json_ json_t *checks = check_all(&v);

		tell_end(&v, checks, heads);
		if (heads && v.code == CLEAN && heads_write(&v, heads, &e) < 0) {
			err_field(&e, "--heads");
			v.code = cannot(&e);
		}
	}
	PQclear(v.months);
	PQfinish(v.db);
	free(v.against);
	return v.code;
}
