// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Inside of channels: what channel.c (topics, sending) and channel_join.c (joining, replay) share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/gateway/cursor.h"
#include "daemon/gateway/fact.h"
#include "daemon/gateway/socket.h"

#define CHANNEL_ASKS_MAX 8u /* snapshots that one join may take */
#define CHANNEL_UNREADABLE "the events cannot be read"

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

/* Onto its topic's list, by its key. */
void channel_subscribe(struct channel *);
/* Off the socket and the topic; what is in flight for it finishes unseen. */
void channel_end(struct channel *);
void channel_put(struct channel *);

/* The end of the snapshot that the feed has yet to reach; takes it. NULL: it has. */
void channel_set_seen(struct channel *, struct cursor *seen);
struct kept *kept_new(struct fact *);
void kept_free(struct kept *);
void channel_append(struct channel *, struct kept *);
void channel_drop_kept(struct channel *);
/* A live fact on a live channel: is it new? */
bool channel_take_live(struct channel *, struct kept *);
/* As much as the socket has room for; then the next page of a replay is asked for. */
void channel_send_some(struct channel *);
/* Ask the database for the topic's snapshot and the events after the cursor. */
void channel_ask(struct channel *);

/* The answer to a join, which may come later. */
void channel_answer_join(struct channel *, const char *status, const char *response);
/* JSON that says why not; caller frees. */
char *channel_refusal(const char *reason, int code, bool may_retry);
/* End it with phx_error: the client joins again by itself, with the cursor of the last event it got. */
void channel_fail(struct channel *, const char *reason, int code);
/* End it as the client expects it: by its join's reply, or later by phx_error. */
void channel_refuse(struct channel *, const char *reason, int code, bool may_retry);
