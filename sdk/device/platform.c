// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The set of loaded platforms. Replaced as a whole: a reload with a bad file changes nothing.
 * Loaded before fork, so that all units share it.
 */
#include "sdk/device/platform.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "sdk/device/device.h"

#include "base/banned.h"

#define MAX_PLATFORMS 256

struct set {
	struct platform *v[MAX_PLATFORMS];
	size_t n;
};

static struct set loaded;

static void
set_fini(struct set *s)
{
	for (size_t i = 0; i < s->n; i++)
		platform_free(s->v[i]);
	s->n = 0;
}

static int
set_put(struct set *s, struct platform *p, struct err *e)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->v[i]->name, p->name) == 0) {
			platform_free(s->v[i]);
			s->v[i] = p;
			return 0;
		}
	}
	if (s->n == MAX_PLATFORMS) {
		platform_free(p);
		return err_set(e, ERR_TOO_BIG, "more than %d platforms", MAX_PLATFORMS);
	}
	s->v[s->n++] = p;
	return 0;
}

static bool
has_suffix(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n > m && s[0] != '.' && strcmp(s + n - m, end) == 0;
}

static int
load_dir(struct set *s, const char *dir, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	int rc = 0;
	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, "cannot read directory %s", dir);
	while (rc == 0 && (de = readdir(d))) {
		struct platform *p = NULL;
		if (!has_suffix(de->d_name, ".conf"))
			continue;
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, de->d_name);
		rc = platform_read(path, &p, e);
		if (rc == 0)
			rc = set_put(s, p, e);
	}
	closedir(d);
	return rc;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp((*(struct platform *const *)a)->name, (*(struct platform *const *)b)->name);
}

int
device_platforms_load(const char *const *dirs, struct err *e)
{
	struct set s = {.n = 0};
	for (; *dirs; dirs++) {
		int rc = load_dir(&s, *dirs, e);
		if (rc) {
			set_fini(&s);
			return rc;
		}
	}
	qsort(s.v, s.n, sizeof(s.v[0]), by_name);
	set_fini(&loaded);
	loaded = s;
	return 0;
}

const struct platform *
platform_find(const char *name)
{
	for (size_t i = 0; i < loaded.n; i++)
		if (strcmp(loaded.v[i]->name, name) == 0)
			return loaded.v[i];
	return NULL;
}

const char *
platform_names(char *buf, size_t n)
{
	size_t at = 0;
	buf[0] = 0;
	for (size_t i = 0; i < loaded.n && at < n; i++)
		at += (size_t)snprintf(buf + at, n - at, "%s%s", i ? ", " : "", loaded.v[i]->name);
	return buf;
}

json_t *
device_platforms_json(void)
{
	json_t *all = json_array();
	for (size_t i = 0; i < loaded.n; i++) {
		const struct platform *p = loaded.v[i];
		json_array_append_new(
		    all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", p->name, "title",
			     p->title, "evidence", p->evidence.kind, "evidence_text",
			     p->evidence.text, "file", p->file, "digest", p->digest));
	}
	return all;
}
