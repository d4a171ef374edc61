// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Channels: join with replay, live facts, leave (channel.h has the invariant).
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

#include "daemon/gateway/fact.h"
#include "daemon/gateway/feed.h"
#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/socket.h"

#include "base/banned.h"

#define CHANNELS_MAX 100
#define JOINS_MAX 20
#define JOINS_WINDOW_MS 10000
#define PAGE_ROWS 1000 /* of the replay in one piece; the next is read when this one is sent */
#define KEPT_MAX_B (256 * 1024) /* live facts that wait for a client that does not read */
#define ASKS_MAX 8u             /* snapshots that one join may take */
#define BUCKETS 4096u
#define UNREADABLE "the events cannot be read"

/* A fact that waits to be sent; skip items of it were sent or are not wanted. */
struct kept {
	struct kept *next;
	struct fact *fact;
	unsigned skip;
	bool is_replay;
	char *before, *after; /* instead of the fact's own, while the feed is behind the channel */
};

struct channel {
	struct channel *next;                  /* of the socket */
	struct channel *next_topic, **p_topic; /* of the bucket; p_topic NULL: not subscribed */
	struct sock *sock;
	unsigned refs;
	bool is_gone, is_live, is_run;
	bool is_asking;  /* an answer of the database is on its way: live facts are kept for it */
	bool is_joined;  /* the client has its reply */
	bool is_flooded; /* while joining, more came than is kept: the answer is too old */
	unsigned asks;
	char *topic, *join_ref, *ref; /* JSON texts; ref is the join's */
	char *topic_name;
	char key[48]; /* "run:<uuid>" or "task:<uuid>" */
	char id[80];  /* as the client wrote it */
	bool has_since;
	int64_t since_no;     /* an event's number, or -1 */
	struct cursor *since; /* NULL: a number or nothing */
	struct cursor *seen;  /* end of the snapshot, until the feed is past it */
	int64_t last_no;      /* run topics: newest event sent */
	struct kept *kept, **kept_tail;
	size_t kept_b; /* live ones only */
};

static struct channel *buckets[BUCKETS];
static unsigned catching_up; /* channels with `seen` */

static void ask(struct channel *c);

static struct channel **
bucket_of(const char *key)
{
	uint32_t h = 2166136261u;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 16777619u;
	return &buckets[h % BUCKETS];
}

static void
subscribe(struct channel *c)
{
	struct channel **bucket = bucket_of(c->key);

	c->next_topic = *bucket;
	if (*bucket)
		(*bucket)->p_topic = &c->next_topic;
	c->p_topic = bucket;
	*bucket = c;
}

static void
unsubscribe(struct channel *c)
{
	if (!c->p_topic)
		return;
	*c->p_topic = c->next_topic;
	if (c->next_topic)
		c->next_topic->p_topic = c->p_topic;
	c->p_topic = NULL;
}

static void
kept_free(struct kept *k)
{
	fact_put(k->fact);
	free(k->before);
	free(k->after);
	free(k);
}

static struct kept *
shift(struct channel *c)
{
	struct kept *k = c->kept;

	c->kept = k->next;
	if (!c->kept)
		c->kept_tail = &c->kept;
	if (!k->is_replay)
		c->kept_b -= k->fact->size_b;
	return k;
}

static void
drop_kept(struct channel *c)
{
	while (c->kept)
		kept_free(shift(c));
}

static void
set_seen(struct channel *c, struct cursor *seen)
{
	catching_up -= c->seen != NULL;
	free(c->seen);
	c->seen = seen;
	catching_up += seen != NULL;
}

static void
channel_put(struct channel *c)
{
	if (--c->refs)
		return;
	drop_kept(c);
	set_seen(c, NULL);
	free(c->since);
	free(c->topic);
	free(c->join_ref);
	free(c->ref);
	free(c->topic_name);
	sock_put(c->sock);
	free(c);
}

/* Off the socket and the topic; what is in flight for it finishes unseen. */
static void
channel_end(struct channel *c)
{
	struct channel **p = &c->sock->channels;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	c->sock->channels_n--;
	unsubscribe(c);
	c->is_gone = true;
	channel_put(c);
}

