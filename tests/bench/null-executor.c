// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * An executor that runs nothing, for the benches: it offers one task type and answers every START
 * at once with the journal that a keeper would have written for a unit that passed (J_STARTED,
 * then J_RESULT). No process, no file. So the engine and the database are measured without units.
 *
 *   null-executor STATE_DIR [TYPE [PROGRESS]]
 *
 * TYPE: the task type's name (noop). PROGRESS: so many J_PROGRESS frames before each result (0).
 * Prints "ready" and serves one engine after the other, until it is ended. What an engine that was
 * killed had started is not listed to the next one, as if all keepers had been lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "base/jtext.h"
#include "base/log.h"
#include "frame/frame.h"

#include "base/banned.h"

#define PROGRESS_MAX 1000

/* One journal frame, ready to be wrapped: the same bytes for every unit, but for its time. */
struct inner {
	enum frame_type type;
	struct buf bytes;
	uint64_t off;
};

static struct {
	const char *type;
	int progress;
	int64_t made_ms;
	struct inner journal[PROGRESS_MAX + 2];
	size_t journal_n;
} X = {.type = "noop"};

static void
inner_add(enum frame_type type, uint64_t *off, json_t *take_json)
{
	_cleanup_json_ json_t *json = take_json;
	struct inner *in = &X.journal[X.journal_n++];
	struct err e = ERR_INIT;

	buf_clear(&in->bytes);
	in->type = type;
	in->off = *off;
	if (frame_encode(&in->bytes, type, *off, json, NULL, 0, &e) < 0)
		log_fatal(LOG_EXEC, "%s", e.message);
	*off += in->bytes.n;
}

/* Within one millisecond all units have the same journal. */
static void
journal_make(void)
{
	int64_t now_ms = clock_monotonic_ms();
	json_int_t at_us = (json_int_t)clock_realtime_us();
	uint64_t off = 0;

	if (now_ms == X.made_ms)
		return;
	X.made_ms = now_ms;
	X.journal_n = 0;
	inner_add(FRAME_J_STARTED, &off,
	    json_pack("{s:I, s:i, s:I, s:s, s:i}", "at_us", at_us, "pid", 1, "start_time",
		(json_int_t)1, "boot_id", "", "keeper_pid", 1));
	for (int i = 1; i <= X.progress; i++)
		inner_add(FRAME_J_PROGRESS, &off,
		    json_pack("{s:i, s:i, s:s}", "done", i, "total", X.progress, "label", ""));
	inner_add(FRAME_J_RESULT, &off,
	    json_pack("{s:i, s:s, s:s, s:s, s:s, s:{}, s:I, s:I, s:i, s:i, s:i}", "rc", 0, "class",
		"passed", "code", "", "message", "", "hint", "", "result", "at_us", at_us,
		"started_us", at_us, "duration_us", 0, "output_b", 0, "output_cut_b", 0));
}

/* False: the engine has gone. */
static bool
say(int fd, enum frame_type type, json_t *take_json)
{
	_cleanup_json_ json_t *json = take_json;
	struct err e = ERR_INIT;

	return frame_send(fd, type, 0, json, NULL, 0, -1, &e) == 0;
}

static bool
on_hello(int fd)
{
	json_t *type = json_pack("{s:s, s:s, s:s, s:s, s:s, s:[], s:{s:s}, s:i, s:i, s:i, s:s}",
	    "id", X.type, "version", "1.0", "title", "No-op", "summary", "does nothing", "targets",
	    "none", "caps", "params_schema", "type", "object", "default_timeout_s", 60,
	    "default_max_retries", 0, "default_retry_delay_s", 0, "recovery", "rerun");

	return say(fd, FRAME_HELLO,
		   json_pack("{s:i, s:s, s:s, s:i, s:b, s:b}", "proto", 1, "version", "null",
		       "boot_id", "", "max_units", 10000, "seal_ready", 0, "input_text", 1)) &&
	       say(fd, FRAME_PLUGIN,
		   json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:[o]}", "file", "null.so",
		       "status", "loaded", "reason", "", "name", "null", "version", "1.0", "abi",
		       "1.0", "digest", "", "types", type)) &&
	       say(fd, FRAME_READY, NULL);
}

static bool
on_start(int fd, const struct frame *start)
{
	static struct buf json, packet;
	struct err e = ERR_INIT;

	journal_make();
	for (size_t i = 0; i < X.journal_n; i++) {
		const struct inner *in = &X.journal[i];
		bool is_last = i + 1 == X.journal_n;
		uint64_t next = in->off + (is_last ? 0 : in->bytes.n);

		buf_clear(&json);
		jtext_open(&json, NULL, '{');
		jtext_str(&json, "unit", frame_str(start, "unit", ""));
		jtext_int(&json, "epoch", frame_int(start, "epoch", 0));
		jtext_int(&json, "type", in->type);
		jtext_int(&json, "next", (int64_t)next);
		jtext_close(&json, '}');
		buf_clear(&packet);
		if (frame_encode_text(&packet, is_last ? FRAME_RESULT : FRAME_JOURNAL, in->off,
			json.p, json.n, in->bytes.p + FRAME_HEADER, in->bytes.n - FRAME_HEADER,
			&e) < 0 ||
		    frame_send_raw(fd, packet.p, packet.n, NULL, 0, &e) < 0)
			return false;
	}
	return true;
}

/* ACK, DROP, LEASE and whatever else: there is nothing to be done about them. */
static void
serve(int fd)
{
	static unsigned char packet[FRAME_MAX];
	bool is_up = true;

	while (is_up) {
		_cleanup_frame_ struct frame f = {0};
		_cleanup_fd_ int passed = -1;
		struct err e = ERR_INIT;

		if (frame_recv_flat(fd, packet, &f, &passed, &e) <= 0)
			return;
		if (f.type == FRAME_HELLO)
			is_up = on_hello(fd);
		else if (f.type == FRAME_START)
			is_up = on_start(fd, &f);
	}
}

int
main(int argc, char **argv)
{
	struct err e = ERR_INIT;

	log_init("null-executor", LOG_INFO, LOG_TEXT);
	if (argc < 2 || argc > 4) {
		fputs("usage: null-executor STATE_DIR [TYPE [PROGRESS]]\n", stderr);
		return 2;
	}
	if (argc > 2)
		X.type = argv[2];
	if (argc > 3)
		X.progress = atoi(argv[3]);
	if (X.progress < 0 || X.progress > PROGRESS_MAX) {
		fprintf(stderr, "PROGRESS is %d: 0 to %d\n", X.progress, PROGRESS_MAX);
		return 2;
	}
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int listen_fd = dir < 0 ? -1 : io_unix_listen(dir, "executor.sock", SOCK_SEQPACKET, &e);
	if (listen_fd < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], dir < 0 ? strerror(errno) : e.message);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		_cleanup_fd_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			serve(fd);
	}
}
