// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The cache of zones and the questions one can ask of a zone. Everything rests on two functions:
 * the offset at an instant, and the nearest boundary before or after it (of table or footer); spans
 * join stretches whose boundary changed only the name or the DST flag.
 */
#include "when/zone.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/io.h"

#include "when/shown.h"
#include "when/zone_priv.h"

#include "base/banned.h"

static const char *zone_dir = ZONE_DIR_DEFAULT;
static struct zone *cached;
static struct zone *forgotten;

static const struct zone utc = {.name = "UTC", .type_count = 1, .types = {{0}}, .abbrevs = "UTC"};

void
zone_set_dir(const char *dir)
{
	zone_dir = dir ? dir : ZONE_DIR_DEFAULT;
}

const struct zone *
zone_utc(void)
{
	return &utc;
}

const char *
zone_name(const struct zone *z)
{
	return z->name;
}

static void
zone_path(const char *name, char path[512])
{
	snprintf(path, 512, "%s/%s", zone_dir, name);
}

uint64_t
zone_fingerprint(const struct zone *z)
{
	return z->fingerprint;
}

const char *
zone_data_version(char out[ZONE_VERSION_MAX + 1])
{
	static const char head[] = "# version ";
	_cleanup_buf_ struct buf b = {0};
	char path[512];

	*out = '\0';
	zone_path("tzdata.zi", path);
	if (io_read_file(path, ZONE_FILE_MAX, &b, NULL) == 0 && b.n > 0 &&
	    strncmp(b.p, head, strlen(head)) == 0)
		snprintf(out, ZONE_VERSION_MAX + 1, "%.*s",
		    (int)strcspn(b.p + strlen(head), " \r\n"), b.p + strlen(head));
	return out;
}

/* Parts of letters, digits and + - _ joined by single slashes. No dot is legal, so none leads
 * upwards. */
static bool
name_is_legal(const char *name)
{
	size_t n = strnlen(name, ZONE_NAME_MAX + 1);

	if (!n || n > ZONE_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool starts_part = i == 0 || name[i - 1] == '/';

		if (starts_part ? !isalpha((unsigned char)name[i])
				: !isalnum((unsigned char)name[i]) && !strchr("+-_/", name[i]))
			return false;
	}
	return name[n - 1] != '/';
}

static void
zone_free(struct zone *z)
{
	free(z->when);
	free(z->type);
	free(z);
}

/* FNV-1a. */
static uint64_t
fingerprint(const char *p, size_t n)
{
	uint64_t x = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		x = (x ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
	return x;
}

static int
load(const char *path, const struct stat *st, struct zone *z, struct err *e)
{
	_cleanup_buf_ struct buf b = {0};
	int r = io_read_file(path, ZONE_FILE_MAX, &b, e);

	if (r < 0)
		return r;
	z->inode = st->st_ino;
	z->mtime = st->st_mtim;
	z->fingerprint = fingerprint(b.p, b.n);
	return tzif_parse((const unsigned char *)b.p, b.n, z, e);
}

static const struct zone *
zone_read(const char *name, struct err *e)
{
	char path[512];
	struct stat st;
	struct zone *z;

	zone_path(name, path);
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
		err_set(e, ERR_NOT_FOUND, "time zone '%s' is not known", name);
		err_hint(e,
		    "Use an IANA name such as Europe/Berlin or UTC; `ls %s` shows them (package "
		    "tzdata).",
		    zone_dir);
		err_field(e, "timezone");
		return NULL;
	}
	z = xcalloc(1, sizeof(*z));
	snprintf(z->name, sizeof(z->name), "%s", name);
	if (load(path, &st, z, e) < 0) {
		err_push(e, "time zone '%s'", name);
		err_hint(
		    e, "Use an IANA name such as Europe/Berlin, or reinstall the package tzdata.");
		err_field(e, "timezone");
		zone_free(z);
		return NULL;
	}
	z->next = cached;
	cached = z;
	return z;
}

const struct zone *
zone_get(const char *name, struct err *e)
{
	char shown[WHEN_SHOWN_MAX + 1];

	if (!name_is_legal(name)) {
		err_set(e, ERR_INVALID, "'%s' is not a time zone name", when_shown(name, shown));
		err_hint(e, "Use an IANA name such as Europe/Berlin or UTC: letters, digits, + - _ "
			    "and single "
			    "slashes, at most 64 characters.");
		err_field(e, "timezone");
		return NULL;
	}
	for (struct zone *z = cached; z; z = z->next)
		if (strcmp(z->name, name) == 0)
			return z;
	return zone_read(name, e);
}

