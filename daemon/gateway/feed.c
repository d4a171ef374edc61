// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Reading the feed. One statement reads all nodes' streams in one snapshot; NOTIFY wakes it, a timer
 * of one second is the net. A channel joins by subscribing first and asking the database second, so
 * nothing can fall between what it replays and what comes from here.
 */
#include "daemon/gateway/feed.h"

#include <stdio.h>
#include <string.h>

#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/gateway/channel.h"
#include "daemon/gateway/fact.h"
#include "daemon/gateway/gateway_priv.h"

#include "base/banned.h"

#define POLL_S 1.0
#define ROWS_MIN 1000 /* of each stream in one read */
#define ROWS_MAX 64000

struct feed {
	struct gateway *gw;
	struct store *db;
	ev_timer poll;
	struct cursor at;
	bool has_start, is_reading, is_due;
	int rows;
};

static void read_more(struct feed *f);

bool
feed_has_begun(const struct feed *f)
{
	return f->has_start;
}

static struct fact *
fact_of_row(const PGresult *res, int i)
{
	const char *text = store_str(res, i, "items");
	struct err e = ERR_INIT;
	_cleanup_json_ json_t *items = json_parse(text, strlen(text), &fact_limits, &e);

	if (!items)
		log_error(LOG_FEED, "events of run %s: %s", store_str(res, i, "run_id"), e.message);
	return fact_new(store_str(res, i, "run_id"), store_str(res, i, "task_id"),
	    (int)store_int(res, i, "node_no", 0), store_int(res, i, "incarnation", 0),
	    store_int(res, i, "feed_seq", 0), store_int(res, i, "first_seq", 0), items);
}

/* How many rows the longest stream of the answer has; *streams: how many there are. */
static int
longest_stream(struct fact *const *facts, int n, int *streams)
{
	int run = 0, longest = 0;

	*streams = 0;
	for (int i = 0; i < n; i++) {
		bool is_new = i == 0 || facts[i]->no != facts[i - 1]->no;

		run = is_new ? 1 : run + 1;
		*streams += is_new;
		longest = run > longest ? run : longest;
	}
	return longest;
}

static void
hand_out(struct feed *f, const PGresult *res)
{
	int n = PQntuples(res), streams;
	_cleanup_free_ struct fact **facts = xcalloc((size_t)n + 1, sizeof(struct fact *));
	bool is_full, is_whole;

	for (int i = 0; i < n; i++)
		facts[i] = fact_of_row(res, i);
	is_full = longest_stream(facts, n, &streams) >= f->rows;
	/* A stream that was cut may hide an earlier event of a run that another stream goes on with. */
	is_whole = !is_full || streams < 2 || f->rows >= ROWS_MAX;
	if (is_whole)
		facts_order(facts, (unsigned)n);
	for (int i = 0; i < n; i++) {
		if (is_whole) {
			fact_set_place(facts[i], &f->at);
			cursor_advance(&f->at, facts[i]->no, facts[i]->inc, facts[i]->seq);
			channel_publish(facts[i]);
		}
		fact_put(facts[i]);
	}
	if (is_whole && n)
		channel_published(&f->at);
	f->rows = is_whole ? ROWS_MIN : f->rows * 4;
	f->is_due |= is_full;
}

static void
on_rows(void *arg, const PGresult *res, const struct err *e)
{
	struct feed *f = arg;

	f->is_reading = false;
	if (e) {
		log_warn(LOG_FEED, "cannot read the feed: %s", e->message);
		return;
	}
	hand_out(f, res);
	if (f->is_due)
		read_more(f);
}

static char *
position_argument(const struct feed *f)
{
	_cleanup_buf_ struct buf b = {0};

	buf_addc(&b, '[');
	for (unsigned i = 0; i < f->at.n; i++)
		buf_addf(&b, "%s{\"no\":%d,\"inc\":%lld,\"seq\":%lld}", i ? "," : "",
		    f->at.at[i].no, (long long)f->at.at[i].inc, (long long)f->at.at[i].seq);
	buf_addc(&b, ']');
	return buf_take(&b);
}

static void
read_more(struct feed *f)
{
	_cleanup_free_ char *at = NULL;
	char rows[16];

	if (!f->has_start || !store_is_up(f->db))
		return;
	f->is_due = f->is_reading;
	if (f->is_reading)
		return;
	f->is_reading = true;
	at = position_argument(f);
	snprintf(rows, sizeof(rows), "%d", f->rows);
	store_send(f->db, SQL_API_FEED_READ,
	    (struct store_param[]){STORE_TEXT(at), STORE_TEXT(rows)}, 2, on_rows, f);
	store_sync(f->db, NULL, NULL);
}

static void
on_start(void *arg, const PGresult *res, const struct err *e)
{
	struct feed *f = arg;

	if (e || f->has_start || cursor_parse(store_str(res, 0, "cursor"), &f->at, NULL) < 0)
		return;
	f->has_start = true;
	read_more(f);
}

static void
on_up(struct store *db, void *arg)
{
	struct feed *f = arg;

	if (f->has_start) {
		read_more(f);
		return;
	}
	store_send(db, SQL_API_FEED_END, NULL, 0, on_start, f);
	store_sync(db, NULL, NULL);
}

static void
on_notify(_unused_ struct store *db, void *arg, _unused_ const char *channel,
    _unused_ const char *payload)
{
	read_more(arg);
}

static void
on_poll(_unused_ struct ev_loop *loop, ev_timer *w, _unused_ int events)
{
	read_more(w->data);
}

struct feed *
feed_open(struct gateway *gw)
{
	static const char *const channels[] = {"takt_feed", NULL};
	static const enum sql_id ids[] = {SQL_API_FEED_END, SQL_API_FEED_READ, SQL_NONE};
	struct feed *f = xcalloc(1, sizeof(*f));

	f->gw = gw;
	f->rows = ROWS_MIN;
	f->db = store_open(gw->loop,
	    &(struct store_conf){.conninfo = gw->conf->db,
		.role = "takt_feed",
		.channels = channels,
		.statements = ids,
		.use_generic_plans = true},
	    &(struct store_hooks){.on_up = on_up, .on_notify = on_notify, .arg = f});
	ev_timer_init(&f->poll, on_poll, POLL_S, POLL_S);
	f->poll.data = f;
	ev_timer_start(gw->loop, &f->poll);
	return f;
}

void
feed_close(struct feed *f)
{
	ev_timer_stop(f->gw->loop, &f->poll);
	store_close(f->db);
	free(f);
}
