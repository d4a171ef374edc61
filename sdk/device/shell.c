// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The command line of a device: when is it our turn?
 *
 * A prompt is the last line, without a line end, that matches the platform's patterns and then
 * stays so for settle_ms. Text that only looks like a prompt (a banner, a configuration) is told
 * apart twice. At login an empty line is sent until two prompts in a row are the same: that is the
 * learned prompt, and nothing else is one from then on. And a prompt counts only after the echo of
 * our command: what came before it is late output of something earlier (`leftover`).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sdk/device/session_priv.h"

#include "base/banned.h"

#define LOGIN_SETTLE_MS 120  /* before the prompt is known; banners come in pieces */
#define TRAIL_SETTLE_MS 1000 /* a prompt behind text: output without a last line end, or a cut */
#define LEARN_ROUNDS 5
#define PROMPT_MAX_B 255
#define CHUNKS_MAX \
	64 /* read in one turn: a device that never pauses must not keep us from the clock */

typedef bool is_done(struct takt_ssh *s, const char *line, size_t n);

/* Take in what is there. 1: something came; 0: nothing; negative: an error recorded. */
static int
read_some(struct takt_ssh *s)
{
	char chunk[16384];
	int got = 0;
	for (int i = 0; i < CHUNKS_MAX; i++) {
		int n = L.ssh_channel_read_nonblocking(s->ch, chunk, sizeof(chunk), 0);
		if (n == 0 || n == SSH_AGAIN)
			break;
		if (n < 0) /* SSH_ERROR, or SSH_EOF once all was read */
			return session_lost(s, "it was read from");
		got = 1;
		term_feed(&s->term, chunk, (size_t)n);
		if (s->term.text.n > OUTPUT_MAX_B)
			return session_fail(s, TAKT_E_PERMANENT, "ssh.output_too_big", NULL,
			    "%s sent more than %u bytes for one command", s->name, OUTPUT_MAX_B);
	}
	if (!got &&
	    (L.ssh_channel_is_eof(s->ch) || L.ssh_channel_is_closed(s->ch) || session_is_dead(s)))
		return session_lost(s, "it was read from");
	return got;
}

/* 1: something came; 0: quiet until `until`; negative: an error recorded. */
static int
read_until(struct takt_ssh *s, int64_t until)
{
	for (;;) {
		int rc = read_some(s);
		if (rc > 0) {
			int w = session_wait_ssh(s, 0); /* no wait: is a cancellation there? */
			return w < 0 ? w : rc;
		}
		if (rc < 0)
			return rc;
		rc = session_wait_ssh(s, until);
		if (rc <= 0)
			return rc < 0 ? rc : read_some(s);
	}
}

static takt_rc
write_all(struct takt_ssh *s, const char *p, size_t n, int64_t until)
{
	while (n) {
		int w = L.ssh_channel_write(s->ch, p, (uint32_t)n);
		if (w > 0) {
			p += w;
			n -= (size_t)w;
			continue;
		}
		if ((w != 0 && w != SSH_AGAIN) || session_is_dead(s))
			return session_lost(s, "it was written to");
		int rc = session_wait_ssh(s, until);
		if (rc < 0)
			return rc;
		if (rc == 0)
			return session_fail(s, TAKT_E_TIMEOUT, "ssh.prompt_timeout", NULL,
			    "%s takes no input", s->name);
	}
	return TAKT_OK;
}

static void
last_line(const struct takt_ssh *s, const char **p, size_t *n)
{
	*p = s->term.text.p + s->term.line;
	*n = s->term.text.n - s->term.line;
	while (*n && (*p)[*n - 1] == ' ')
		--*n;
}

static bool
matches_whole(const struct pattern_list *l, const char *p, size_t n)
{
	size_t from, to;
	for (size_t i = 0; i < l->n; i++)
		if (pattern_find(l->v[i], p, n, &from, &to) && from == 0 && to == n)
			return true;
	return false;
}

static bool
is_any_prompt(struct takt_ssh *s, const char *p, size_t n)
{
	return n && n <= PROMPT_MAX_B && matches_whole(&s->pf->session.prompt, p, n);
}

static bool
is_learned_prompt(struct takt_ssh *s, const char *p, size_t n)
{
	return n == strlen(s->prompt) && memcmp(p, s->prompt, n) == 0;
}

