// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* lib/frame: layout, limits, sockets and descriptors; lib/task/rc: the table of return codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/jsonx.h"
#include "frame/frame.h"
#include "task/rc.h"

#include "base/banned.h"

static void
layout_is_fixed(void **state)
{
	static const unsigned char want[] = {15, 0, 0, 0, 2, 0, 1, 0, 8, 7, 6, 5, 4, 3, 2, 1, 7, 0,
	    0, 0, '{', '"', 'a', '"', ':', '1', '}', 'b', 'l', 'o', 'b'};
	_cleanup_json_ json_t *j = json_pack("{s:i}", "a", 1);
	_cleanup_buf_ struct buf b = {0};
	_cleanup_frame_ struct frame f = {0};

	(void)state;
	assert_int_equal(frame_encode(&b, FRAME_START, 0x0102030405060708u, j, "blob", 4, NULL), 0);
	assert_int_equal(b.n, sizeof(want));
	assert_memory_equal(b.p, want, sizeof(want));
	assert_int_equal(frame_decode(b.p, b.n, &f, NULL), 0);
	assert_int_equal(f.type, FRAME_START);
	assert_true(f.off == 0x0102030405060708u);
	assert_int_equal(json_get_int(f.json, "a", 0), 1);
	assert_int_equal(f.blob_n, 4);
	assert_memory_equal(f.blob, "blob", 4);
	assert_int_equal(f.size, sizeof(want));
}

static void
names_come_from_the_table(void **state)
{
	(void)state;
	assert_string_equal(frame_type_name(FRAME_J_RESULT), "J_RESULT");
	assert_string_equal(frame_type_name(1), "HELLO");
	assert_null(frame_type_name(65000));
}

static void
size_limit_is_exact(void **state)
{
	char *blob = calloc(1, FRAME_MAX);
	size_t room = FRAME_MAX - FRAME_HEADER - 4 - 2;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t over = 0; over < 2; over++) {
		_cleanup_buf_ struct buf b = {0};
		int r = frame_encode(&b, FRAME_JOURNAL, 0, NULL, blob, room + over, &e);

		assert_int_equal(r, over ? -ERR_TOO_BIG : 0);
		assert_int_equal(b.n, over ? 0 : FRAME_MAX);
	}
	free(blob);
}

/* Every shorter piece of a frame asks for more, and is never read beyond its end. */
static void
pieces_ask_for_more(void **state)
{
	_cleanup_json_ json_t *j = json_pack("{s:s}", "text", "abc");
	_cleanup_buf_ struct buf b = {0};

	(void)state;
	frame_encode(&b, FRAME_ACK, 0, j, "xyz", 3, NULL);
	for (size_t n = 0; n < b.n; n++) {
		char *copy = malloc(n ? n : 1);
		struct frame f = {0};

		memcpy(copy, b.p, n);
		assert_int_equal(frame_decode(copy, n, &f, NULL), -ERR_TRANSIENT);
		assert_null(f.json);
		free(copy);
	}
}

/* One byte changed anywhere: decoded or refused, never more bytes claimed than there are. */
static void
changed_bytes_are_survived(void **state)
{
	_cleanup_json_ json_t *j = json_pack("{s:[i,i], s:s}", "a", 1, 2, "b", "text");
	_cleanup_buf_ struct buf b = {0};

	(void)state;
	frame_encode(&b, FRAME_CANCEL, 5, j, "12345678", 8, NULL);
	for (size_t at = 0; at < b.n; at++) {
		for (int v = 0; v < 256; v += 5) {
			_cleanup_frame_ struct frame f = {0};
			char keep = b.p[at];

			b.p[at] = (char)v;
			if (frame_decode(b.p, b.n, &f, NULL) == 0) {
				assert_true(f.size <= b.n);
				assert_true((const char *)f.blob + f.blob_n <= b.p + b.n);
			}
			b.p[at] = keep;
		}
	}
}

