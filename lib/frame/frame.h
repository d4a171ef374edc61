// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Frames: what engine, executor, keeper and plugin process say to each other, and what a unit's
 * journal file is made of. One layout for all of them; sockets are AF_UNIX SOCK_SEQPACKET, one
 * frame a packet.
 *
 *   header, 16 bytes little-endian: u32 body_len, u16 type, u16 version (1), u64 off
 *   body, body_len bytes:           u32 json_len, json_len bytes of a JSON object, blob bytes
 *
 * A whole frame is at most FRAME_MAX bytes. A receiver ignores types it does not know and closes
 * the connection at a malformed frame; it never believes a length it has not checked.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/jflat.h"

#define FRAME_MAX 65536u
#define FRAME_HEADER 16u
#define FRAME_VERSION 1u
/* A journal frame leaves room for the JSON of the JOURNAL frame that carries its body. */
#define FRAME_JOURNAL_MAX (FRAME_MAX - 512u)
#define FRAME_FDS_MAX 4u

enum frame_type {
#define FRAME(name, number) FRAME_##name = number,
#include "frame/frame_types.def"
#undef FRAME
};

struct frame {
	uint16_t type, version;
	uint64_t off;     /* byte offset in the journal; 0 elsewhere */
	json_t *json;     /* an object; owned, see frame_fini; NULL: its members are in flat */
	const void *blob; /* borrowed from the bytes that were decoded */
	size_t blob_n;
	size_t size; /* of the whole frame, header included */
	struct jflat flat;
};

/* Members, wherever they are; wrong types count as absent. */
const char *frame_str(const struct frame *f, const char *name, const char *dflt);
int64_t frame_int(const struct frame *f, const char *name, int64_t dflt);

void frame_fini(struct frame *f);
#define _cleanup_frame_ _cleanup_(frame_fini)

/* "START"; NULL for a number not in the table. */
const char *frame_type_name(unsigned type);

/* Append one whole frame to out. json: an object, borrowed; NULL: {}. -ERR_TOO_BIG if too big. */
int frame_encode(struct buf *out, enum frame_type type, uint64_t off, const json_t *json,
    const void *blob, size_t blob_n, struct err *e);

/* The same with the JSON object as text, which is not looked at. */
int frame_encode_text(struct buf *out, enum frame_type type, uint64_t off, const char *text,
    size_t text_n, const void *blob, size_t blob_n, struct err *e);

/*
 * Read the frame at p, n bytes available. The frame may be shorter than n (a journal): its size is
 * in out->size. -ERR_TRANSIENT if more bytes are needed, -ERR_INVALID if it can never be a frame.
 */
int frame_decode(const void *p, size_t n, struct frame *out, struct err *e);
/*
 * The same without a tree of JSON for the frequent small frames, if jflat.h takes them: their
 * members are in out->flat, which points into p's bytes. Read those by frame_str() and frame_int().
 */
int frame_decode_flat(void *p, size_t n, struct frame *out, struct err *e);

/* Send one frame; pass_fd >= 0 goes along and stays the caller's. Never raises SIGPIPE.
 * -ERR_TRANSIENT: a non-blocking socket is full. */
int frame_send(int fd, enum frame_type type, uint64_t off, const json_t *json, const void *blob,
    size_t blob_n, int pass_fd, struct err *e);
/* The same for a frame already encoded, with up to FRAME_FDS_MAX descriptors. */
int frame_send_raw(int fd, const void *p, size_t n, const int *fds, size_t fds_n, struct err *e);

/*
 * Receive one frame into buf (FRAME_MAX bytes, which out->blob points into). 1: a frame; 0: the
 * peer has gone; -ERR_TRANSIENT: nothing there yet; other: malformed, close the connection.
 * passed (may be NULL) gets the CLOEXEC descriptor that came along, or -1; any more are closed.
 */
int frame_recv(int fd, void *buf, struct frame *out, int *passed, struct err *e);
/* The same for up to max descriptors; *fds_n of them were received. */
int frame_recv_fds(
    int fd, void *buf, struct frame *out, int *fds, size_t max, size_t *fds_n, struct err *e);
/* frame_recv() by frame_decode_flat(). */
int frame_recv_flat(int fd, void *buf, struct frame *out, int *passed, struct err *e);

/*
 * The journal frame inside a JOURNAL or RESULT frame: inner gets type, off, JSON and blob as the
 * keeper wrote them; its blob points into outer's bytes. _flat: by frame_decode_flat(), for
 * an outer that was received by frame_recv_flat().
 */
int frame_unwrap(const struct frame *outer, struct frame *inner, struct err *e);
int frame_unwrap_flat(const struct frame *outer, struct frame *inner, struct err *e);

/* 0 if the peer of a unix socket runs as our uid or as root, else -ERR_DENIED. */
int frame_peer_allowed(int fd, struct err *e);
