// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The extension takt.ssh/1 and what all stages of a session share: binding, errors, waiting.
 * Called by the unit process through the vtable.
 */
#include "sdk/device/device.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jsonx.h"
#include "sdk/device/session_priv.h"

#include "base/banned.h"

/* One process is one unit. */
static struct {
	takt_ctx *ctx;
	const struct device_host *host;
} bound;

void
device_bind(takt_ctx *ctx, const struct device_host *host)
{
	bound.ctx = host ? ctx : NULL;
	bound.host = host;
}

static takt_str
str(const char *s)
{
	return (takt_str){s, s ? strlen(s) : 0};
}

takt_rc
session_fail(
    struct takt_ssh *s, takt_rc rc, const char *code, const char *hint, const char *fmt, ...)
{
	char message[1024], key[160];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	snprintf(key, sizeof(key), "dev:%s", s->name ? s->name : "");
	takt_err e = {.struct_size = sizeof(e),
	    .rc = rc,
	    .code = str(code),
	    .message = str(message),
	    .hint = str(hint),
	    .breaker_key = str(key)};
	return s->host->fail(s->host->arg, &e);
}

void
session_log(struct takt_ssh *s, int32_t level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	s->host->log(s->host->arg, level, line);
}

const char *
session_secret(struct takt_ssh *s, const char *name)
{
	size_t n = 0;
	const char *v = s->host->secret(s->host->arg, name, &n);
	return v && n ? v : NULL;
}

takt_rc
session_lost(struct takt_ssh *s, const char *doing)
{
	return session_fail(s, TAKT_E_TRANSIENT, "ssh.disconnected",
	    "See the device's log; it may have too many sessions.",
	    "%s ended the connection while %s", s->name, doing);
}

int64_t
session_until(struct takt_ssh *s, int ms)
{
	int64_t deadline = s->host->deadline_ms ? s->host->deadline_ms(s->host->arg) : -1;
	return clock_monotonic_ms() + (deadline >= 0 && deadline < ms ? deadline : ms);
}

