// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Task type `backup`: fetches the configuration of one device and gives it back as two artifacts,
 * the exact text (sealed) and the normalised one without secrets (shown, searched, compared). How
 * to log in and what makes a configuration complete is the host's extension takt.ssh/1.
 */
#include <takt/plugin.h>
#include <takt/ssh.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STR(s) ((takt_str){(s), strlen(s)})

static const char schema[] =
    "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"type\":\"object\","
    "\"additionalProperties\":false,"
    "\"required\":[\"target_type\",\"target_id\",\"destination\"],\"properties\":{"
    "\"type\":{\"const\":\"backup\"},"
    "\"target_type\":{\"enum\":[\"device\",\"device_group\"],"
    "\"description\":\"what is backed up\"},"
    "\"target_id\":{\"type\":\"string\",\"format\":\"uuid\","
    "\"description\":\"id of the device or device group\"},"
    "\"destination\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":200,"
    "\"description\":\"label under which the snapshots are kept\"}}}";

static takt_rc
fail(const takt_host *host, takt_ctx *ctx, takt_rc rc, const char *code, const char *message)
{
	takt_err e = {
	    .struct_size = sizeof(e), .rc = rc, .code = STR(code), .message = STR(message)};
	return host->fail(ctx, &e);
}

static takt_rc
put_artifact(const takt_host *host, takt_ctx *ctx, const char *kind, const takt_ssh_backup *b,
    takt_str body, int is_secret)
{
	char meta[160];
	snprintf(meta, sizeof(meta),
	    "{\"captured_at_us\":%lld,\"duration_us\":%lld,\"size_b\":%zu}",
	    (long long)b->started_at_us, (long long)b->duration_us, body.n);
	return host->artifact(ctx, STR(kind), STR(meta), body.p, body.n, is_secret);
}

static size_t
count_lines(takt_str text)
{
	size_t n = 0;
	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] == '\n';
	return n;
}

/* Both bodies, then the result: a result without its configuration must not exist. */
static takt_rc
deliver(const takt_host *host, takt_ctx *ctx, const takt_ssh_backup *b)
{
	char line[160];
	takt_rc rc = put_artifact(host, ctx, "config", b, b->exact, 1);
	if (rc == TAKT_OK)
		rc = put_artifact(host, ctx, "config.normalised", b, b->normalised, 0);
	if (rc != TAKT_OK)
		return rc;
	snprintf(line, sizeof(line), "captured %zu bytes, %zu lines in %lld ms", b->exact.n,
	    count_lines(b->exact), (long long)(b->duration_us / 1000));
	host->log(ctx, TAKT_LOG_INFO, STR(line));
	snprintf(line, sizeof(line), "{\"size_b\":%zu,\"duration_ms\":%lld,\"lines\":%zu}",
	    b->exact.n, (long long)(b->duration_us / 1000), count_lines(b->exact));
	return host->result(ctx, STR(line));
}

static takt_rc
run(const takt_host *host, takt_ctx *ctx, takt_str params)
{
	(void)params; /* the target was resolved by the engine; destination is its label */
	const takt_ssh_1 *ssh = host->get_extension(ctx, TAKT_SSH_EXTENSION);
	if (!ssh)
		return fail(host, ctx, TAKT_E_UNSUPPORTED, "backup.no_ssh",
		    "this Takt does not offer takt.ssh/1");
	takt_ssh *s = NULL;
	takt_ssh_backup b = {.struct_size = sizeof(b)};
	host->progress(ctx, 0, 3, STR("connecting"));
	takt_rc rc = ssh->open(ctx, &s);
	if (rc != TAKT_OK)
		return rc;
	host->progress(ctx, 1, 3, STR("fetching the configuration"));
	rc = ssh->backup(s, &b);
	if (rc == TAKT_OK) {
		host->progress(ctx, 2, 3, STR("storing"));
		rc = deliver(host, ctx, &b);
	}
	ssh->close(s);
	if (rc == TAKT_OK)
		host->progress(ctx, 3, 3, STR("done"));
	return rc;
}

static const takt_task_type backup = {
    .struct_size = sizeof(takt_task_type),
    .targets = TAKT_TARGETS_EACH,
    .caps = TAKT_CAP_NET | TAKT_CAP_SECRETS | TAKT_CAP_ARTIFACTS,
    .id = "backup",
    .version = "1.0.0",
    .title = "Backup",
    .summary = "Fetches the configuration of each device and keeps it as a snapshot.",
    .params_schema = schema,
    .default_timeout_s = 300,
    .default_max_retries = 2,
    .default_retry_delay_s = 60,
    .recovery = TAKT_RECOVERY_RERUN,
    .run = run,
};

static const takt_task_type *const types[] = {&backup, NULL};
TAKT_PLUGIN("backup", "1.0.0", "The Takt authors", "Apache-2.0", types);
