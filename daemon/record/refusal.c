// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See refusal.h. */
#include "daemon/record/refusal.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/engine/engine.h"
#include "daemon/record/record_priv.h"

#include "base/banned.h"

#define TRIES 3
#define NARROW_MS 60000 /* since the last refusal */

/* Data, integrity, limits, Takt's own checks, raised by a trigger. */
static const char *const for_good[] = {"22", "23", "54", "TK", "P0001"};

bool
refusal_is_for_good(const struct err *err)
{
	if (err->code == ERR_TRANSIENT)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(for_good); i++)
		if (strncmp(err->field, for_good[i], strlen(for_good[i])) == 0)
			return true;
	return false;
}

static json_int_t
count(const struct engine *e, const char *key)
{
	return json_get_int(e->record->refusals, key, 0);
}

void
refusal_note(struct engine *e, const char *unit, const char *run, const struct err *err)
{
	struct record *r = e->record;
	const char *key = unit ? unit : run;

	r->narrow_until_ms = clock_monotonic_ms() + NARROW_MS;
	snprintf(r->refused_by, sizeof(r->refused_by), "%.5s", err->field);
	if (!key) {
		log_warn(LOG_RECORD, "the database refused a batch (%s); unit by unit from here on",
		    r->refused_by);
		return;
	}
	json_int_t n = count(e, key) + 1;
	set_int(r->refusals, key, n);
	log_error(LOG_RECORD, "the database refused what %s %s reports (%s), time %lld",
	    unit ? "unit" : "run", key, r->refused_by, (long long)n);
	/* Not even that the unit was refused can be written. */
	if (unit && run && n >= 2 * TRIES)
		set_int(r->refusals, run, TRIES);
	if (refusal_is_run_out(e, run ? run : ""))
		log_error(LOG_RECORD,
		    "run %s cannot be recorded and is left alone until the node enters again", run);
}

void
refusal_forget(struct engine *e, const char *unit)
{
	json_object_del(e->record->refusals, unit);
}

bool
refusal_is_narrow(struct engine *e)
{
	struct record *r = e->record;

	if (r->narrow_until_ms == 0)
		return false;
	if (clock_monotonic_ms() < r->narrow_until_ms)
		return true;
	r->narrow_until_ms = 0;
	json_object_clear(r->refusals);
	return false;
}

bool
refusal_is_unit_out(const struct engine *e, const char *unit)
{
	return count(e, unit) >= TRIES;
}

bool
refusal_is_run_out(const struct engine *e, const char *run)
{
	return count(e, run) >= TRIES;
}

void
refusal_text(const struct engine *e, char *out, size_t n)
{
	snprintf(out, n, "the database refuses what the unit reports (SQLSTATE %s)",
	    e->record->refused_by);
}
