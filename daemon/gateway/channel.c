// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Channels: topics, live facts, sending (channel.h has the invariant, channel_join.c joins and replays).
 *
 * Live facts wait here while the client does not take them, and while a join's answer is on its way;
 * what is in that answer already is dropped by cursor.
 */
#include "daemon/gateway/channel.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/gateway/channel_priv.h"

#include "base/banned.h"

#define KEPT_MAX_B (256 * 1024) /* live facts that wait for a client that does not read */
#define BUCKETS 4096u

static struct channel *buckets[BUCKETS];
static unsigned catching_up; /* channels with `seen` */

static struct channel **
bucket_of(const char *key)
{
	uint32_t h = 2166136261u;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 16777619u;
	return &buckets[h % BUCKETS];
}

void
channel_subscribe(struct channel *c)
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

void
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

void
channel_drop_kept(struct channel *c)
{
	while (c->kept)
		kept_free(shift(c));
}

void
channel_set_seen(struct channel *c, struct cursor *seen)
{
	catching_up -= c->seen != NULL;
	free(c->seen);
	c->seen = seen;
	catching_up += seen != NULL;
}

void
channel_put(struct channel *c)
{
	if (--c->refs)
		return;
	channel_drop_kept(c);
	channel_set_seen(c, NULL);
	free(c->since);
	free(c->topic);
	free(c->join_ref);
	free(c->ref);
	free(c->topic_name);
	sock_put(c->sock);
	free(c);
}

void
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

char *
channel_refusal(const char *reason, int code, bool may_retry)
{
	_cleanup_json_ json_t *j =
	    json_pack("{s:s, s:i, s:b}", "reason", reason, "code", code, "retry", may_retry);

	return json_text(j ? j : json_null());
}

void
channel_answer_join(struct channel *c, const char *status, const char *response)
{
	_cleanup_free_ char *payload =
	    xasprintf("{\"status\":\"%s\",\"response\":%s}", status, response);

	sock_send(c->sock, c->join_ref, c->ref, c->topic, "\"phx_reply\"", payload);
}

static void
refuse_join(struct channel *c, const char *reason, int code, bool may_retry)
{
	_cleanup_free_ char *response = channel_refusal(reason, code, may_retry);

	channel_answer_join(c, "error", response);
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

struct kept *
kept_new(struct fact *f)
{
	struct kept *k = xcalloc(1, sizeof(*k));

	k->fact = fact_get(f);
	return k;
}

void
channel_append(struct channel *c, struct kept *k)
{
	*c->kept_tail = k;
	c->kept_tail = &k->next;
	if (!k->is_replay)
		c->kept_b += k->fact->size_b;
}

void
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
		channel_ask(c); /* the next page */
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

bool
channel_take_live(struct channel *c, struct kept *k)
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

void
channel_fail(struct channel *c, const char *reason, int code)
{
	_cleanup_free_ char *payload = channel_refusal(reason, code, true);

	sock_send(c->sock, c->join_ref, c->join_ref, c->topic, "\"phx_error\"", payload);
	channel_end(c);
}

void
channel_refuse(struct channel *c, const char *reason, int code, bool may_retry)
{
	if (c->is_joined)
		channel_fail(c, reason, code);
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
		channel_refuse(c, CHANNEL_UNREADABLE, 503, true);
		return;
	}
	k = kept_new(f);
	if (c->is_live && !channel_take_live(c, k)) {
		kept_free(k);
		return;
	}
	channel_append(c, k);
	channel_send_some(c);
	if (waiting_b(c) <= KEPT_MAX_B)
		return;
	if (c->is_live || c->asks >= CHANNEL_ASKS_MAX) {
		channel_fail(c, "lagged", 503);
	} else { /* all of it is in the database: a new snapshot will have it */
		channel_drop_kept(c);
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
				channel_set_seen(c, NULL);
}