static int
left_ms(int64_t until_ms)
{
	int64_t left = until_ms - clock_monotonic_ms();
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

int
session_wait(struct takt_ssh *s, int fd, bool want_write, int64_t until_ms)
{
	int cancel = s->host->cancel_fd ? s->host->cancel_fd(s->host->arg) : -1;
	struct pollfd p[2] = {
	    {.fd = fd, .events = (short)(POLLIN | (want_write ? POLLOUT : 0))},
	    {.fd = cancel, .events = POLLIN},
	};
	for (;;) {
		int ms = left_ms(until_ms), n = poll(p, 2, ms);
		if (n < 0 && errno != EINTR)
			return session_fail(
			    s, TAKT_E_INTERNAL, "ssh.poll", NULL, "poll: %s", strerror(errno));
		if (n > 0 && p[1].revents)
			return session_fail(s, TAKT_E_CANCELLED, "ssh.cancelled", NULL,
			    "asked to stop while talking to %s", s->name);
		if (ms == 0) /* also when it is ready for ever, as a closed socket is */
			return 0;
		if (n > 0)
			return 1;
	}
}

int
session_wait_ssh(struct takt_ssh *s, int64_t until_ms)
{
	return session_wait(
	    s, s->fd, (L.ssh_get_poll_flags(s->ssh) & SSH_WRITE_PENDING) != 0, until_ms);
}

bool
session_is_dead(const struct takt_ssh *s)
{
	/* Not `status != 0`: it also says that there is something to write. */
	return !L.ssh_is_connected(s->ssh) ||
	       (L.ssh_get_status(s->ssh) & (SSH_CLOSED | SSH_CLOSED_ERROR));
}

static void
session_free(struct takt_ssh *s)
{
	shell_close(s);
	if (s->ssh) {
		L.ssh_disconnect(s->ssh);
		L.ssh_free(s->ssh);
	}
	json_decref(s->target);
	term_fini(&s->term);
	buf_fini(&s->out);
	buf_fini(&s->exact);
	buf_fini(&s->normalised);
	free(s);
}

static takt_rc
read_target(struct takt_ssh *s)
{
	char names[512];
	const char *text = s->host->target_json ? s->host->target_json : "";
	s->target = *text ? json_parse(text, strlen(text), &json_limits_request, NULL) : NULL;
	s->name = json_get_str(s->target, "name", "the device");
	s->address = json_get_str(s->target, "address", NULL);
	s->port = (int)json_get_int(s->target, "port", 22);
	const char *platform = json_get_str(s->target, "platform", "");
	if (!s->address || !*s->address || s->port < 1 || s->port > 65535)
		return session_fail(s, TAKT_E_PARAMS, "device.no_target",
		    "Give the task a target, and the device an address.",
		    "this unit has no device to talk to");
	s->pf = platform_find(platform);
	if (!s->pf)
		return session_fail(s, TAKT_E_PARAMS, "device.platform_unknown",
		    "Change the device's platform, or add conf/platforms.d/NAME.conf.",
		    "%s: platform '%s' is not known; known are: %s", s->name, platform,
		    platform_names(names, sizeof(names)));
	return TAKT_OK;
}

static takt_rc
load(struct takt_ssh *s)
{
	struct err e = ERR_INIT;

	if (device_load(&e) == 0)
		return TAKT_OK;
	return session_fail(
	    s, TAKT_E_INTERNAL, "ssh.no_library", "Install libssh.", "%s", e.message);
}

static takt_rc
session_open(takt_ctx *ctx, takt_ssh **out)
{
	if (!bound.host || ctx != bound.ctx)
		return TAKT_E_INTERNAL;
	struct takt_ssh *s = xcalloc(1, sizeof(*s));
	s->host = bound.host;
	s->fd = -1;
	takt_rc rc = read_target(s);
	if (rc == TAKT_OK)
		rc = load(s);
	if (rc == TAKT_OK)
		rc = session_connect(s);
	if (rc == TAKT_OK)
		rc = session_login(s);
	if (rc == TAKT_OK)
		rc = shell_open(s);
	if (rc != TAKT_OK) {
		session_free(s);
		return rc;
	}
	*out = s;
	return TAKT_OK;
}

/* A command may hold a secret: of it only the first two words are told, and of what the device
 * says to it nothing that repeats it. */
static takt_rc
command_refused(struct takt_ssh *s, const char *line, const char *refusal)
{
	size_t words = strcspn(line, " ");
	words += strspn(line + words, " ");
	words += strcspn(line + words, " ");
	const char *echo = strstr(refusal, line);
	int n = echo ? (int)(echo - refusal) : (int)strcspn(refusal, ":");
	return session_fail(s, TAKT_E_PERMANENT, "ssh.command_refused", NULL,
	    "%s refused '%.*s%s': %.*s", s->name, (int)words, line, line[words] ? " …" : "", n,
	    refusal);
}

static takt_rc
session_command(takt_ssh *s, takt_str line, uint32_t timeout_ms, takt_str *output)
{
	if (line.n > 400 || memchr(line.p, '\n', line.n) || memchr(line.p, 0, line.n))
		return session_fail(s, TAKT_E_PARAMS, "ssh.bad_command",
		    "One line of at most 400 bytes.", "a command of %zu bytes is not sent", line.n);
	_cleanup_free_ char *text = xasprintf("%.*s", (int)line.n, line.p ? line.p : "");
	takt_rc rc = shell_command(s, text, timeout_ms);
	if (rc != TAKT_OK)
		return rc;
	_cleanup_free_ char *refusal = shell_refusal(s);
	if (refusal)
		return command_refused(s, text, refusal);
	*output = (takt_str){s->out.p, s->out.n};
	return TAKT_OK;
}

static takt_rc
session_backup(takt_ssh *s, takt_ssh_backup *out)
{
	int64_t from = clock_realtime_us(), from_ms = clock_monotonic_ms();
	takt_rc rc = backup_fetch(s);
	if (rc != TAKT_OK)
		return rc;
	out->exact = (takt_str){s->exact.p, s->exact.n};
	out->normalised = (takt_str){s->normalised.p, s->normalised.n};
	out->started_at_us = from;
	out->duration_us = (clock_monotonic_ms() - from_ms) * 1000;
	return TAKT_OK;
}

static void
session_close(takt_ssh *s)
{
	if (s)
		session_free(s);
}

const takt_ssh_1 *
device_ssh_extension(void)
{
	static const takt_ssh_1 ssh = {
	    .struct_size = sizeof(takt_ssh_1),
	    .open = session_open,
	    .command = session_command,
	    .backup = session_backup,
	    .close = session_close,
	};
	return &ssh;
}