void
channel_drop_all(struct sock *s)
{
	while (s->channels)
		channel_end(s->channels);
}

/* Replies -------------------------------------------------------------------------------------- */

static void
reply_text(struct sock *s, const struct phx *m, const char *status, const char *response)
{
	_cleanup_free_ char *join_ref = phx_quote(m->join_ref), *ref = phx_quote(m->ref),
			    *topic = phx_quote(m->topic);
	_cleanup_free_ char *payload =
	    xasprintf("{\"status\":\"%s\",\"response\":%s}", status, response);

	sock_send(s, join_ref, ref, topic, "\"phx_reply\"", payload);
}

static char *
refusal(const char *reason, int code, bool may_retry)
{
	_cleanup_json_ json_t *j =
	    json_pack("{s:s, s:i, s:b}", "reason", reason, "code", code, "retry", may_retry);

	return json_text(j ? j : json_null());
}

static void
reply_refused(struct sock *s, const struct phx *m, const char *reason, int code, bool may_retry)
{
	_cleanup_free_ char *response = refusal(reason, code, may_retry);

	reply_text(s, m, "error", response);
}

/* The answer to a join, which may come later. */
static void
answer_join(struct channel *c, const char *status, const char *response)
{
	_cleanup_free_ char *payload =
	    xasprintf("{\"status\":\"%s\",\"response\":%s}", status, response);

	sock_send(c->sock, c->join_ref, c->ref, c->topic, "\"phx_reply\"", payload);
}

static void
refuse_join(struct channel *c, const char *reason, int code, bool may_retry)
{
	_cleanup_free_ char *response = refusal(reason, code, may_retry);

	answer_join(c, "error", response);
	channel_end(c);
}

/* Sending facts -------------------------------------------------------------------------------- */

static void
send_item(struct channel *c, const struct kept *k, unsigned i)
{
	_cleanup_buf_ struct buf payload = {0};
	_cleanup_free_ char *event = phx_quote(k->fact->items[i].type);
	int64_t number = k->fact->first + i;

	if (c->is_run && number <= c->last_no)
		return;
	c->last_no = number;
	buf_adds(&payload, k->fact->items[i].head);
	buf_adds(&payload, ",\"cursor\":\"");
	if (c->is_run)
		buf_addf(&payload, "%lld", (long long)number);
	else
		fact_cursor(k->fact, i + 1, k->before, k->after, &payload);
	buf_adds(&payload, "\"}");
	sock_send(c->sock, c->join_ref, NULL, c->topic, event, payload.p);
}

static struct kept *
kept_new(struct fact *f)
{
	struct kept *k = xcalloc(1, sizeof(*k));

	k->fact = fact_get(f);
	return k;
}

static void
append(struct channel *c, struct kept *k)
{
	*c->kept_tail = k;
	c->kept_tail = &k->next;
	if (!k->is_replay)
		c->kept_b += k->fact->size_b;
}

static void
channel_send_some(struct channel *c)
{
	while (!c->is_asking && c->kept && sock_has_room(c->sock)) {
		struct kept *k = c->kept;

		if (k->skip < k->fact->n)
			send_item(c, k, k->skip++);
		if (k->skip >= k->fact->n)
			kept_free(shift(c));
	}
	if (c->is_joined && !c->is_live && !c->is_asking && !c->kept)
		ask(c); /* the next page */
}

void
channel_pump(struct sock *s)
{
	for (struct channel *c = s->channels; c && sock_has_room(s); c = c->next)
		channel_send_some(c);
}

static char *
entries(const struct cursor *c, int from, int to)
{
	_cleanup_buf_ struct buf b = {0};

	buf_adds(&b, "");
	cursor_text(c, from, to, &b);
	return buf_take(&b);
}

/* While the feed is behind the snapshot, a live fact's cursor must not fall behind it on other nodes. */
static void
set_place(struct kept *k, const struct cursor *seen)
{
	k->before = entries(seen, 0, k->fact->no - 1);
	k->after = entries(seen, k->fact->no + 1, INT_MAX);
}

