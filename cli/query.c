// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See query.h. */
#include "cli/query.h"

#include <string.h>

#include "cli/api.h"
#include "cli/moment.h"

#include "when/stamp.h"
#include "when/zone.h"

#include "base/banned.h"

void
query_add(struct buf *path, const char *name, const char *value)
{
	_cleanup_free_ char *escaped = value ? api_escape(value) : NULL;

	if (escaped)
		buf_addf(path, "%c%s=%s", strchr(path->p, '?') ? '&' : '?', name, escaped);
}

int
query_add_time(struct buf *path, const struct args *a, const char *flag, const char *name)
{
	_cleanup_free_ char *field = xasprintf("--%s", flag);
	const char *text = arg_str(a, flag);
	const struct zone *zone;
	char stamp[32];
	int64_t utc;
	int code;

	if (!text)
		return CLI_OK;
	code = moment_zone("--zone", arg_str(a, "zone"), &zone);
	if (!code)
		code = moment_parse(field, text, zone, &utc);
	if (!code)
		query_add(path, name, when_format_rfc3339(utc, stamp));
	return code;
}
