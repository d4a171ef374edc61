// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * One WebSocket connection: frames in, a bounded queue of frames out, its token, its channels.
 * socket.c owns the connection, channel.c what is joined on it.
 */
#pragma once

#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct channel;
struct gateway;
struct frame_out;

struct sock {
	unsigned magic;
	unsigned refs;
	struct gateway *gw;
	struct lws *wsi; /* NULL when closed */
	struct sock *next;
	char *token;
	bool is_v1, is_checking;
	int close_code; /* to be sent when writable */
	const char *close_reason;
	struct buf in;
	struct frame_out *out, **out_tail;
	size_t out_b;
	struct channel *channels;
	unsigned channels_n;
	int64_t heard_ms, checked_ms;
	int64_t joins_since_ms;
	unsigned joins;
};

void sock_get(struct sock *);
void sock_put(struct sock *);
/* Queue one frame; refs, topic and event as phx_write() wants them. */
void sock_send(struct sock *, const char *join_ref, const char *ref, const char *topic,
    const char *event, const char *payload);
/* May more than answers be queued now? Channels keep theirs back until it is so. */
bool sock_has_room(const struct sock *);
/* Close it from the loop; the first reason counts. */
void sock_close(struct sock *, int code, const char *reason);
