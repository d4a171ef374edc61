// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * NAME.ics is the calendar NAME; later directories replace earlier ones. What counts is the days that
 * a file gives, so their digest tells whether there is anything new, and the database compares it.
 */
#include "daemon/engine/calendars.h"

#include <errno.h>
#include <glob.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/main/conf.h"
#include "when/civil.h"
#include "when/ical.h"

#include "base/banned.h"

#define SUFFIX ".ics"
#define FIRST_YEAR 2000
#define LAST_YEAR 2060
#define FILES_MAX 200

static json_t *
days_json(const struct calendar_days *found)
{
	json_t *days = json_array();
	char text[48];

	for (size_t i = 0; i < found->n; i++) {
		struct civil c = civil_from_days(found->days[i]);
		snprintf(text, sizeof(text), "%04d-%02d-%02d", (int)c.year, c.month, c.day);
		json_array_append_new(days, json_pack("[s, s]", text, found->reasons[i]));
	}
	return days;
}

/* Takes days. */
static json_t *
calendar_json(const char *name, const struct ical_report *report, json_t *days)
{
	_cleanup_free_ char *text = json_text(days);
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];

	crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	return json_pack("{s:s, s:s, s:s, s:{s:i, s:i}, s:o}", "name", name, "title", report->name,
	    "digest", hex, "report", "events", report->events, "days", report->days, "days", days);
}

/* NULL: logged. */
static json_t *
calendar_read(const char *path, const char *name)
{
	_cleanup_(calendar_days_fini) struct calendar_days found = {0};
	_cleanup_buf_ struct buf text = {0};
	struct ical_report report;
	struct err e = ERR_INIT;

	if (io_read_file(path, ICAL_TEXT_MAX, &text, &e) < 0 ||
	    ical_read(text.p, text.n, civil_days(FIRST_YEAR, 1, 1), civil_days(LAST_YEAR, 12, 31),
		NULL, &found, &report, &e) < 0) {
		log_error(LOG_SCHEDULE, "calendar %s stays as it is: %s", path, e.message);
		return NULL;
	}
	return calendar_json(name, &report, days_json(&found));
}

static bool
is_name(const char *s, size_t n)
{
	return n > 0 && n <= 63 && s[0] != '-' && s[0] != '.' && s[0] != '_' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") >= n;
}

/* Into all, an object by name. */
static void
read_dir(const char *dir, json_t *all)
{
	_cleanup_free_ char *pattern = xasprintf("%s/*" SUFFIX, dir);
	glob_t files = {0};

	if (glob(pattern, 0, NULL, &files) != 0 && access(dir, R_OK | X_OK) < 0)
		log_warn(LOG_SCHEDULE, "no calendars in %s: %s", dir, strerror(errno));
	for (size_t i = 0; i < files.gl_pathc && i < FILES_MAX; i++) {
		const char *path = files.gl_pathv[i], *base = strrchr(path, '/') + 1;
		_cleanup_free_ char *name = xstrdup(base);
		json_t *one;

		name[strlen(name) - strlen(SUFFIX)] = '\0';
		if (!is_name(name, strlen(name)))
			log_error(LOG_SCHEDULE,
			    "calendar %s: a name is lower case letters, digits, '.', '_' and '-'",
			    path);
		else if ((one = calendar_read(path, name)))
			json_object_set_new(all, name, one);
	}
	globfree(&files);
}

static void
on_put(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	if (err)
		log_error(LOG_SCHEDULE, "calendars stay as they are: %s", err->message);
	else if (store_int(res, 0, "made", 0) + store_int(res, 0, "changed", 0) > 0)
		log_info(LOG_SCHEDULE,
		    "shipped calendars: %lld new, %lld changed, %lld schedules planned anew",
		    (long long)store_int(res, 0, "made", 0),
		    (long long)store_int(res, 0, "changed", 0),
		    (long long)store_int(res, 0, "planned", 0));
}

void
calendars_publish(struct engine *e)
{
	_cleanup_json_ json_t *all = json_object(), *list = json_array();
	const char *name;
	json_t *one;

	for (size_t i = 0; e->conf->calendar_dirs[i]; i++)
		read_dir(e->conf->calendar_dirs[i], all);
	if (json_object_size(all) == 0)
		return;
	json_object_foreach(all, name, one) json_array_append(list, one);
	_cleanup_free_ char *text = json_text(list);
	const struct store_param p = STORE_TEXT(text);
	store_send(e->store, SQL_ENGINE_CALENDARS_LOCK, &p, 1, NULL, NULL);
	store_send(e->store, SQL_ENGINE_CALENDARS_PUT, &p, 1, on_put, NULL);
	store_sync(e->store, NULL, NULL);
}
