// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Facts: made by feed.c and channel_join.c, sent by channel.c. */
#include "daemon/gateway/fact.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsonx.h"

#include "base/banned.h"

const struct json_limits fact_limits = {.size_b = 256u << 20, .depth = 64, .tokens = 8000000};

static char *
payload_head(const struct fact *f, json_t *item, int64_t number)
{
	_cleanup_json_ json_t *j = json_copy(item);
	char *text;

	/* A decision that made no run has an id of its own where a run's would be. */
	bool is_decision = strncmp(json_get_str(item, "type", ""), "occurrence_", 11) == 0;
	json_object_set_new(j, "run_id", is_decision ? json_null() : json_string(f->run));
	if (is_decision)
		json_object_set_new(j, "event_id", json_string(f->run));
	json_object_set_new(j, "task_id", json_string(f->task));
	json_object_set_new(j, "seq", json_integer(number));
	text = json_text(j);
	text[strlen(text) - 1] = '\0'; /* without the closing brace: the cursor follows */
	return text;
}

struct fact *
fact_new(const char *run, const char *task, int no, int64_t inc, int64_t seq, int64_t first,
    const json_t *items)
{
	unsigned n = (unsigned)json_array_size(items);
	struct fact *f = xcalloc(1, sizeof(*f) + n * sizeof(f->items[0]));

	f->refs = 1;
	snprintf(f->run, sizeof(f->run), "%s", run);
	snprintf(f->task, sizeof(f->task), "%s", task);
	f->no = no;
	f->inc = inc;
	f->seq = seq;
	f->first = first;
	f->n = n;
	for (unsigned i = 0; i < n; i++) {
		json_t *item = json_array_get(items, i);

		f->items[i].type = xstrdup(json_get_str(item, "type", "event"));
		f->items[i].head = payload_head(f, item, first + i);
		f->size_b += strlen(f->items[i].head) + 128;
	}
	return f;
}

struct fact *
fact_get(struct fact *f)
{
	f->refs++;
	return f;
}

void
fact_put(struct fact *f)
{
	if (--f->refs)
		return;
	for (unsigned i = 0; i < f->n; i++) {
		free(f->items[i].type);
		free(f->items[i].head);
	}
	free(f->before);
	free(f->after);
	free(f);
}

static char *
entries(const struct cursor *c, int from, int to)
{
	_cleanup_buf_ struct buf b = {0};

	buf_adds(&b, "");
	cursor_text(c, from, to, &b);
	return buf_take(&b);
}

void
fact_set_place(struct fact *f, const struct cursor *others)
{
	free(f->before);
	free(f->after);
	f->before = entries(others, 0, f->no - 1);
	f->after = entries(others, f->no + 1, INT_MAX);
}

void
fact_cursor(
    const struct fact *f, unsigned k, const char *before, const char *after, struct buf *out)
{
	before = before ? before : f->before;
	after = after ? after : f->after;
	buf_addf(out, "v1.%s%s%d-%lld-%lld", before, *before ? "_" : "", f->no, (long long)f->inc,
	    (long long)f->seq);
	if (k < f->n)
		buf_addf(out, "-%u", k);
	buf_addf(out, "%s%s", *after ? "_" : "", after);
}

struct stream {
	unsigned at, end; /* of the facts of one node */
};

/* Does another stream still hold earlier events of this fact's run? */
static bool
must_wait(struct fact *const *facts, const struct stream *streams, unsigned n, unsigned mine)
{
	const struct fact *f = facts[streams[mine].at];

	for (unsigned s = 0; s < n; s++)
		for (unsigned i = streams[s].at; s != mine && i < streams[s].end; i++)
			if (facts[i]->first < f->first && !strcmp(facts[i]->run, f->run))
				return true;
	return false;
}

static unsigned
split_streams(struct fact *const *facts, unsigned n, struct stream *out)
{
	unsigned k = 0;

	for (unsigned i = 0; i < n; i++) {
		if (i == 0 || facts[i]->no != facts[i - 1]->no)
			out[k++].at = i;
		out[k - 1].end = i + 1;
	}
	return k;
}

void
facts_order(struct fact **facts, unsigned n)
{
	_cleanup_free_ struct stream *streams = xcalloc(n + 1, sizeof(*streams));
	_cleanup_free_ struct fact **out = xcalloc(n + 1, sizeof(struct fact *));
	unsigned k = split_streams(facts, n, streams), done = 0;

	if (k < 2)
		return;
	while (done < n) {
		unsigned before = done;

		for (unsigned s = 0; s < k; s++)
			while (streams[s].at < streams[s].end && !must_wait(facts, streams, k, s))
				out[done++] = facts[streams[s].at++];
		if (done == before) { /* numbers that contradict the streams: keep the streams */
			for (unsigned s = 0; s < k; s++)
				while (streams[s].at < streams[s].end)
					out[done++] = facts[streams[s].at++];
		}
	}
	memcpy(facts, out, n * sizeof(struct fact *));
}
