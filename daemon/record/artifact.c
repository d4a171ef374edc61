// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Puts parts together; bounded in number and size, and strict in order. */
#include "daemon/record/artifact.h"

#include <string.h>

#include "base/jsonx.h"

#include "frame/frame.h"

#include "base/banned.h"

struct artifacts {
	unsigned n;
	struct artifact a[ARTIFACTS_MAX];
};

static struct artifact *
artifact_of(struct artifacts *set, const json_t *j)
{
	int64_t no = json_get_int(j, "no", -1);

	for (unsigned i = 0; i < set->n; i++)
		if (set->a[i].no == no)
			return &set->a[i];
	if (set->n == ARTIFACTS_MAX || no < 0)
		return NULL;
	struct artifact *a = &set->a[set->n++];
	a->no = no;
	a->kind = xstrdup(json_get_str(j, "kind", ""));
	a->meta = json_incref(json_object_get(j, "meta"));
	a->is_secret = json_get_bool(j, "is_secret", 0);
	a->raw_b = json_get_int(j, "raw_b", 0);
	a->parts = json_get_int(j, "parts", 0);
	return a;
}

int
artifacts_add(struct artifacts **set, const struct frame *part, struct err *e)
{
	if (!*set)
		*set = xcalloc(1, sizeof(**set));
	struct artifact *a = artifact_of(*set, part->json);
	if (!a)
		return err_set(e, ERR_TOO_BIG, "more than %d artifacts in one unit", ARTIFACTS_MAX);
	int64_t no = json_get_int(part->json, "part", -1);
	if (no < a->got)
		return 0;
	if (no != a->got || no >= a->parts)
		return err_set(e, ERR_INVALID,
		    "artifact %s: part %lld of %lld does not follow part %lld", a->kind,
		    (long long)no, (long long)a->parts, (long long)a->got);
	if (a->body.n + part->blob_n > ARTIFACT_BODY_MAX)
		return err_set(e, ERR_TOO_BIG, "artifact %s is larger than %u bytes", a->kind,
		    ARTIFACT_BODY_MAX);
	buf_add(&a->body, part->blob, part->blob_n);
	a->got++;
	return 0;
}

const struct artifact *
artifacts_find(const struct artifacts *set, const char *kind)
{
	for (unsigned i = 0; set && i < set->n; i++)
		if (set->a[i].got == set->a[i].parts && strcmp(set->a[i].kind, kind) == 0)
			return &set->a[i];
	return NULL;
}

void
artifacts_free(struct artifacts *set)
{
	if (!set)
		return;
	for (unsigned i = 0; i < set->n; i++) {
		free(set->a[i].kind);
		json_decref(set->a[i].meta);
		buf_fini(&set->a[i].body);
	}
	free(set);
}
