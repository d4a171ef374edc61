// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See resolve.h. */
#include "cli/resolve.h"

#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/jsonx.h"

#include "base/banned.h"

#define CODE_LEN 8

/* *id stays NULL when there is none of that name. */
static int
look_up(struct cli *c, const char *list_path, const char *name, char **id)
{
	_cleanup_free_ char *escaped = api_escape(name);
	_cleanup_free_ char *path = xasprintf("%s?name=%s", list_path, escaped);
	_cleanup_json_ json_t *items = NULL;
	const json_t *one;
	size_t i;
	int code;

	/* The longest name of anything is 200 characters: a longer one would be refused as a filter. */
	if (strlen(name) > 200)
		return CLI_OK;
	code = api_list(c, path, 0, &items);
	if (code)
		return code;
	json_array_foreach(items, i, one) if (strcmp(json_get_str(one, "name", ""), name) ==
					      0) *id = xstrdup(json_get_str(one, "id", ""));
	return CLI_OK;
}

static int
missing(const char *what, const char *name)
{
	fprintf(
	    stderr, "takt: there is no %s '%.100s' (`takt %s list` shows all)\n", what, name, what);
	return CLI_MISSING;
}

int
resolve_named(struct cli *c, const char *list_path, const char *what, const char *name, char **id)
{
	char *found = NULL;
	int code;

	if (uuid_valid(name)) {
		*id = xstrdup(name);
		return CLI_OK;
	}
	code = look_up(c, list_path, name, &found);
	if (code)
		return code;
	if (!found)
		return missing(what, name);
	*id = found;
	return CLI_OK;
}

int
resolve_device(struct cli *c, const char *name, char **id)
{
	return resolve_named(c, "/devices", "device", name, id);
}

int
resolve_task(struct cli *c, const char *name, char **id)
{
	_cleanup_reply_ struct reply r = {0};
	_cleanup_free_ char *path = NULL;
	char *found = NULL;
	const char *task;
	int code;

	if (uuid_valid(name)) {
		*id = xstrdup(name);
		return CLI_OK;
	}
	code = look_up(c, "/tasks", name, &found);
	if (code)
		return code;
	if (!found && strlen(name) == CODE_LEN) {
		_cleanup_free_ char *escaped = api_escape(name);

		path = xasprintf("/runs/%s", escaped);
		code = api_send(c, "GET", path, NULL, 0, &(struct call){.is_quiet = true}, &r);
		task = code == CLI_OK ? json_get_str(r.json, "task_id", NULL) : NULL;
		found = task ? xstrdup(task) : NULL;
	}
	if (!found)
		return missing("task", name);
	*id = found;
	return CLI_OK;
}
