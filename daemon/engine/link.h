// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The engine's connection to its executor: connects with back-off, says HELLO, hands every frame
 * up, and queues what the socket does not take at once. Losing it ends no unit; whoever uses the
 * link drops what it knew and hears the executor's listing again after the next connect.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"

struct engine;
struct link;

struct link_hooks {
	void (*on_up)(struct engine *); /* connected; HELLO is on its way */
	void (*on_frame)(struct engine *, const struct frame *);
	void (*on_down)(struct engine *);
};

/* Opens nothing yet. path: the executor's socket, copied. */
struct link *link_new(struct engine *, const char *path, const struct link_hooks *);
void link_free(struct link *);
/* Connect, after delay_s and after every loss, until link_stop(). */
void link_start(struct link *, double delay_s);
/* Close and stay closed; on_down is not called. */
void link_stop(struct link *);

/* Takes json; pass_fd stays the caller's. False when the link is down: the frame is not sent, and
 * recovery will find out what it was about. */
bool link_send(struct link *, enum frame_type type, json_t *take_json, int pass_fd);
/*
 * The same for frequent frames: their JSON object is written into link_json()'s buffer (which is
 * empty), then sent with a blob.
 */
struct buf *link_json(struct link *);
bool link_send_text(
    struct link *, enum frame_type type, const void *blob, size_t blob_n, int pass_fd);
/* Stop or go on reading (back-pressure while the database does not keep up). */
void link_pause(struct link *, bool is_paused);
