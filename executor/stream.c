// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Journals to the engine: frame by frame from the file, round robin over the units, as long as the
 * socket takes them. Nothing is held in memory but one frame, so a slow engine costs nothing.
 */
#include "executor/executor.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/jsonx.h"

#include "base/banned.h"

/* Frames per call; then the loop looks at everything else. */
#define PUMP_BUDGET 256

/* LATER: no descriptor was free; units_init()'s timer comes back. */
enum streamed { SENT, NOTHING, BLOCKED, LATER, OVER };

static unsigned char raw[FRAME_MAX];

void
stream_stop(struct unit *u)
{
	if (!u->is_streaming)
		return;
	u->is_streaming = false;
	TAILQ_REMOVE(&X.streaming, u, link);
	if (u->file_fd >= 0)
		close(u->file_fd);
	u->file_fd = -1;
}

void
stream_start(struct unit *u, uint64_t from)
{
	stream_stop(u);
	if (u->is_settled)
		TAILQ_REMOVE(&X.settled, u, link);
	u->is_settled = false;
	u->sent = from;
	u->is_streaming = true;
	TAILQ_INSERT_TAIL(&X.streaming, u, link);
}

/* Size of the frame at the start of raw; 0 if n bytes do not hold it whole, -1 if it is none. */
static ssize_t
frame_size(size_t n)
{
	uint32_t body;

	if (n < FRAME_HEADER + 4)
		return 0;
	memcpy(&body, raw, sizeof(body));
	body = le32toh(body);
	if (body < 4 || body > FRAME_MAX - FRAME_HEADER)
		return -1;
	return FRAME_HEADER + body <= n ? (ssize_t)(FRAME_HEADER + body) : 0;
}

static bool
send_wrapped(const struct unit *u, enum frame_type type, uint64_t off, size_t size)
{
	_cleanup_buf_ struct buf b = {0};
	uint16_t inner;
	_cleanup_json_ json_t *j = NULL;

	memcpy(&inner, raw + 4, sizeof(inner));
	j = json_pack("{s:s, s:I, s:i, s:I}", "unit", u->meta.unit, "epoch",
	    (json_int_t)u->meta.epoch, "type", le16toh(inner), "next",
	    (json_int_t)(type == FRAME_JOURNAL ? off + size : off));
	if (frame_encode(&b, type, off, j, raw + FRAME_HEADER, size - FRAME_HEADER, NULL) < 0) {
		log_error(LOG_EXEC, "unit %s: frame at %llu is too big to pass on", u->meta.unit,
		    (unsigned long long)off);
		return true;
	}
	return server_try(b.p, b.n);
}

static bool
is_over(const struct unit *u)
{
	return u->phase == UNIT_FINISHED || u->phase == UNIT_LOST;
}

static bool
is_short_of_descriptors(void)
{
	return errno == EMFILE || errno == ENFILE;
}

static bool
open_file(struct unit *u)
{
	if (u->file_fd < 0)
		u->file_fd = unit_file_open(X.units_fd, u->meta.unit);
	return u->file_fd >= 0;
}

/* Into raw, from this place in the journal. */
static ssize_t
read_frames(const struct unit *u, uint64_t from)
{
	return u->file_fd >= 0 ? pread(u->file_fd, raw, sizeof(raw), (off_t)(UNIT_HEAD_B + from))
			       : -1;
}

/* The next frame of the journal, if it is there. */
static enum streamed
stream_journal(struct unit *u)
{
	ssize_t n, size;

	if (u->sent >= u->journal_b)
		return NOTHING;
	if (!open_file(u) && is_short_of_descriptors())
		return LATER;
	n = read_frames(u, u->sent);
	size = n > 0 ? frame_size((size_t)n) : -1;
	if (size <= 0 || u->sent + (uint64_t)size > u->journal_b) {
		/* A keeper that was killed may leave half a frame: what is before it counts. */
		if (!is_over(u))
			return NOTHING;
		log_warn(LOG_EXEC, "unit %s: journal ends early at %llu of %llu", u->meta.unit,
		    (unsigned long long)u->sent, (unsigned long long)u->journal_b);
		u->journal_b = u->sent;
		return SENT;
	}
	if (!send_wrapped(u, FRAME_JOURNAL, u->sent, (size_t)size))
		return BLOCKED;
	u->sent += (uint64_t)size;
	return SENT;
}

static enum streamed
send_lost(const struct unit *u, const char *message)
{
	_cleanup_json_ json_t *j = json_pack("{s:s, s:I, s:s}", "unit", u->meta.unit, "epoch",
	    (json_int_t)u->meta.epoch, "message", message);
	_cleanup_buf_ struct buf b = {0};

	return frame_encode(&b, FRAME_LOST, 0, j, NULL, 0, NULL) == 0 && !server_try(b.p, b.n)
		   ? BLOCKED
		   : OVER;
}

static enum streamed
stream_last(struct unit *u)
{
	ssize_t n, size;

	if (u->phase == UNIT_LOST)
		return send_lost(u, u->lost);
	if (!open_file(u) && is_short_of_descriptors())
		return LATER;
	n = read_frames(u, u->journal_b);
	size = n > 0 ? frame_size((size_t)n) : -1;
	if (size <= 0) {
		/* Without a last word the engine would wait for ever. */
		log_error(LOG_EXEC, "unit %s: result cannot be read", u->meta.unit);
		return send_lost(u, "it has ended, but its result cannot be read");
	}
	return send_wrapped(u, FRAME_RESULT, u->sent, (size_t)size) ? OVER : BLOCKED;
}

static enum streamed
stream_one(struct unit *u)
{
	enum streamed s = stream_journal(u);

	return s == NOTHING && is_over(u) ? stream_last(u) : s;
}

void
stream_pump(void)
{
	int budget = PUMP_BUDGET;
	bool has_moved = true;

	while (has_moved && X.engine && X.is_listed) {
		struct unit *u, *next;

		has_moved = false;
		for (u = TAILQ_FIRST(&X.streaming); u; u = next) {
			next = TAILQ_NEXT(u, link);
			enum streamed s = stream_one(u);
			if (s == BLOCKED)
				return;
			if (s == OVER) {
				stream_stop(u);
				FAILPOINT("executor.result_told");
			}
			has_moved |= s == SENT;
			if (s == SENT && --budget == 0) {
				/* The socket is writable, so the loop comes back at once. */
				ev_io_start(X.loop, &X.engine->out);
				return;
			}
		}
	}
}
