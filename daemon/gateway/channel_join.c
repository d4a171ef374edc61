// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What clients say on a socket's topics: join with replay, leave. channel.c has what comes after.
 *
 * A join subscribes first and asks the database second. The answer's snapshot has an end, a cursor:
 * live facts up to there were in the snapshot and are dropped, whether they came before the answer or
 * come after it, because the feed may lag behind.
 *
 * A long replay is read in pages, each when the client has taken the one before: while a page is being
 * sent live facts are passed over, because the next page, which is asked for later, has them.
 */
#include "daemon/gateway/channel.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/gateway/channel_priv.h"
#include "daemon/gateway/feed.h"
#include "daemon/gateway/gateway_priv.h"

#include "base/banned.h"

#define CHANNELS_MAX 100
#define JOINS_MAX 20
#define JOINS_WINDOW_MS 10000
#define PAGE_ROWS 1000 /* of the replay in one piece; the next is read when this one is sent */

static void
reply_text(struct sock *s, const struct phx *m, const char *status, const char *response)
{
	_cleanup_free_ char *join_ref = phx_quote(m->join_ref), *ref = phx_quote(m->ref),
			    *topic = phx_quote(m->topic);
	_cleanup_free_ char *payload =
	    xasprintf("{\"status\":\"%s\",\"response\":%s}", status, response);

	sock_send(s, join_ref, ref, topic, "\"phx_reply\"", payload);
}

static void
reply_refused(struct sock *s, const struct phx *m, const char *reason, int code, bool may_retry)
{
	_cleanup_free_ char *response = channel_refusal(reason, code, may_retry);

	reply_text(s, m, "error", response);
}

/* The rows of the join's answer, as facts in order. */
static unsigned
facts_of(const json_t *rows, struct fact **facts)
{
	unsigned n = 0;
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) facts[n++] = fact_new(json_get_str(row, "run", ""),
	    json_get_str(row, "task", ""), (int)json_get_int(row, "no", 0),
	    json_get_int(row, "inc", 0), json_get_int(row, "seq", 0), json_get_int(row, "first", 0),
	    json_object_get(row, "items"));
	facts_order(facts, n);
	return n;
}

/* How many items at the start of a replayed fact the client has seen. */
static unsigned
skip_of(const struct channel *c, const struct fact *f)
{
	const struct cursor_at *at = c->since ? cursor_find(c->since, f->no) : NULL;

	return at && at->part && at->inc == f->inc && at->seq == f->seq ? (unsigned)at->part : 0;
}

/* Queue the rows of the answer; *at: what was seen before them, then with them. Returns the largest number. */
static int64_t
queue_rows(struct channel *c, const json_t *rows, struct cursor *at)
{
	_cleanup_free_ struct fact **facts =
	    xcalloc(json_array_size(rows) + 1, sizeof(struct fact *));
	unsigned n = facts_of(rows, facts);
	int64_t last = -1;

	for (unsigned i = 0; i < n; i++) {
		struct kept *k = kept_new(facts[i]);

		k->is_replay = true;
		k->skip = skip_of(c, facts[i]);
		fact_set_place(facts[i], at);
		cursor_advance(at, facts[i]->no, facts[i]->inc, facts[i]->seq);
		channel_append(c, k);
		if (facts[i]->first + facts[i]->n - 1 > last)
			last = facts[i]->first + facts[i]->n - 1;
		fact_put(facts[i]);
	}
	return last;
}

/* There is more: what came live in the meantime will be in a later page. */
static void
queue_page(struct channel *c, const json_t *rows)
{
	struct cursor at = c->since ? *c->since : (struct cursor){0};
	int64_t last;

	channel_drop_kept(c);
	last = queue_rows(c, rows, &at);
	c->asks = 0;
	if (c->is_run)
		c->since_no = last; /* rows of a run come by number */
	else if (c->since)
		*c->since = at;
}

/* The last page, in front of what came live in the meantime, without what is in both. */
static void
queue_replay(struct channel *c, const json_t *rows, const struct cursor *end)
{
	struct kept *live = c->kept;
	struct cursor at = c->since ? *c->since : (struct cursor){0};

	c->kept = NULL;
	c->kept_tail = &c->kept;
	c->kept_b = 0;
	queue_rows(c, rows, &at);
	channel_set_seen(c, xcalloc(1, sizeof(*c->seen)));
	*c->seen = *end;
	c->is_live = true;
	while (live) {
		struct kept *k = live;

		live = k->next;
		k->next = NULL;
		if (channel_take_live(c, k))
			channel_append(c, k);
		else
			kept_free(k);
	}
}