static void
bad_bodies_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {
	    {"\x02\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0..", 18},                 /* body below 4 */
	    {"\x06\0\0\0\x01\0\x02\0\0\0\0\0\0\0\0\0\x02\0\0\0{}", 22},       /* version 2 */
	    {"\x06\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\x03\0\0\0{}", 22},       /* JSON too long */
	    {"\x06\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff{}", 22}, /* far too long */
	    {"\x06\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0[]", 22},       /* no object */
	    {"\x06\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0{]", 22},       /* no JSON */
	    {"\xff\xff\xff\x7f\x01\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0{}", 22}, /* 2 GiB */
	    {"\x11\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\x0d\0\0\0{\"a\":1,\"a\":2}", 33}, /* twice */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct frame f = {0};
		struct err e = ERR_INIT;
		int r = frame_decode(cases[i].bytes, cases[i].n, &f, &e);

		assert_true(r < 0 && r != -ERR_TRANSIENT);
		assert_true(e.message[0] != 0);
		assert_null(f.json);
	}
}

static void
deep_json_is_refused(void **state)
{
	_cleanup_buf_ struct buf b = {0};
	unsigned char head[FRAME_HEADER + 4] = {0};
	struct frame f = {0};
	const uint32_t depth = 20000, json_n = depth;

	(void)state;
	head[0] = (json_n + 4) & 0xff;
	head[1] = (json_n + 4) >> 8;
	head[4] = 1;
	head[6] = 1;
	head[16] = json_n & 0xff;
	head[17] = json_n >> 8;
	buf_add(&b, head, sizeof(head));
	for (uint32_t i = 0; i < depth; i++)
		buf_addc(&b, '[');
	assert_true(frame_decode(b.p, b.n, &f, NULL) < 0);
}

static void
sockets_carry_frames_and_descriptors(void **state)
{
	static unsigned char packet[FRAME_MAX];
	_cleanup_json_ json_t *j = json_pack("{s:s}", "unit", "u");
	struct err e = ERR_INIT;
	struct frame f = {0};
	int pair[2], pipe_fds[2], passed = -1;
	char c = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(frame_peer_allowed(pair[0], &e), 0);
	assert_int_equal(frame_recv(pair[1], packet, &f, NULL, NULL), -ERR_TRANSIENT);
	assert_int_equal(frame_send(pair[0], FRAME_START, 0, j, NULL, 0, pipe_fds[1], &e), 0);
	assert_int_equal(frame_recv(pair[1], packet, &f, &passed, &e), 1);
	assert_true(passed >= 0 && passed != pipe_fds[1]);
	assert_int_equal(write(passed, "x", 1), 1);
	assert_int_equal(read(pipe_fds[0], &c, 1), 1);
	assert_int_equal(c, 'x');
	frame_fini(&f);
	/* One that nobody asked for is closed: the pipe ends when the other writers are gone. */
	assert_int_equal(frame_send(pair[0], FRAME_START, 0, j, NULL, 0, pipe_fds[1], &e), 0);
	assert_int_equal(frame_recv(pair[1], packet, &f, NULL, &e), 1);
	frame_fini(&f);
	close(passed);
	close(pipe_fds[1]);
	assert_int_equal(read(pipe_fds[0], &c, 1), 0);
	/* Garbage is an error, the end is an end. */
	assert_int_equal(send(pair[0], "garbage", 7, 0), 7);
	assert_int_equal(frame_recv(pair[1], packet, &f, NULL, NULL), -ERR_INVALID);
	close(pair[0]);
	assert_int_equal(frame_recv(pair[1], packet, &f, NULL, NULL), 0);
	close(pair[1]);
	close(pipe_fds[0]);
}

static void
trailing_bytes_in_a_packet_are_refused(void **state)
{
	static unsigned char packet[FRAME_MAX];
	_cleanup_buf_ struct buf b = {0};
	struct frame f = {0};
	int pair[2];

	(void)state;
	frame_encode(&b, FRAME_READY, 0, NULL, NULL, 0, NULL);
	buf_addc(&b, 'x');
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(send(pair[0], b.p, b.n, 0), (int)b.n);
	assert_int_equal(frame_recv(pair[1], packet, &f, NULL, NULL), -ERR_INVALID);
	close(pair[0]);
	close(pair[1]);
}