/* A live fact on a live channel: is it new? */
static bool
take_live(struct channel *c, struct kept *k)
{
	const struct fact *f = k->fact;

	if (c->is_run)
		return f->first + f->n - 1 > c->last_no;
	if (!c->seen)
		return true;
	if (cursor_covers(c->seen, f->no, f->inc, f->seq))
		return false;
	cursor_advance(c->seen, f->no, f->inc, f->seq);
	set_place(k, c->seen);
	return true;
}

/* The client joins again by itself, with the cursor of the last event it got. */
static void
fail(struct channel *c, const char *reason, int code)
{
	_cleanup_free_ char *payload = refusal(reason, code, true);

	sock_send(c->sock, c->join_ref, c->join_ref, c->topic, "\"phx_error\"", payload);
	channel_end(c);
}

/* What the database refused, said as the client expects it: as its join's reply, or later. */
static void
refuse(struct channel *c, const char *reason, int code, bool may_retry)
{
	if (c->is_joined)
		fail(c, reason, code);
	else
		refuse_join(c, reason, code, may_retry);
}

/* Live bytes behind the first fact, which may be of any size: it is shared, and sent piece by piece. */
static size_t
waiting_b(const struct channel *c)
{
	return c->kept_b - (c->kept && !c->kept->is_replay ? c->kept->fact->size_b : 0);
}

static void
publish_to(struct channel *c, struct fact *f)
{
	struct kept *k;

	if (!c->is_live && !c->is_asking)
		return; /* the next page has it */
	if (!f->n) {    /* whoever joins again is told of the gap */
		refuse(c, UNREADABLE, 503, true);
		return;
	}
	k = kept_new(f);
	if (c->is_live && !take_live(c, k)) {
		kept_free(k);
		return;
	}
	append(c, k);
	channel_send_some(c);
	if (waiting_b(c) <= KEPT_MAX_B)
		return;
	if (c->is_live || c->asks >= ASKS_MAX) {
		fail(c, "lagged", 503);
	} else { /* all of it is in the database: a new snapshot will have it */
		drop_kept(c);
		c->is_flooded = true;
	}
}

static void
publish_on(const char *prefix, const char *id, struct fact *f)
{
	char key[48];
	struct channel *next;

	snprintf(key, sizeof(key), "%s:%s", prefix, id);
	for (struct channel *c = *bucket_of(key); c; c = next) {
		next = c->next_topic;
		if (!strcmp(c->key, key))
			publish_to(c, f);
	}
}

void
channel_publish(struct fact *f)
{
	publish_on("run", f->run, f);
	publish_on("task", f->task, f);
}

void
channel_published(const struct cursor *at)
{
	for (unsigned i = 0; catching_up && i < BUCKETS; i++)
		for (struct channel *c = buckets[i]; c; c = c->next_topic)
			if (c->is_live && c->seen && cursor_includes(at, c->seen))
				set_seen(c, NULL);
}

/* Joining -------------------------------------------------------------------------------------- */

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
		append(c, k);
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

	drop_kept(c);
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
	set_seen(c, xcalloc(1, sizeof(*c->seen)));
	*c->seen = *end;
	c->is_live = true;
	while (live) {
		struct kept *k = live;

		live = k->next;
		k->next = NULL;
		if (take_live(c, k))
			append(c, k);
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
	answer_join(c, "ok", text);
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
		refuse(c, json_get_str(body, "detail", "not found"), 404, false);
		return;
	}
	run = store_str(res, 0, "run");
	if (!c->p_topic) { /* joined by code: now the topic is known; subscribe, then ask again */
		snprintf(c->key, sizeof(c->key), "run:%s", run);
		subscribe(c);
		ask(c);
		return;
	}
	if (c->is_flooded) {
		c->is_flooded = false;
		ask(c);
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
		fail(c, UNREADABLE, 503);
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
		refuse(c, is_denied ? e->message : "the database does not answer",
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

static void
ask(struct channel *c)
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
		refuse_join(c, "unmatched topic", 404, false);
	else if (read_since(c, m->payload, &e) < 0)
		refuse_join(c, e.message, 422, false);
	else if (!store_is_up(s->gw->db) || !feed_has_begun(s->gw->feed))
		refuse_join(c, "the database cannot be reached", 503, true);
	else {
		if (*c->key)
			subscribe(c);
		ask(c);
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
