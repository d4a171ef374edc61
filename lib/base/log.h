// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Logging to standard error, one line an entry, text or JSON. Domain first. The ids of what is
 * being worked on are attached from the current context (log_context), so callers do not repeat them.
 */
#pragma once

#include "base/cleanup.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* clang-format off */
#define LOG_DOMAINS(X) \
	X(MAIN, "main") X(STORE, "store") X(SCHEDULE, "schedule") X(QUEUE, "queue") \
	X(DISPATCH, "dispatch") X(RECORD, "record") X(GATEWAY, "gateway") X(FEED, "feed") \
	X(EXEC, "exec") X(ZYGOTE, "zygote") X(KEEPER, "keeper") X(PLUGIN, "plugin") \
	X(CLI, "cli") X(DEV, "dev")
/* clang-format on */

enum log_domain {
#define X(a, b) LOG_##a,
	LOG_DOMAINS(X)
#undef X
	    LOG_DOMAIN_COUNT
};

/* role: what this process calls itself in each line ("engine", "gateway", "keeper"); borrowed for good. */
void log_init(const char *role, enum log_level level, enum log_format format);
/* From here on the level is debug, whatever log_init() says: an option of the command
 * line stands above a file that is read again. */
void log_force_debug(void);
/* "error" | "warn" | "info" | "debug"; -1 if none of these. */
int log_level_parse(const char *s);
/* "text" | "json"; -1 if neither. */
int log_format_parse(const char *s);
/* Trace a comma-separated list of domains at debug level whatever the level is; -1 on an unknown name. */
int log_trace(const char *domains);
/* Attach "run", "unit" or "task" ids to every following line; NULL or "" clears. */
void log_context(const char *key, const char *value);

void log_at(enum log_level level, enum log_domain domain, const char *fmt, ...) _printf_(3, 4);

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/* This process cannot go on; it is restarted by its parent. Exits 1. */
_Noreturn void log_fatal(enum log_domain domain, const char *fmt, ...) _printf_(2, 3);
/* An invariant is broken: say so and abort. */
_Noreturn void log_bug(enum log_domain domain, const char *fmt, ...) _printf_(2, 3);
