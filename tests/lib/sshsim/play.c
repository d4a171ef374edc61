// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The scripted command line: reads lines with echo, plays the steps of each command. */
#include "tests/lib/sshsim/sshsim.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"

#include "base/banned.h"

/* \n becomes \r\n, as a terminal line does. */
static void
send_text(struct sim *s, const char *text)
{
	_cleanup_buf_ struct buf b = {0};
	for (; *text; text++) {
		if (*text == '\n')
			buf_addc(&b, '\r');
		buf_addc(&b, *text);
	}
	if (b.n)
		ssh_channel_write(s->ch, b.p, (uint32_t)b.n);
}

static void
send_prompt(struct sim *s)
{
	send_text(s, json_get_str(s->script, "prompt", "r1# "));
}

static bool
read_byte(struct sim *s, char *c)
{
	return ssh_channel_read(s->ch, c, 1, 0) == 1;
}

/* False when the session is over. */
static bool
read_line(struct sim *s, struct buf *line, bool has_echo)
{
	char c;
	buf_clear(line);
	while (read_byte(s, &c)) {
		if (c == '\n' || c == '\r') {
			send_text(s, has_echo ? "\n" : "");
			buf_add(line, "", 0);
			return true;
		}
		buf_addc(line, c);
		if (has_echo)
			ssh_channel_write(s->ch, &c, 1);
	}
	return false;
}

static void
hang(struct sim *s)
{
	char c;
	while (read_byte(s, &c))
		;
}

/* False when the session is over. */
static bool
play_step(struct sim *s, const json_t *step, bool *want_prompt)
{
	const char *text;
	char c;
	_cleanup_buf_ struct buf line = {0};
	if ((text = json_get_str(step, "send", NULL)))
		send_text(s, text);
	if ((text = json_get_str(step, "fill", NULL)))
		for (int64_t i = json_get_int(step, "n", 1); i > 0; i--)
			send_text(s, text);
	if ((text = json_get_str(step, "prompt", NULL)))
		json_object_set_new(s->script, "prompt", json_string(text));
	usleep((useconds_t)json_get_int(step, "delay_ms", 0) * 1000);
	if (json_get_bool(step, "no_prompt", 0))
		*want_prompt = false;
	if (json_get_bool(step, "key", 0) && !read_byte(s, &c))
		return false;
	if ((text = json_get_str(step, "secret", NULL)) &&
	    (!read_line(s, &line, false) || strcmp(line.p, text) != 0))
		return false;
	if (json_get_bool(step, "hang", 0)) {
		hang(s);
		return false;
	}
	return !json_get_bool(step, "close", 0);
}

static bool
play(struct sim *s, const json_t *steps)
{
	bool want_prompt = true;
	json_t *step;
	size_t i;
	json_array_foreach(steps, i, step)
	{
		if (!play_step(s, step, &want_prompt))
			return false;
	}
	if (want_prompt)
		send_prompt(s);
	return true;
}

/* The first time a command is given its first list is played, then the next; the last repeats. */
static const json_t *
steps_of(struct sim *s, const char *line)
{
	json_t *lists = json_object_get(json_object_get(s->script, "commands"), line);
	size_t n = json_array_size(lists), call = (size_t)json_get_int(s->calls, line, 0);
	json_object_set_new(s->calls, line, json_integer((json_int_t)call + 1));
	return n ? json_array_get(lists, call < n ? call : n - 1) : NULL;
}

static bool
run_line(struct sim *s, const char *line)
{
	const json_t *steps = steps_of(s, line);
	if (strcmp(line, "exit") == 0 && !steps)
		return false;
	if (steps)
		return play(s, steps);
	if (*line && strcmp(line, "terminal length 0") != 0) {
		send_text(s, json_get_str(s->script, "unknown", "% Unknown command: "));
		send_text(s, line);
		send_text(s, "\n");
	}
	send_prompt(s);
	return true;
}

void
sim_play(struct sim *s)
{
	_cleanup_buf_ struct buf line = {0};
	bool has_echo = json_get_bool(s->script, "echo", 1);
	if (!play(s, json_object_get(s->script, "greeting")))
		return;
	while (read_line(s, &line, has_echo))
		if (!run_line(s, line.p ? line.p : ""))
			return;
}