static void
answer_joined(struct channel *c, json_t *snapshot, const char *end, bool has_gap)
{
	_cleanup_json_ json_t *response = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_buf_ struct buf cursor = {0};

	if (c->has_since && !has_gap && c->since) {
		buf_adds(&cursor, "v1.");
		cursor_text(c->since, 0, INT_MAX, &cursor);
	} else if (c->is_run) {
		c->last_no = c->has_since && !has_gap ? c->since_no
						      : json_get_int(snapshot, "last_event", 0);
		buf_addf(&cursor, "%lld", (long long)c->last_no);
	} else
		buf_adds(&cursor, end);
	response = json_pack("{s:O, s:s, s:b, s:b}", "snapshot", snapshot, "cursor", cursor.p,
	    "resumed", c->has_since && !has_gap, "gap", has_gap);
	text = json_text(response);
	channel_answer_join(c, "ok", text);
	c->is_joined = true;
}

static void
on_joined(void *arg, const PGresult *res, const struct err *e)
{
	struct channel *c = arg;
	_cleanup_json_ json_t *body = NULL, *rows = NULL;
	const char *end, *text, *run;
	struct err bad = ERR_INIT;
	struct cursor at;

	if (e || c->is_gone)
		return; /* an error comes again at the commit */
	c->is_asking = false;
	text = store_str(res, 0, "body");
	body = json_parse(text, strlen(text), &json_limits_frame, NULL);
	if (store_int(res, 0, "status", 0) != 200) {
		channel_refuse(c, json_get_str(body, "detail", "not found"), 404, false);
		return;
	}
	run = store_str(res, 0, "run");
	if (!c->p_topic) { /* joined by code: now the topic is known; subscribe, then ask again */
		snprintf(c->key, sizeof(c->key), "run:%s", run);
		channel_subscribe(c);
		channel_ask(c);
		return;
	}
	if (c->is_flooded) {
		c->is_flooded = false;
		channel_ask(c);
		return;
	}
	end = store_str(res, 0, "cursor");
	text = store_str(res, 0, "rows");
	rows = json_parse(text, strlen(text), &fact_limits, &bad);
	if (!rows)
		log_error(LOG_GATEWAY, "join of %s: %s", c->topic_name, bad.message);
	if (cursor_parse(end, &at, NULL) < 0)
		at.n = 0;
	if (!rows && c->is_joined) {
		channel_fail(c, CHANNEL_UNREADABLE, 503);
		return;
	}
	if (!c->is_joined)
		answer_joined(c, body, end, !rows);
	if (!rows)
		free(take_ptr(&c->since));
	if (store_bool(res, 0, "more"))
		queue_page(c, rows);
	else
		queue_replay(c, rows, &at);
	channel_send_some(c);
}

static void
on_join_commit(void *arg, _unused_ const PGresult *res, const struct err *e)
{
	struct channel *c = arg;

	if (e && !c->is_gone && !c->is_live) {
		bool is_denied = !strncmp(e->field, "TK4", 3);

		if (!is_denied && e->code != ERR_TRANSIENT)
			log_error(LOG_GATEWAY, "join of %s: %s", c->topic_name, e->message);
		channel_refuse(c, is_denied ? e->message : "the database does not answer",
		    is_denied ? 401 : 503, !is_denied);
	}
	channel_put(c);
}

static json_t *
since_argument(const struct channel *c)
{
	json_t *vector = json_array();

	for (unsigned i = 0; i < c->since->n; i++) {
		const struct cursor_at *at = &c->since->at[i];

		/* a commit that was seen in part is asked for again */
		json_array_append_new(
		    vector, json_pack("{s:i, s:I, s:I}", "no", at->no, "inc", at->inc, "seq",
				at->part ? at->seq - 1 : at->seq));
	}
	return vector;
}

void
channel_ask(struct channel *c)
{
	_cleanup_json_ json_t *a =
	    json_pack("{s:s, s:s, s:o, s:o, s:i}", "kind", c->is_run ? "run" : "task", "id", c->id,
		"vector", c->since ? since_argument(c) : json_null(), "since",
		c->since_no >= 0 ? json_integer(c->since_no) : json_null(), "limit", PAGE_ROWS);
	_cleanup_free_ char *argument = json_text(a);
	struct store *db = c->sock->gw->db;

	c->refs++;
	c->asks++;
	c->is_asking = true;
	store_send(db, SQL_API_SESSION,
	    (struct store_param[]){STORE_TEXT(c->sock->token), STORE_TEXT("1")}, 2, NULL, NULL);
	store_send(
	    db, SQL_API_JOIN_TOPIC, (struct store_param[]){STORE_TEXT(argument)}, 1, on_joined, c);
	store_sync(db, on_join_commit, c);
}

