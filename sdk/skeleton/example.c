// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A task type to start from: counts the words of a text. Change the id, the schema and run().
 * This one file is all there is; it needs takt/plugin.h and no library.
 */
#include <takt/plugin.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define STR(s) ((takt_str){(s), strlen(s)})

/* What a task gives as `parameters`: checked before run() is called, and a form is made of it. */
static const char schema[] = "{\"type\":\"object\",\"additionalProperties\":false,"
			     "\"required\":[\"text\"],\"properties\":{"
			     "\"type\":{\"const\":\"example\"},"
			     "\"text\":{\"type\":\"string\",\"maxLength\":10000,"
			     "\"description\":\"whose words are counted\"}}}";

static unsigned
count_words(takt_str s)
{
	unsigned words = 0;
	int in_word = 0;
	for (size_t i = 0; i < s.n; i++) {
		int is_letter = isalpha((unsigned char)s.p[i]) != 0;
		words += is_letter && !in_word;
		in_word = is_letter;
	}
	return words;
}

/* params is the task's `parameters` as JSON text; parse it with the library of your choice. */
static takt_rc
run(const takt_host *host, takt_ctx *ctx, takt_str params)
{
	char result[64];
	if (host->is_cancelled(ctx))
		return TAKT_E_CANCELLED;
	host->log(ctx, TAKT_LOG_INFO, STR("counting"));
	snprintf(result, sizeof(result), "{\"words\":%u}", count_words(params));
	return host->result(ctx, STR(result));
}

static const takt_task_type example = {
    .struct_size = sizeof(takt_task_type),
    .targets = TAKT_TARGETS_NONE,
    .id = "example",
    .version = "0.1.0",
    .title = "Example",
    .summary = "Counts the words of its parameters.",
    .params_schema = schema,
    .default_timeout_s = 60,
    .default_max_retries = 0,
    .default_retry_delay_s = 10,
    .recovery = TAKT_RECOVERY_RERUN,
    .run = run,
};

static const takt_task_type *const types[] = {&example, NULL};
TAKT_PLUGIN("example", "0.1.0", "you", "Apache-2.0", types);