int
zone_refresh(void)
{
	int count = 0;

	for (struct zone **pp = &cached; *pp;) {
		struct zone *z = *pp;
		char path[512];
		struct stat st;

		zone_path(z->name, path);
		if (stat(path, &st) < 0 ||
		    (st.st_ino == z->inode && st.st_mtim.tv_sec == z->mtime.tv_sec &&
			st.st_mtim.tv_nsec == z->mtime.tv_nsec)) {
			pp = &z->next;
			continue;
		}
		*pp = z->next;
		z->next = forgotten;
		forgotten = z;
		count++;
	}
	return count;
}

static void
free_list(struct zone **list)
{
	while (*list) {
		struct zone *z = *list;

		*list = z->next;
		zone_free(z);
	}
}

void
zone_fini(void)
{
	free_list(&cached);
	free_list(&forgotten);
}

/* How many transitions are at or before t. */
static size_t
transitions_until(const struct zone *z, int64_t t)
{
	size_t lo = 0, hi = z->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (z->when[mid] <= t)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int64_t
zone_table_end(const struct zone *z)
{
	return z->count ? z->when[z->count - 1] : INT64_MIN;
}

static bool
is_by_rule(const struct zone *z, int64_t t)
{
	return z->has_rule && t >= zone_table_end(z);
}

void
zone_offset_at(const struct zone *z, int64_t t, int32_t *off, bool *is_dst, const char **abbrev)
{
	const struct zone_type *type;
	size_t n;

	if (is_by_rule(z, t)) {
		bool dst = tzrule_is_dst(&z->rule, t);

		*off = dst ? z->rule.dst_off : z->rule.std_off;
		if (is_dst)
			*is_dst = dst;
		if (abbrev)
			*abbrev = dst ? z->rule.dst : z->rule.std;
		return;
	}
	n = transitions_until(z, t);
	type = &z->types[n ? z->type[n - 1] : 0];
	*off = type->off;
	if (is_dst)
		*is_dst = type->is_dst;
	if (abbrev)
		*abbrev = z->abbrevs + type->abbrev;
}

static int32_t
offset_at(const struct zone *z, int64_t t)
{
	int32_t off;

	zone_offset_at(z, t, &off, NULL, NULL);
	return off;
}

/* The first boundary after t, INT64_MAX if none. */
static int64_t
boundary_after(const struct zone *z, int64_t t)
{
	if (is_by_rule(z, t))
		return z->rule.is_fixed ? INT64_MAX : tzrule_after(&z->rule, t);
	return t >= zone_table_end(z) ? INT64_MAX : z->when[transitions_until(z, t)];
}

/* The last boundary at or before t, INT64_MIN if none. */
static int64_t
boundary_before(const struct zone *z, int64_t t)
{
	size_t n;

	if (is_by_rule(z, t) && !z->rule.is_fixed) {
		int64_t b = tzrule_before(&z->rule, t);

		return b > zone_table_end(z) ? b : zone_table_end(z);
	}
	n = transitions_until(z, t);
	return n ? z->when[n - 1] : INT64_MIN;
}

bool
zone_next_change(const struct zone *z, int64_t t, int64_t *at)
{
	int32_t off = offset_at(z, t);
	int64_t u;

	for (u = boundary_after(z, t); u != INT64_MAX; u = boundary_after(z, u)) {
		if (offset_at(z, u) != off) {
			*at = u;
			return true;
		}
	}
	return false;
}

struct zone_span
zone_span_at(const struct zone *z, int64_t t)
{
	struct zone_span s = {.off = offset_at(z, t)};

	s.off_before = s.off;
	for (s.start = boundary_before(z, t); s.start != INT64_MIN;
	     s.start = boundary_before(z, s.start - 1)) {
		s.off_before = offset_at(z, s.start - 1);
		if (s.off_before != s.off)
			break;
	}
	if (!zone_next_change(z, t, &s.end))
		s.end = INT64_MAX;
	return s;
}

struct zone_local
zone_from_local(const struct zone *z, int64_t local)
{
	struct zone_local l = {.kind = ZONE_GAP};
	int64_t last = local - ZONE_OFF_MIN;
	struct zone_span s;
	int found = 0;

	/* All instants that could show this local time, span by span. */
	for (s = zone_span_at(z, local - ZONE_OFF_MAX);; s = zone_span_at(z, s.end)) {
		int64_t u = local - s.off;

		if (u >= s.start && u < s.end) {
			if (!found++)
				l.first = u;
			else
				l.change = s.start;
			l.second = u;
		} else if (!found && u < s.start && local - s.off_before >= s.start) {
			l.first = local - s.off_before;
			l.second = u;
			l.change = s.start;
		}
		if (s.end > last)
			break;
	}
	if (found)
		l.kind = found > 1 ? ZONE_FOLD : ZONE_NORMAL;
	return l;
}
