// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Joined topics. A channel's life: joining (subscribed, live facts are kept), live (replay first,
 * then what was kept, then what comes), gone.
 *
 * Invariant: a channel sends each event of its topic at most once, in order, and after `since`
 * nothing is left out; when that cannot be kept (the client does not read) the channel ends with
 * phx_error and the client resumes.
 */
#pragma once

#include "daemon/gateway/phx.h"

struct cursor;
struct fact;
struct sock;

/* A message for a topic other than "phoenix". */
void channel_message(struct sock *, const struct phx *);
/* Send of what is kept back as much as there is room for. */
void channel_pump(struct sock *);
/* All of a socket's channels end without a word: the connection is gone. */
void channel_drop_all(struct sock *);

/* From the feed: a new fact, in feed order; and the feed's position after a batch of them. */
void channel_publish(struct fact *);
void channel_published(const struct cursor *at);