/* since: absent or null, a cursor, or on a run's topic an event's number (also as text). */
static int
read_since(struct channel *c, const json_t *payload, struct err *e)
{
	const json_t *since = json_object_get(payload, "since");
	const char *text = json_string_value(since);

	c->since_no = -1;
	c->has_since = since && !json_is_null(since);
	if (!c->has_since)
		return 0;
	if (text && *text && c->is_run && strlen(text) < 17 && !text[strspn(text, "0123456789")])
		c->since_no = strtoll(text, NULL, 10);
	else if (json_is_integer(since) && c->is_run && json_integer_value(since) >= 0)
		c->since_no = json_integer_value(since);
	else if (text) {
		c->since = xcalloc(1, sizeof(*c->since));
		return cursor_parse(text, c->since, e);
	} else
		return err_set(e, ERR_INVALID, "since is a cursor%s",
		    c->is_run ? " or an event's number" : "");
	return 0;
}

/* Topic name to kind, id and (if the id is a uuid) key; false: there is no such kind of topic. */
static bool
read_topic(struct channel *c, const char *name)
{
	const char *colon = strchr(name, ':');
	struct uuid uuid;

	c->is_run = !strncmp(name, "run:", 4);
	if (!colon || (!c->is_run && strncmp(name, "task:", 5) != 0) ||
	    strlen(colon + 1) >= sizeof(c->id))
		return false;
	snprintf(c->id, sizeof(c->id), "%s", colon + 1);
	if (uuid_parse(c->id, &uuid))
		snprintf(c->key, sizeof(c->key), "%s:%s", c->is_run ? "run" : "task", uuid.s);
	return c->is_run || *c->key;
}

static bool
joins_too_fast(struct sock *s)
{
	int64_t now = clock_monotonic_ms();

	if (now - s->joins_since_ms > JOINS_WINDOW_MS) {
		s->joins_since_ms = now;
		s->joins = 0;
	}
	return ++s->joins > JOINS_MAX + s->channels_n;
}

static struct channel *
channel_new(struct sock *s, const struct phx *m)
{
	struct channel *c = xcalloc(1, sizeof(*c));

	c->refs = 1;
	c->sock = s;
	sock_get(s);
	c->kept_tail = &c->kept;
	c->topic = phx_quote(m->topic);
	c->topic_name = xstrdup(m->topic);
	c->join_ref = phx_quote(m->join_ref ? m->join_ref : m->ref);
	c->ref = phx_quote(m->ref);
	c->next = s->channels;
	s->channels = c;
	s->channels_n++;
	return c;
}

static void
close_channel(struct channel *c)
{
	sock_send(c->sock, c->join_ref, c->join_ref, c->topic, "\"phx_close\"", "{}");
	channel_end(c);
}

static void
join(struct sock *s, struct channel *old, const struct phx *m)
{
	struct err e = ERR_INIT;
	struct channel *c;

	if (old)
		close_channel(old);
	if (joins_too_fast(s)) {
		reply_refused(s, m, "too many joins; wait ten seconds", 429, true);
		return;
	}
	if (s->channels_n >= CHANNELS_MAX) {
		reply_refused(s, m, "a socket has at most 100 channels", 429, false);
		return;
	}
	c = channel_new(s, m);
	if (!read_topic(c, m->topic))
		channel_refuse(c, "unmatched topic", 404, false);
	else if (read_since(c, m->payload, &e) < 0)
		channel_refuse(c, e.message, 422, false);
	else if (!store_is_up(s->gw->db) || !feed_has_begun(s->gw->feed))
		channel_refuse(c, "the database cannot be reached", 503, true);
	else {
		if (*c->key)
			channel_subscribe(c);
		channel_ask(c);
	}
}

void
channel_message(struct sock *s, const struct phx *m)
{
	struct channel *c = s->channels;
	_cleanup_free_ char *join_ref = phx_quote(m->join_ref);
	bool is_current;

	while (c && strcmp(c->topic_name, m->topic) != 0)
		c = c->next;
	if (!strcmp(m->event, "phx_join")) {
		join(s, c, m);
		return;
	}
	is_current = c && (!join_ref || !c->join_ref || !strcmp(join_ref, c->join_ref));
	if (!strcmp(m->event, "phx_leave")) {
		reply_text(s, m, "ok", "{}");
		if (is_current)
			close_channel(c);
	} else if (!c)
		reply_text(s, m, "error", "{\"reason\":\"unmatched topic\"}");
	else if (is_current)
		reply_refused(s, m, "there is no such event here", 404, false);
	/* else: from a channel that the client has given up already */
}