/* The learned one, or the same host's in another mode: r1(config)#. */
static bool
is_host_prompt(struct takt_ssh *s, const char *p, size_t n)
{
	if (is_learned_prompt(s, p, n))
		return true;
	return s->stem_n && n >= s->stem_n && memcmp(p, s->prompt, s->stem_n) == 0 &&
	       is_any_prompt(s, p, n);
}

static bool
is_enable_prompt(struct takt_ssh *s, const char *p, size_t n)
{
	return is_host_prompt(s, p, n) || (n && matches_whole(&s->pf->session.enable_prompt, p, n));
}

static takt_rc
prompt_timeout(struct takt_ssh *s, int ms)
{
	const char *p;
	size_t n;
	last_line(s, &p, &n);
	return session_fail(s, TAKT_E_TIMEOUT, "ssh.prompt_timeout",
	    "If the device was not just slow, the prompt patterns of its platform file may not fit "
	    "it.",
	    "%s showed no prompt within %d ms; its last line has %zu bytes%s", s->name, ms, n,
	    *s->prompt ? "" : " (not logged in to a command line yet)");
}

/* A pager stopped: go on, and the pager's line is no text. 1 if that was so. */
static int
answer_pager(struct takt_ssh *s, const char *p, size_t n, int64_t until)
{
	const char *answer = s->pf->session.pager_answer;
	if (!n || n > PROMPT_MAX_B || !matches_whole(&s->pf->session.pager, p, n))
		return 0;
	term_drop_line(&s->term);
	takt_rc rc = write_all(s, answer, strlen(answer), until);
	return rc == TAKT_OK ? 1 : rc;
}

/* Text without a line end, then the prompt: "foor1#". */
static bool
is_prompt_behind_text(struct takt_ssh *s, const char *p, size_t n)
{
	size_t len = strlen(s->prompt);
	return s->is_echoed && len && n > len && memcmp(p + n - len, s->prompt, len) == 0;
}

/* Read until `done` says that the last line is what we wait for and no more comes. */
static takt_rc
expect(struct takt_ssh *s, is_done *done, int settle_ms, int timeout_ms)
{
	int64_t until = session_until(s, timeout_ms);
	bool is_quiet = false;
	for (;;) {
		const char *p;
		size_t n;
		last_line(s, &p, &n);
		bool is_hit = done(s, p, n);
		if (is_hit && is_quiet)
			return TAKT_OK;
		int rc = is_quiet ? answer_pager(s, p, n, until) : 0;
		if (rc < 0)
			return rc;
		int64_t now = clock_monotonic_ms();
		if (now >= until)
			return prompt_timeout(s, timeout_ms);
		bool is_behind = is_quiet && is_prompt_behind_text(s, p, n);
		/* Once quiet without a hit, only new text changes anything. */
		int64_t wait = is_behind         ? now + TRAIL_SETTLE_MS
			       : is_quiet && !rc ? until
						 : now + settle_ms;
		rc = read_until(s, wait < until ? wait : until);
		if (rc < 0)
			return rc;
		is_quiet = rc == 0;
		if (is_behind && is_quiet) {
			s->trail_b = n - strlen(s->prompt);
			return TAKT_OK;
		}
	}
}

/* The first line that ends with the command; what follows it is output. */
static void
find_echo(struct takt_ssh *s, const char *cmd)
{
	size_t n = strlen(cmd), at = 0;
	const char *t = s->term.text.p;
	while (!s->is_echoed && at < s->term.text.n) {
		const char *nl = memchr(t + at, '\n', s->term.text.n - at);
		if (!nl)
			return;
		size_t end = (size_t)(nl - t), last = end;
		while (last > at && t[last - 1] == ' ')
			last--;
		if (last - at >= n && memcmp(t + last - n, cmd, n) == 0) {
			s->is_echoed = true;
			s->body_at = end + 1;
		} else if (last > at && !is_host_prompt(s, t + at, last - at)) {
			s->leftover_b += last - at;
		}
		at = end + 1;
	}
}

static bool
is_done_after_echo(struct takt_ssh *s, const char *p, size_t n)
{
	if (s->echo && !s->is_echoed) {
		s->leftover_b = 0; /* counted anew from the start each time */
		find_echo(s, s->echo);
	}
	if (s->echo && (!s->is_echoed || s->term.line < s->body_at))
		return false;
	return is_host_prompt(s, p, n);
}

