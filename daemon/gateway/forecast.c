// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Hook of getForecast: the range that is asked for, and a page of tasks within the time that one
 * request may keep the gateway busy. What did not fit is the next page's.
 */
#include "daemon/gateway/forecast.h"

#include "base/clock.h"
#include "base/jsonx.h"

#include "when/stamp.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"
#include "daemon/gateway/why.h"

#include "base/banned.h"

extern const struct hook hook_forecast;

#define DAY_S 86400
#define BUSY_MS 50

static int
read_time(const struct request *r, const char *name, int64_t dflt, int64_t *out, struct err *e)
{
	const char *text = json_get_str(r->query, name, NULL);

	*out = dflt;
	if (!text || when_parse_rfc3339(text, out, NULL, e) == 0)
		return 0;
	return err_field(e, "%s", name);
}

static int
read_range(const struct request *r, int64_t *from, int64_t *to, struct err *e)
{
	int64_t now = db_clock_s();

	if (read_time(r, "from", now, from, e) < 0)
		return -ERR_INVALID;
	if (*from < now)
		*from = now;
	if (read_time(r, "to", *from + DAY_S, to, e) < 0)
		return -ERR_INVALID;
	if (*to > *from && *to - *from <= FORECAST_RANGE_S)
		return 0;
	err_set(e, ERR_INVALID, "to must be later than from and than now, by 31 days at most");
	err_hint(e, "What was due in the past is among each task's occurrences.");
	return err_field(e, "to");
}

static int
prepare(struct request *r, struct err *e)
{
	int64_t from, to;

	if (read_range(r, &from, &to, e) < 0)
		answer_problem(r, 400, "invalid_query", e);
	else
		r->prepared =
		    json_pack("{s:I, s:I}", "from", (json_int_t)from, "to", (json_int_t)to);
	return 0;
}

static int
finish(struct request *r, json_t *page, struct err *e)
{
	const json_t *tasks = json_object_get(page, "tasks"), *task, *last = NULL;
	int64_t until_ms = clock_monotonic_ms() + BUSY_MS;
	struct forecast f;
	json_t *out;
	size_t i;

	if (!page)
		return err_set(e, ERR_BUG, "the schedules of a page are too much to read");
	forecast_init(&f, json_get_int(r->prepared, "from", 0), json_get_int(r->prepared, "to", 0),
	    json_object_get(page, "calendars"));
	json_array_foreach((json_t *)tasks, i, task)
	{
		if (i == FORECAST_PAGE || (i && clock_monotonic_ms() > until_ms))
			break;
		forecast_add(&f, task);
		last = task;
	}
	out = forecast_tell(&f, (unsigned)json_get_int(r->query, "limit", 500));
	json_object_set(out, "next_cursor",
	    i < json_array_size(tasks) ? json_object_get(last, "id") : json_null());
	answer_json(r, 200, out);
	json_decref(out);
	forecast_fini(&f);
	return 0;
}

const struct hook hook_forecast = {prepare, finish};
