// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See rc.h. */
#include "task/rc.h"

#include <stddef.h>
#include <string.h>
#include <takt/plugin.h>

#include "base/cleanup.h"

#include "base/banned.h"

static const struct {
	const char *name;
	int32_t number;
	bool is_retryable;
} classes[] = {
#define RC(name, number, retryable) [RC_##name] = {#name, number, retryable},
#include "task/rc.def"
#undef RC
};

enum {
#define RC(name, number, retryable) NUMBER_##name = number,
#include "task/rc.def"
#undef RC
};
_Static_assert(NUMBER_passed == TAKT_OK && NUMBER_skipped == TAKT_SKIPPED &&
		   NUMBER_transient == TAKT_E_TRANSIENT && NUMBER_timeout == TAKT_E_TIMEOUT &&
		   NUMBER_unreachable == TAKT_E_UNREACHABLE &&
		   NUMBER_rate_limited == TAKT_E_RATE_LIMITED &&
		   NUMBER_permanent == TAKT_E_PERMANENT && NUMBER_parameters == TAKT_E_PARAMS &&
		   NUMBER_auth == TAKT_E_AUTH && NUMBER_unsupported == TAKT_E_UNSUPPORTED &&
		   NUMBER_cancelled == TAKT_E_CANCELLED && NUMBER_internal == TAKT_E_INTERNAL,
    "rc.def and takt/plugin.h agree");

enum rc_class
rc_class_of(int32_t rc)
{
	for (size_t i = 0; i < ARRAY_LEN(classes); i++)
		if (classes[i].number == rc)
			return (enum rc_class)i;
	if (rc <= -100 && rc > -200)
		return RC_transient;
	if (rc <= -200 && rc > -300)
		return RC_permanent;
	if (rc <= -300 && rc > -400)
		return RC_cancelled;
	return RC_internal;
}

int32_t
rc_number(enum rc_class c)
{
	return classes[c].number;
}

const char *
rc_class_name(enum rc_class c)
{
	return classes[c].name;
}

int
rc_class_parse(const char *s)
{
	for (size_t i = 0; i < ARRAY_LEN(classes); i++)
		if (!strcmp(classes[i].name, s))
			return (int)i;
	return -1;
}

bool
rc_is_retryable(enum rc_class c)
{
	return classes[c].is_retryable;
}

bool
rc_is_success(enum rc_class c)
{
	return c == RC_passed || c == RC_skipped;
}