takt_rc
shell_command(struct takt_ssh *s, const char *line, uint32_t timeout_ms)
{
	int limit = timeout_ms ? (int)(timeout_ms > INT32_MAX ? INT32_MAX : timeout_ms)
			       : s->pf->session.command_timeout_ms;
	_cleanup_free_ char *sent = xasprintf("%s\n", line);
	size_t n = strlen(line);
	while (n && sent[n - 1] == ' ')
		n--;
	_cleanup_free_ char *echo = xasprintf("%.*s", (int)n, line);
	term_clear(&s->term);
	s->is_echoed = false;
	s->body_at = s->leftover_b = s->trail_b = 0;
	s->echo = s->pf->session.echo && *echo ? echo : NULL;
	takt_rc rc = write_all(s, sent, strlen(sent), session_until(s, limit));
	if (rc == TAKT_OK)
		rc = expect(s, is_done_after_echo, s->pf->session.settle_ms, limit);
	s->echo = NULL;
	if (rc != TAKT_OK)
		return rc;
	buf_clear(&s->out);
	buf_add(&s->out, s->term.text.p + s->body_at, s->term.line + s->trail_b - s->body_at);
	return TAKT_OK;
}

takt_rc
shell_sync(struct takt_ssh *s, bool *is_clean)
{
	term_clear(&s->term);
	s->is_echoed = false;
	takt_rc rc = write_all(s, "\n", 1, session_until(s, s->pf->session.command_timeout_ms));
	if (rc == TAKT_OK)
		rc = expect(s, is_learned_prompt, s->pf->session.settle_ms,
		    s->pf->session.command_timeout_ms);
	if (rc != TAKT_OK)
		return rc;
	*is_clean = true;
	const char *t = s->term.text.p, *end = t + s->term.line;
	for (const char *nl; t < end; t = nl + 1) {
		nl = memchr(t, '\n', (size_t)(end - t));
		size_t n = (size_t)(nl - t);
		while (n && t[n - 1] == ' ')
			n--;
		if (n && !is_learned_prompt(s, t, n))
			*is_clean = false;
	}
	return TAKT_OK;
}

char *
shell_refusal(const struct takt_ssh *s)
{
	const char *t = s->out.p, *end = t + s->out.n;
	for (int i = 0; t && t < end && i < 3; i++) {
		const char *nl = memchr(t, '\n', (size_t)(end - t));
		size_t n = (size_t)((nl ? nl : end) - t);
		if (n && pattern_list_find(&s->pf->session.error, t, n, NULL, NULL))
			return xasprintf("%.*s", (int)(n > 200 ? 200 : n), t);
		t = nl ? nl + 1 : end;
	}
	return NULL;
}

static takt_rc
channel_open(struct takt_ssh *s)
{
	int64_t until = session_until(s, s->pf->session.login_timeout_ms);
	s->ch = L.ssh_channel_new(s->ssh);
	for (int step = 0; step < 3;) {
		int rc = step == 0   ? L.ssh_channel_open_session(s->ch)
			 : step == 1 ? L.ssh_channel_request_pty_size(
					   s->ch, "vt100", s->pf->session.width, 1000)
				     : L.ssh_channel_request_shell(s->ch);
		if (rc == SSH_OK) {
			step++;
			continue;
		}
		if (rc != SSH_AGAIN || session_is_dead(s))
			return session_fail(s, TAKT_E_TRANSIENT, "ssh.no_shell",
			    "The device may have too many sessions, or allow this user no command "
			    "line.",
			    "%s gives no %s: %s", s->name, step == 1 ? "terminal" : "shell",
			    L.ssh_get_error(s->ssh));
		rc = session_wait_ssh(s, until);
		if (rc < 0)
			return rc;
		if (rc == 0)
			return prompt_timeout(s, s->pf->session.login_timeout_ms);
	}
	return TAKT_OK;
}

/* What is left of a prompt without its last sign: the host's name, as far as we know. */
static size_t
stem_length(const char *prompt)
{
	size_t n = strlen(prompt);
	if (n && strchr("#>$%]:", prompt[n - 1]))
		n--;
	return n;
}

static void
keep_prompt(struct takt_ssh *s, const char *p, size_t n)
{
	snprintf(s->prompt, sizeof(s->prompt), "%.*s", (int)n, p);
	s->stem_n = stem_length(s->prompt);
}

