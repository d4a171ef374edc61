// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A calendar of another version is another calendar: nothing that is handed out changes, and all
 * go together. Lists are short (hundreds at most) and asked only when a schedule is compiled.
 */
#include "daemon/schedule/calendars.h"

#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/store/store.h"
#include "when/calendar.h"

#include "base/banned.h"

#define KEPT_MAX 1000
#define KEPT_DAYS_MAX 1000000
#define LOAD_MAX 16

struct kept {
	struct kept *next;
	char *key; /* "ID:VERSION" of one, a list of several */
	struct calendar *calendar;
};

static struct kept *singles, *joined;
static size_t kept_count, kept_days;
static json_t *wanted; /* array of ids */

static const struct calendar *
find(const struct kept *list, const char *key, size_t n)
{
	for (const struct kept *k = list; k; k = k->next)
		if (strncmp(k->key, key, n) == 0 && !k->key[n])
			return k->calendar;
	return NULL;
}

static void
keep(struct kept **list, char *key, struct calendar *calendar)
{
	struct kept *k = xcalloc(1, sizeof(*k));

	*k = (struct kept){*list, key, calendar};
	*list = k;
	kept_count++;
	kept_days += calendar_count(calendar);
}

static void
want(const char *id, size_t n)
{
	json_t *value;
	size_t i;

	if (!wanted)
		wanted = json_array();
	json_array_foreach(
	    wanted, i, value) if (json_string_length(value) == n &&
				  strncmp(json_string_value(value), id, n) == 0) return;
	if (json_array_size(wanted) < LOAD_MAX)
		json_array_append_new(wanted, json_stringn(id, n));
}

/* The calendar that a list begins with; *p moves on to the next one. */
static const struct calendar *
single(const char **p)
{
	size_t id_n = strcspn(*p, ":"), n = id_n + 1 + strcspn(*p + id_n + 1, ":");
	const struct calendar *c = find(singles, *p, n);

	if (!c)
		want(*p, id_n);
	*p += strcspn(*p, ",");
	*p += **p == ',';
	return c;
}

static struct calendar *
join(const struct calendar *const *parts, size_t count, size_t days)
{
	_cleanup_free_ int64_t *all = xcalloc(days + 1, sizeof(*all));
	_cleanup_free_ const char **reasons = xcalloc(days + 1, sizeof(*reasons));
	_cleanup_buf_ struct buf name = {0};
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		buf_adds(&name, i ? ", " : "");
		buf_adds(&name, calendar_name(parts[i]));
		for (size_t k = 0; k < calendar_count(parts[i]); k++, n++)
			all[n] = calendar_day(parts[i], k, &reasons[n]);
	}
	return calendar_new(name.p, n, all, (const char *const *)reasons);
}

const struct calendar *
calendars_get(const char *list)
{
	const struct calendar *found = find(joined, list, strlen(list));
	_cleanup_free_ const struct calendar **parts = NULL;
	size_t count = 0, missing = 0, days = 0;

	if (found)
		return found;
	parts = xcalloc(strlen(list) + 1, sizeof(struct calendar *));
	for (const char *p = list; *p; count++) {
		parts[count] = single(&p);
		missing += parts[count] == NULL;
		days += parts[count] ? calendar_count(parts[count]) : 0;
	}
	if (missing)
		return NULL;
	if (count == 1)
		return parts[0];
	keep(&joined, xstrdup(list), join(parts, count, days));
	return joined->calendar;
}

bool
calendars_are_wanted(void)
{
	return json_array_size(wanted) > 0;
}

/* Rows from `first` on that are of one calendar; returns how many. */
static int
take_one(const PGresult *res, int first)
{
	const char *id = store_str(res, first, "id"), *name = store_str(res, first, "name");
	_cleanup_free_ int64_t *days = NULL;
	_cleanup_free_ char **reasons = NULL;
	char *key = xasprintf("%s:%s", id, store_str(res, first, "version"));
	int n = 1, count;

	while (first + n < PQntuples(res) && strcmp(store_str(res, first + n, "id"), id) == 0)
		n++;
	count = store_str(res, first, "day") ? n : 0;
	if (find(singles, key, strlen(key))) {
		free(key);
		return n;
	}
	days = xcalloc((size_t)n, sizeof(*days));
	reasons = xcalloc((size_t)n, sizeof(*reasons));
	for (int i = 0; i < count; i++) {
		days[i] = store_int(res, first + i, "day", 0);
		reasons[i] = xasprintf("%s: %s", name, store_str(res, first + i, "reason"));
	}
	keep(&singles, key, calendar_new(name, (size_t)count, days, (const char *const *)reasons));
	for (int i = 0; i < count; i++)
		free(reasons[i]);
	return n;
}

static void
on_loaded(void *arg, const PGresult *res, const struct err *err)
{
	(void)arg;
	if (err)
		return;
	for (int i = 0; i < PQntuples(res);)
		i += take_one(res, i);
	log_debug(LOG_SCHEDULE, "%zu calendars are kept, with %zu days", kept_count, kept_days);
}

void
calendars_load(struct store *s)
{
	_cleanup_free_ char *ids = json_text(wanted);

	json_array_clear(wanted);
	store_send(s, SQL_ENGINE_CALENDAR_LOAD, (struct store_param[]){STORE_TEXT(ids)}, 1,
	    on_loaded, NULL);
}

bool
calendars_are_many(void)
{
	return kept_count > KEPT_MAX || kept_days > KEPT_DAYS_MAX;
}

static void
drop(struct kept **list)
{
	while (*list) {
		struct kept *k = *list;

		*list = k->next;
		calendar_free(k->calendar);
		free(k->key);
		free(k);
	}
}

void
calendars_drop(void)
{
	drop(&singles);
	drop(&joined);
	kept_count = kept_days = 0;
}
