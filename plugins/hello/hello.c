// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Task type `hello`: greets, in as many steps as asked for. The smallest whole plugin: parameters,
 * log, progress, cancellation, result. Uses the public headers and jansson, nothing of Takt's.
 */
#include <takt/plugin.h>

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STR(s) ((takt_str){(s), strlen(s)})

static const char schema[] =
    "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"type\":\"object\","
    "\"additionalProperties\":false,\"properties\":{"
    "\"type\":{\"const\":\"hello\"},"
    "\"name\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":200,\"default\":\"world\","
    "\"description\":\"who is greeted\"},"
    "\"steps\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100000,\"default\":1},"
    "\"step_ms\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":3600000,\"default\":0,"
    "\"description\":\"pause after each step, milliseconds\"}}}";

static takt_rc
fail(const takt_host *host, takt_ctx *ctx, takt_rc rc, const char *code, const char *message)
{
	takt_err e = {
	    .struct_size = sizeof(e), .rc = rc, .code = STR(code), .message = STR(message)};
	return host->fail(ctx, &e);
}

/* Sleeps, unless asked to stop. */
static int
pause_ms(const takt_host *host, takt_ctx *ctx, int ms)
{
	struct pollfd p = {.fd = host->cancel_fd(ctx), .events = POLLIN};
	if (ms > 0)
		poll(&p, 1, ms);
	return host->is_cancelled(ctx);
}

static takt_rc
greet(const takt_host *host, takt_ctx *ctx, const char *name, int steps, int step_ms)
{
	char line[256];
	for (int i = 1; i <= steps; i++) {
		snprintf(line, sizeof(line), "hello, %s (%d of %d)", name, i, steps);
		host->log(ctx, TAKT_LOG_INFO, STR(line));
		host->progress(ctx, (uint64_t)i, (uint64_t)steps, STR("greeting"));
		if (pause_ms(host, ctx, step_ms))
			return fail(
			    host, ctx, TAKT_E_CANCELLED, "hello.cancelled", "asked to stop");
	}
	return TAKT_OK;
}

static takt_rc
run(const takt_host *host, takt_ctx *ctx, takt_str params)
{
	json_t *p = json_loadb(params.p, params.n, 0, NULL);
	const char *name = json_string_value(json_object_get(p, "name"));
	json_t *steps = json_object_get(p, "steps");
	name = name ? name : "world";
	takt_rc rc = greet(host, ctx, name, steps ? (int)json_integer_value(steps) : 1,
	    (int)json_integer_value(json_object_get(p, "step_ms")));
	if (rc == TAKT_OK) {
		char greeting[256];
		snprintf(greeting, sizeof(greeting), "hello, %s", name);
		json_t *result = json_pack("{s:s}", "greeting", greeting);
		char *text = result ? json_dumps(result, JSON_COMPACT) : NULL;
		rc = text ? host->result(ctx, STR(text)) : TAKT_E_INTERNAL;
		free(text);
		json_decref(result);
	}
	json_decref(p);
	return rc;
}

static const takt_task_type hello = {
    .struct_size = sizeof(takt_task_type),
    .targets = TAKT_TARGETS_NONE,
    .id = "hello",
    .version = "1.0.0",
    .title = "Hello",
    .summary = "Greets, in as many steps as asked for; shows that the machinery works.",
    .params_schema = schema,
    .default_timeout_s = 60,
    .default_max_retries = 0,
    .default_retry_delay_s = 10,
    .recovery = TAKT_RECOVERY_RERUN,
    .run = run,
};

static const takt_task_type *const types[] = {&hello, NULL};
TAKT_PLUGIN("hello", "1.0.0", "The Takt authors", "Apache-2.0", types);
