// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See log.h. One write(2) a line, so that lines of several processes do not mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/banned.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const domain_names[] = {
#define X(a, b) [LOG_##a] = b,
    LOG_DOMAINS(X)
#undef X
};

static struct {
	const char *role;
	enum log_level level;
	enum log_format format;
	bool is_debug;
	bool trace[LOG_DOMAIN_COUNT];
	struct {
		char key[12], value[64];
	} context[3];
} L = {.role = "takt", .level = LOG_INFO};

void
log_init(const char *role, enum log_level level, enum log_format format)
{
	L.role = role;
	L.level = L.is_debug ? LOG_DEBUG : level;
	L.format = format;
}

void
log_force_debug(void)
{
	L.is_debug = true;
	L.level = LOG_DEBUG;
}

int
log_level_parse(const char *s)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++)
		if (!strcmp(s, level_names[i]))
			return (int)i;
	return -1;
}

int
log_format_parse(const char *s)
{
	return !strcmp(s, "text") ? LOG_TEXT : !strcmp(s, "json") ? LOG_JSON : -1;
}

int
log_trace(const char *domains)
{
	for (const char *p = domains; *p;) {
		size_t n = strcspn(p, ","), i;

		for (i = 0; i < LOG_DOMAIN_COUNT; i++)
			if (strlen(domain_names[i]) == n && !strncmp(p, domain_names[i], n))
				break;
		if (i == LOG_DOMAIN_COUNT)
			return -1;
		L.trace[i] = true;
		p += n + (p[n] == ',');
	}
	return 0;
}

void
log_context(const char *key, const char *value)
{
	int free_slot = -1;

	for (int i = 0; i < (int)ARRAY_LEN(L.context); i++) {
		if (!strcmp(L.context[i].key, key)) {
			free_slot = i;
			break;
		}
		if (!L.context[i].key[0] && free_slot < 0)
			free_slot = i;
	}
	if (free_slot < 0)
		return;
	if (!value || !value[0]) {
		L.context[free_slot].key[0] = 0;
		return;
	}
	snprintf(L.context[free_slot].key, sizeof(L.context[0].key), "%s", key);
	snprintf(L.context[free_slot].value, sizeof(L.context[0].value), "%s", value);
}

/* Control bytes never reach a terminal or a JSON string: they are written as \xNN or \u00NN. */
static size_t
escape(char *out, size_t n, const char *in, bool json)
{
	size_t o = 0;

	for (const unsigned char *p = (const unsigned char *)in; *p && o + 7 < n; p++) {
		if (json && (*p == '"' || *p == '\\')) {
			out[o++] = '\\';
			out[o++] = (char)*p;
		} else if (*p < 0x20 || *p == 0x7f)
			o += (size_t)snprintf(out + o, n - o, json ? "\\u%04x" : "\\x%02x", *p);
		else
			out[o++] = (char)*p;
	}
	out[o] = 0;
	return o;
}

static void
vlog(enum log_level level, enum log_domain domain, const char *fmt, va_list ap)
{
	char msg[1500], esc[2000], line[2800], stamp[32];
	bool json = L.format == LOG_JSON;
	struct timespec ts;
	struct tm tm;
	size_t n = 0;

	vsnprintf(msg, sizeof(msg), fmt, ap);
	escape(esc, sizeof(esc), msg, json);
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n,
	    json ? "{\"at\":\"%s.%03ldZ\",\"level\":\"%s\",\"role\":\"%s\",\"pid\":%d,\"domain\":"
		   "\"%s\""
		 : "%s.%03ldZ %-5s %s[%d] %s:",
	    stamp, ts.tv_nsec / 1000000, level_names[level], L.role, (int)getpid(),
	    domain_names[domain]);
	for (size_t i = 0; i < ARRAY_LEN(L.context); i++)
		if (L.context[i].key[0])
			n += (size_t)snprintf(line + n, sizeof(line) - n,
			    json ? ",\"%s\":\"%s\"" : " %s=%s", L.context[i].key,
			    L.context[i].value);
	n += (size_t)snprintf(
	    line + n, sizeof(line) - n, json ? ",\"msg\":\"%s\"}\n" : " %s\n", esc);
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nobody left to tell */
}

void
log_at(enum log_level level, enum log_domain domain, const char *fmt, ...)
{
	va_list ap;

	if (level > L.level && !L.trace[domain])
		return;
	va_start(ap, fmt);
	vlog(level, domain, fmt, ap);
	va_end(ap);
}

void
log_fatal(enum log_domain domain, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_ERROR, domain, fmt, ap);
	va_end(ap);
	exit(1);
}

void
log_bug(enum log_domain domain, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_ERROR, domain, fmt, ap);
	va_end(ap);
	abort();
}
