// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See places.h. */
#include "cli/places.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#include "base/banned.h"

char *
places_own_dir(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (n < 0)
		return xstrdup(".");
	path[n] = 0;
	slash = strrchr(path, '/');
	if (slash && slash != path)
		*slash = 0;
	return xstrdup(path);
}

static bool
is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *
places_data_dir(const char *name)
{
	_cleanup_free_ char *own = places_own_dir();
	_cleanup_free_ char *beside = xasprintf("%s/conf/%s", own, name);
	_cleanup_free_ char *objects = xasprintf("%s/config.status", own);
	_cleanup_free_ char *source = xasprintf("%s/conf/%s", TAKT_SRCDIR, name);

	if (is_dir(beside))
		return take_ptr(&beside);
	if (access(objects, F_OK) == 0 && is_dir(source))
		return take_ptr(&source);
	return xasprintf("%s/%s", TAKT_PKGDATADIR, name);
}