/* Ask for the prompt by an empty line until it is the same twice. */
static takt_rc
learn_prompt(struct takt_ssh *s)
{
	int limit = s->pf->session.login_timeout_ms;
	int64_t until = session_until(s, limit);
	char before[PROMPT_MAX_B + 1] = "";
	for (int i = 0; i < LEARN_ROUNDS; i++) {
		const char *p;
		size_t n;
		int64_t left = until - clock_monotonic_ms();
		/* A second look only confirms the first: it need not wait as long. */
		takt_rc rc = expect(s, is_any_prompt,
		    i ? s->pf->session.settle_ms : LOGIN_SETTLE_MS, left > 1 ? (int)left : 1);
		if (rc != TAKT_OK)
			return rc;
		last_line(s, &p, &n);
		keep_prompt(s, p, n);
		if (strcmp(before, s->prompt) == 0)
			return TAKT_OK;
		memcpy(before, s->prompt, sizeof(before));
		s->prompt[0] = 0;
		term_clear(&s->term);
		rc = write_all(s, "\n", 1, until);
		if (rc != TAKT_OK)
			return rc;
	}
	return session_fail(s, TAKT_E_UNSUPPORTED, "ssh.prompt_unstable",
	    "Give the account a prompt that does not change from line to line.",
	    "%s shows another prompt each time", s->name);
}

static takt_rc
enable_failed(struct takt_ssh *s, const char *why)
{
	return session_fail(s, TAKT_E_AUTH, "ssh.enable_failed",
	    "Give the credential the right enable secret, or use an account that needs none.",
	    "%s: the privileged mode is not reached: %s", s->name, why);
}

/* "enable" and its password, when the prompt shows that it is needed. */
static takt_rc
raise_privilege(struct takt_ssh *s)
{
	const struct platform *pf = s->pf;
	size_t n = strlen(s->prompt);
	if (!*pf->session.enable || !matches_whole(&pf->session.unprivileged, s->prompt, n))
		return TAKT_OK;
	const char *secret = session_secret(s, "enable");
	_cleanup_free_ char *sent = xasprintf("%s\n", pf->session.enable);
	_cleanup_free_ char *answer = xasprintf("%s\n", secret ? secret : "");
	int limit = pf->session.command_timeout_ms;
	int64_t until = session_until(s, limit);
	const char *p;
	term_clear(&s->term);
	takt_rc rc = write_all(s, sent, strlen(sent), until);
	if (rc == TAKT_OK)
		rc = expect(s, is_enable_prompt, pf->session.settle_ms, limit);
	if (rc != TAKT_OK)
		return rc;
	last_line(s, &p, &n);
	if (!is_host_prompt(s, p, n)) {
		if (!secret)
			return enable_failed(
			    s, "the device asks for a secret and the credential has none");
		term_clear(&s->term);
		rc = write_all(s, answer, strlen(answer), until);
		if (rc == TAKT_OK)
			rc = expect(s, is_enable_prompt, pf->session.settle_ms, limit);
		explicit_bzero(answer, strlen(answer));
	}
	if (rc != TAKT_OK)
		return rc;
	last_line(s, &p, &n);
	if (!is_host_prompt(s, p, n) || matches_whole(&pf->session.unprivileged, p, n))
		return enable_failed(s, "the device refused");
	keep_prompt(s, p, n);
	return TAKT_OK;
}

takt_rc
shell_open(struct takt_ssh *s)
{
	takt_rc rc = channel_open(s);
	if (rc == TAKT_OK)
		rc = learn_prompt(s);
	if (rc == TAKT_OK)
		rc = raise_privilege(s);
	for (size_t i = 0; rc == TAKT_OK && i < s->pf->session.setup.n; i++) {
		session_log(s, TAKT_LOG_DEBUG, "%s: %s", s->name, s->pf->session.setup.v[i]);
		rc = shell_command(s, s->pf->session.setup.v[i], 0);
		_cleanup_free_ char *refusal = rc == TAKT_OK ? shell_refusal(s) : NULL;
		if (refusal) /* a pager that stays on is answered */
			session_log(s, TAKT_LOG_WARNING, "%s refused '%s': %s", s->name,
			    s->pf->session.setup.v[i], refusal);
	}
	return rc;
}

void
shell_close(struct takt_ssh *s)
{
	if (!s->ch)
		return;
	if (*s->pf->session.logout && *s->prompt && L.ssh_channel_is_open(s->ch)) {
		L.ssh_channel_write(
		    s->ch, s->pf->session.logout, (uint32_t)strlen(s->pf->session.logout));
		L.ssh_channel_write(s->ch, "\n", 1);
	}
	L.ssh_channel_free(s->ch);
	s->ch = NULL;
}
