// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See schedule_priv.h: what a document says under a name, and errors that point at it. */
#include "daemon/gateway/schedule_priv.h"

#include "base/banned.h"

const char *
schedule_place(const struct schedule_said *s)
{
	return s->is_flat ? "" : "/schedule";
}

int
schedule_bad_at(struct err *e, const struct schedule_said *s, const char *hint)
{
	err_field(e, "%s/%s", schedule_place(s), s->name);
	return err_hint(e, "%s", hint);
}

int
schedule_bad_twice(struct err *e, const struct schedule_said *a, const struct schedule_said *b)
{
	err_set(e, ERR_INVALID, "%s/%s and %s/%s both say it", schedule_place(a), a->name,
	    schedule_place(b), b->name);
	return schedule_bad_at(e, b, "Say it in one way and leave the other out.");
}

const json_t *
schedule_member_of(const json_t *object, const char *name)
{
	const json_t *j = json_object_get(object, name);

	return json_is_null(j) ? NULL : j;
}

int
schedule_find(
    const struct schedule_doc *d, const char *name, struct schedule_said *out, struct err *e)
{
	const struct schedule_said flat = {schedule_member_of(d->flat, name), name, true},
				   inner = {schedule_member_of(d->object, name), name, false};

	if (flat.value && inner.value && !json_equal(flat.value, inner.value))
		return schedule_bad_twice(e, &flat, &inner);
	*out = inner.value ? inner : flat;
	return 0;
}

int
schedule_bad_type(struct err *e, const struct schedule_said *s, const char *expected)
{
	err_set(e, ERR_INVALID, "%s must be %s", s->name, expected);
	return schedule_bad_at(e, s, "Correct it, or leave it out.");
}

const char *
schedule_text_of(const struct schedule_said *s, struct err *e)
{
	const char *text = json_string_value(s->value);

	if (!text)
		schedule_bad_type(e, s, "a text");
	return text;
}
