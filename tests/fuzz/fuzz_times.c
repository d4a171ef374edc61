// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* libFuzzer: any text as times of day; if the first byte is a w, as a window. See README.md. */
#include "tests/fuzz/fuzz.h"

#include "when/civil.h"
#include "when/times.h"
#include "when/window.h"

#include "base/banned.h"

#define TIMES 100
#define SPAN (30 * INT64_C(86400))

static int64_t
next_of_times(const void *t, int64_t from, int64_t end)
{
	return times_next_local(t, from, end);
}

static int64_t
next_of_window(const void *w, int64_t from, int64_t end)
{
	return window_next_local(w, from, end);
}

/* The times of a month: rising, none without its weekday. */
static void
check_next(int64_t (*next)(const void *, int64_t, int64_t), const void *of, uint32_t of_week)
{
	int64_t at = -SPAN, n = 0;

	for (; n < TIMES && (at = next(of, at, SPAN)) < SPAN; n++, at++) {
		believe(of_week >> civil_weekday(floor_div(at, DAY_S)) & 1);
		believe(next(of, at, at + 1) == at);
	}
	believe(n > 3);
}

static void
check_times(const char *text, struct err *e)
{
	_cleanup_buf_ struct buf b = {0};
	struct times t, again;

	if (times_parse(text, &t, e) < 0)
		return;
	believe(t.list.n >= 1 && t.list.n <= TIMES_MAX && t.of_week && t.of_week < 0x80);
	for (int i = 0; i < t.list.n; i++)
		believe(t.list.at[i] > (i ? t.list.at[i - 1] : -1) && t.list.at[i] < DAY_S);
	times_print(&t, &b);
	believe(times_parse(b.p, &again, e) == 0 && again.of_week == t.of_week);
	believe(again.list.n == t.list.n);
	believe(memcmp(again.list.at, t.list.at, (size_t)t.list.n * sizeof(t.list.at[0])) == 0);
	check_next(next_of_times, &t, t.of_week);
}

static void
check_window(const char *text, struct err *e)
{
	_cleanup_buf_ struct buf b = {0};
	struct window w, again;

	if (window_parse(text, &w, e) < 0)
		return;
	believe(w.start >= 0 && w.start <= w.end && w.end < DAY_S && w.step >= 60);
	window_print(&w, &b);
	believe(window_parse(b.p, &again, e) == 0 && again.of_week == w.of_week);
	believe(again.start == w.start && again.end == w.end && again.step == w.step);
	check_next(next_of_window, &w, w.of_week);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	bool is_window = n && data[0] == 'w';
	_cleanup_free_ char *text = fuzz_text(data + is_window, n - is_window);
	struct err e = ERR_INIT;

	(is_window ? check_window : check_times)(text, &e);
	believe(!*e.message || (*e.field && *e.hint));
	return 0;
}