static void
journal_frames_come_out_of_their_wrapping(void **state)
{
	_cleanup_json_ json_t *j = json_pack("{s:i}", "raw_b", 3);
	_cleanup_json_ json_t *outer_json = json_pack("{s:i}", "type", FRAME_J_OUTPUT);
	_cleanup_buf_ struct buf inner = {0}, outer = {0};
	_cleanup_frame_ struct frame f = {0}, g = {0};

	(void)state;
	frame_encode(&inner, FRAME_J_OUTPUT, 77, j, "abc", 3, NULL);
	frame_encode(&outer, FRAME_JOURNAL, 77, outer_json, inner.p + FRAME_HEADER,
	    inner.n - FRAME_HEADER, NULL);
	assert_int_equal(frame_decode(outer.p, outer.n, &f, NULL), 0);
	assert_int_equal(frame_unwrap(&f, &g, NULL), 0);
	assert_int_equal(g.type, FRAME_J_OUTPUT);
	assert_int_equal(g.off, 77);
	assert_int_equal(g.size, inner.n);
	assert_memory_equal(g.blob, "abc", 3);
}

/* The same members from both readers; what is no flat object comes as a tree. */
static void
flat_frames_say_the_same(void **state)
{
	static const char *const texts[] = {
	    "{\"unit\":\"u\",\"epoch\":4,\"type\":33}", "{\"unit\":\"\\u00fc\",\"epoch\":4}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		_cleanup_buf_ struct buf b = {0};
		_cleanup_frame_ struct frame tree = {0}, flat = {0};

		frame_encode_text(
		    &b, FRAME_JOURNAL, 9, texts[i], strlen(texts[i]), "blob", 4, NULL);
		assert_int_equal(frame_decode(b.p, b.n, &tree, NULL), 0);
		assert_int_equal(frame_decode_flat(b.p, b.n, &flat, NULL), 0);
		assert_true((flat.json == NULL) == (i == 0));
		assert_string_equal(frame_str(&flat, "unit", "?"), frame_str(&tree, "unit", "?"));
		assert_int_equal(frame_int(&flat, "epoch", 0), 4);
		assert_int_equal(frame_int(&flat, "type", 0), frame_int(&tree, "type", 0));
		assert_int_equal(flat.size, b.n);
		assert_memory_equal(flat.blob, "blob", 4);
	}
}

static void
frames_that_hold_more_are_trees(void **state)
{
	_cleanup_json_ json_t *j = json_pack("{s:i}", "a", 1);
	_cleanup_buf_ struct buf b = {0};
	_cleanup_frame_ struct frame f = {0};

	(void)state;
	frame_encode(&b, FRAME_HELLO, 0, j, NULL, 0, NULL);
	assert_int_equal(frame_decode_flat(b.p, b.n, &f, NULL), 0);
	assert_int_equal(json_get_int(f.json, "a", 0), 1);
}

static void
return_codes_have_classes(void **state)
{
	(void)state;
	for (int c = 0; c < RC_CLASS_COUNT; c++) {
		assert_int_equal(rc_class_of(rc_number((enum rc_class)c)), c);
		assert_int_equal(rc_class_parse(rc_class_name((enum rc_class)c)), c);
	}
	assert_int_equal(rc_class_parse("nonsense"), -1);
	assert_int_equal(rc_class_of(-199), RC_transient);
	assert_int_equal(rc_class_of(-299), RC_permanent);
	assert_int_equal(rc_class_of(-399), RC_cancelled);
	assert_int_equal(rc_class_of(2), RC_internal);
	assert_int_equal(rc_class_of(INT32_MIN), RC_internal);
	assert_true(rc_is_retryable(RC_unreachable) && !rc_is_retryable(RC_auth));
	assert_true(rc_is_success(RC_skipped) && !rc_is_success(RC_timeout));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(layout_is_fixed),
	    cmocka_unit_test(names_come_from_the_table),
	    cmocka_unit_test(size_limit_is_exact),
	    cmocka_unit_test(pieces_ask_for_more),
	    cmocka_unit_test(changed_bytes_are_survived),
	    cmocka_unit_test(bad_bodies_are_refused),
	    cmocka_unit_test(deep_json_is_refused),
	    cmocka_unit_test(sockets_carry_frames_and_descriptors),
	    cmocka_unit_test(trailing_bytes_in_a_packet_are_refused),
	    cmocka_unit_test(journal_frames_come_out_of_their_wrapping),
	    cmocka_unit_test(flat_frames_say_the_same),
	    cmocka_unit_test(frames_that_hold_more_are_trees),
	    cmocka_unit_test(return_codes_have_classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
