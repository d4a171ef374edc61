// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * One backup: fetch, hold against the completeness rules, and, where the platform says `twice`,
 * fetch again until two fetches in a row are the same. A cut that happens to end in the right line
 * does not happen twice at the same place; what a device holds back and sends late is seen as text
 * before the next echo, or after the empty line that ends every backup.
 */
#include <stdlib.h>
#include <string.h>

#include "sdk/device/complete.h"
#include "sdk/device/normalise.h"
#include "sdk/device/session_priv.h"

#include "base/banned.h"

#define MAX_FETCHES 4

static takt_rc
incomplete(struct takt_ssh *s, const char *why)
{
	return session_fail(s, TAKT_E_TRANSIENT, "backup.incomplete",
	    "Nothing was stored; earlier snapshots stay. The rules are in section complete of the "
	    "platform's file.",
	    "the configuration of %s is not complete: %s", s->name, why);
}

/* Where the text begins when blank lines and the platform's heading lines are passed over. */
static size_t
skip_head(const struct platform *p, const char *t, size_t n)
{
	size_t at = 0;
	while (at < n) {
		const char *nl = memchr(t + at, '\n', n - at);
		size_t end = nl ? (size_t)(nl - t) : n, last = end;
		while (last > at && t[last - 1] == ' ')
			last--;
		if (last > at &&
		    !pattern_list_find(&p->backup.drop_head, t + at, last - at, NULL, NULL))
			break;
		at = nl ? end + 1 : n;
	}
	return at;
}

static void
add_output(struct takt_ssh *s, const char *command, struct buf *out)
{
	size_t from = skip_head(s->pf, s->out.p, s->out.n), to = s->out.n;
	const char *h = s->pf->backup.heading, *mark = strstr(h, "%s");
	while (to > from && (s->out.p[to - 1] == '\n' || s->out.p[to - 1] == ' '))
		to--;
	if (*h) {
		buf_add(out, h, mark ? (size_t)(mark - h) : strlen(h));
		buf_adds(out, mark ? command : "");
		buf_adds(out, mark ? mark + 2 : "");
		buf_addc(out, '\n');
	}
	buf_add(out, s->out.p + from, to - from);
	if (to > from)
		buf_addc(out, '\n');
}

static takt_rc
fetch(struct takt_ssh *s, struct buf *out)
{
	buf_clear(out);
	for (size_t i = 0; i < s->pf->backup.command.n; i++) {
		const char *command = s->pf->backup.command.v[i];
		session_log(s, TAKT_LOG_DEBUG, "%s: %s", s->name, command);
		takt_rc rc = shell_command(s, command, 0);
		if (rc != TAKT_OK)
			return rc;
		if (s->trail_b)
			return incomplete(s, "the prompt came back in the middle of a line");
		if (s->leftover_b)
			return incomplete(s, "more of it came after what looked like the prompt");
		_cleanup_free_ char *refusal = shell_refusal(s);
		if (refusal)
			return session_fail(s, TAKT_E_PERMANENT, "ssh.command_refused",
			    "Give the account the right to run it, or correct the platform's file.",
			    "%s refused '%s': %s", s->name, command, refusal);
		if (s->out.n)
			add_output(s, command, out);
		if (out->n > OUTPUT_MAX_B)
			return session_fail(s, TAKT_E_PERMANENT, "ssh.output_too_big", NULL,
			    "%s: the configuration has more than %u bytes", s->name, OUTPUT_MAX_B);
	}
	buf_add(out, "", 0);
	return TAKT_OK;
}

/* A whole text in s->exact and s->normalised. */
static takt_rc
fetch_whole(struct takt_ssh *s)
{
	char why[300];
	takt_rc rc = fetch(s, &s->exact);
	if (rc != TAKT_OK)
		return rc;
	if (!complete_check(s->pf, s->exact.p, s->exact.n, why, sizeof(why)))
		return incomplete(s, why);
	buf_clear(&s->normalised);
	normalise(s->pf, s->exact.p, s->exact.n, &s->normalised);
	return TAKT_OK;
}

/* Secrets are not in the normalised text, so the exact one is compared; only where lines change by
 * themselves is the other the better witness. */
static bool
is_same(const struct takt_ssh *s, const struct buf *exact, const struct buf *normalised)
{
	bool has_volatile = s->pf->normalise.drop.n > 0;
	const struct buf *a = has_volatile ? normalised : exact;
	const struct buf *b = has_volatile ? &s->normalised : &s->exact;
	return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
}

static takt_rc
fetch_twice(struct takt_ssh *s)
{
	takt_rc rc = fetch_whole(s);
	for (int i = 1; rc == TAKT_OK && i < MAX_FETCHES; i++) {
		_cleanup_buf_ struct buf exact = s->exact;
		_cleanup_buf_ struct buf normalised = s->normalised;
		s->exact = s->normalised = (struct buf){0};
		rc = fetch_whole(s);
		if (rc == TAKT_OK && is_same(s, &exact, &normalised))
			return TAKT_OK;
	}
	return rc == TAKT_OK ? incomplete(s, "no two fetches in a row gave the same text") : rc;
}

takt_rc
backup_fetch(struct takt_ssh *s)
{
	bool is_clean = false;
	takt_rc rc = s->pf->complete.twice ? fetch_twice(s) : fetch_whole(s);
	if (rc == TAKT_OK)
		rc = shell_sync(s, &is_clean);
	if (rc == TAKT_OK && !is_clean)
		rc = incomplete(s, "more of it came after what looked like the prompt");
	return rc;
}
