// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Reading and writing Phoenix frames. */
#include "daemon/gateway/phx.h"

#include <string.h>

#include "base/jsonx.h"

#include "base/banned.h"

static const struct json_limits limits = {.size_b = PHX_FRAME_MAX_B, .depth = 16, .tokens = 2000};

/* A reference is a string or null; others make the frame malformed. */
static bool
read_ref(const json_t *j, const char **out)
{
	*out = json_string_value(j);
	return !j || json_is_null(j) || (json_is_string(j) && json_string_length(j) <= 64);
}

int
phx_parse(const char *p, size_t n, bool is_v1, struct phx *out, struct err *e)
{
	json_t *j, *part[5];
	bool is_sane;

	*out = (struct phx){0};
	j = out->root = json_parse(p, n, &limits, e);
	if (!j)
		return -ERR_INVALID;
	for (size_t i = 0; i < 5; i++) {
		static const char *const names[] = {"join_ref", "ref", "topic", "event", "payload"};

		part[i] = is_v1 ? json_object_get(j, names[i]) : json_array_get(j, i);
	}
	is_sane = (is_v1 ? json_is_object(j) : json_array_size(j) == 5) &&
		  read_ref(part[0], &out->join_ref) && read_ref(part[1], &out->ref);
	out->topic = json_string_value(part[2]);
	out->event = json_string_value(part[3]);
	out->payload = part[4];
	if (!is_sane || !out->topic || !out->event || strlen(out->topic) > 200 ||
	    strlen(out->event) > 100)
		return err_set(e, ERR_INVALID, "a frame is [join_ref, ref, topic, event, payload]");
	return 0;
}

void
phx_fini(struct phx *m)
{
	json_decref(m->root);
	m->root = NULL;
}

char *
phx_quote(const char *s)
{
	json_t *j = s ? json_string(s) : NULL;
	char *text = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;

	json_decref(j);
	return text;
}

void
phx_write(struct buf *out, bool is_v1, const char *join_ref, const char *ref, const char *topic,
    const char *event, const char *payload)
{
	if (is_v1)
		buf_addf(out, "{\"topic\":%s,\"event\":%s,\"ref\":%s,\"payload\":", topic, event,
		    ref ? ref : "null");
	else
		buf_addf(out, "[%s,%s,%s,%s,", join_ref ? join_ref : "null", ref ? ref : "null",
		    topic, event);
	buf_adds(out, payload);
	buf_addc(out, is_v1 ? '}' : ']');
}
