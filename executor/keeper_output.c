// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A unit's output: standard output and standard error in one stream of bytes. The first half of
 * the limit goes to the journal as it comes; of the rest the last half of the limit is kept in a
 * ring and written at the end, after a J_OUTPUT_CUT that says how much is missing between them.
 */
#include "executor/keeper_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "base/banned.h"

/* Bytes taken per call, so that a flood does not starve deadline and cancel. */
#define READ_BUDGET (256u * 1024)

void
output_init(struct keeper *k)
{
	uint64_t limit = (uint64_t)k->job->output_limit_b;

	k->out.head_limit = limit / 2;
	k->out.tail_limit = limit - limit / 2;
}

/* Say what the cap or a full disk swallowed before anything behind it is written. */
static int
close_gap(struct keeper *k)
{
	struct keeper_output *o = &k->out;
	_cleanup_json_ json_t *j = NULL;

	if (!o->gap_b)
		return 0;
	j = json_pack("{s:I, s:I}", "off", (json_int_t)(o->chunk_off - o->gap_b), "cut_b",
	    (json_int_t)o->gap_b);
	if (journal_add(k, FRAME_J_OUTPUT_CUT, j, NULL, 0) < 0)
		return -1;
	o->gap_b = 0;
	return 0;
}

static int
add_chunk(struct keeper *k)
{
	struct keeper_output *o = &k->out;
	_cleanup_json_ json_t *j = json_pack(
	    "{s:I, s:I}", "off", (json_int_t)o->chunk_off, "raw_b", (json_int_t)o->chunk_n);
	size_t n =
	    ZSTD_compressCCtx(k->zstd, k->packed, sizeof(k->packed), o->chunk, o->chunk_n, 1);

	return ZSTD_isError(n) ? -1 : journal_add(k, FRAME_J_OUTPUT, j, k->packed, n);
}

void
output_flush(struct keeper *k)
{
	struct keeper_output *o = &k->out;

	if (!o->chunk_n)
		return;
	if (close_gap(k) < 0 || add_chunk(k) < 0) {
		o->cut_b += o->chunk_n;
		o->gap_b += o->chunk_n;
	}
	o->chunk_off += o->chunk_n;
	o->chunk_n = 0;
}

/* Into the journal, by way of the chunk. */
static void
output_store(struct keeper *k, const unsigned char *p, size_t n)
{
	struct keeper_output *o = &k->out;

	while (n) {
		size_t take = OUTPUT_CHUNK - o->chunk_n;

		if (take > n)
			take = n;
		if (!o->chunk_n)
			o->chunk_since_ms = clock_monotonic_ms();
		memcpy(o->chunk + o->chunk_n, p, take);
		o->chunk_n += take;
		p += take;
		n -= take;
		if (o->chunk_n == OUTPUT_CHUNK)
			output_flush(k);
	}
}

static void
ring_open(struct keeper_output *o)
{
	void *p = MAP_FAILED;

	if (o->tail_limit)
		p = mmap(NULL, o->tail_limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (p == MAP_FAILED)
		o->tail_limit = 0;
	else
		o->ring = p;
}

static void
ring_put(struct keeper_output *o, const unsigned char *p, size_t n)
{
	if (!o->ring && o->tail_limit)
		ring_open(o);
	if (!o->tail_limit) {
		o->ring_n += n;
		return;
	}
	while (n) {
		uint64_t at = o->ring_n % o->tail_limit;
		size_t take = o->tail_limit - at < n ? (size_t)(o->tail_limit - at) : n;

		memcpy(o->ring + at, p, take);
		o->ring_n += take;
		p += take;
		n -= take;
	}
}

static void
output_take(struct keeper *k, const unsigned char *p, size_t n)
{
	struct keeper_output *o = &k->out;
	size_t head = 0;

	if (o->total < o->head_limit) {
		head = o->head_limit - o->total < n ? (size_t)(o->head_limit - o->total) : n;
		output_store(k, p, head);
	}
	o->total += n;
	if (head < n)
		ring_put(o, p + head, n - head);
}

bool
output_read(struct keeper *k)
{
	unsigned char buf[32768];

	for (size_t used = 0; used < READ_BUDGET;) {
		ssize_t n = read(k->output_fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		output_take(k, buf, (size_t)n);
		used += (size_t)n;
	}
	return true;
}

void
output_finish(struct keeper *k)
{
	struct keeper_output *o = &k->out;
	uint64_t kept = o->ring_n < o->tail_limit ? o->ring_n : o->tail_limit;
	uint64_t cut = o->ring_n - kept, at;

	output_flush(k);
	if (cut) {
		/* One frame for what the cap cut and what the disk may have refused before. */
		o->gap_b += cut;
		o->cut_b += cut;
		o->chunk_off += cut;
		close_gap(k);
	}
	at = kept ? cut % o->tail_limit : 0;
	for (uint64_t left = kept; left;) {
		size_t n = o->tail_limit - at < left ? (size_t)(o->tail_limit - at) : (size_t)left;

		output_store(k, o->ring + at, n);
		left -= n;
		at = 0;
	}
	output_flush(k);
	close_gap(k);
}
