/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Takt authors */
/*
 * Task types `witness`, `witness_each` and `witness_change`: write to a file of their own what really happened, so
 * that tests need not believe Takt's tables. Parameters: file, label, steps, step_ms, output_b
 * (bytes of filler per step), fail (text: the unit fails with it), rc, artifact_b, secret (an
 * artifact is secret), events, durable (0: no fsync), show_secret_length, fail_device (only that
 * device fails), fail_until_attempt (later attempts pass), config (given back as a backup
 * would; captured_at_us), until_file (no more steps once it exists).
 */
#include "params.h"

struct witness {
	const takt_host *host;
	takt_ctx *ctx;
	json_t *params, *identity, *target;
};

static void
note(const struct witness *w, const char *phase, int64_t step)
{
	json_t *j;
	char *text, line[4096];

	if (!*param_str(w->params, "file", ""))
		return;
	j = json_pack("{s:s, s:O?, s:O?, s:O?, s:O?, s:i, s:s, s:I, s:I, s:s}", "label",
	    param_str(w->params, "label", ""), "run", json_object_get(w->identity, "run"),
	    "attempt", json_object_get(w->identity, "attempt"), "epoch",
	    json_object_get(w->identity, "epoch"), "unit", json_object_get(w->identity, "unit"),
	    "pid", (int)getpid(), "phase", phase, "step", (json_int_t)step, "at",
	    (json_int_t)realtime_us(), "device", param_str(w->target, "name", ""));
	text = json_dumps(j, JSON_COMPACT);
	snprintf(line, sizeof(line), "%s\n", text ? text : "{}");
	append_line(
	    param_str(w->params, "file", ""), line, (int)param_int(w->params, "durable", 1));
	free(text);
	json_decref(j);
}

/* Numbered, so that a gap or a repeat shows. */
static void
print_step(const struct witness *w, int64_t step)
{
	int64_t filler = param_int(w->params, "output_b", 0);

	printf("%s step %lld ", param_str(w->params, "label", "unit"), (long long)step);
	for (int64_t i = 0; i < filler; i++)
		putchar('a' + (int)((step * 7 + i) % 26));
	putchar('\n');
	fflush(stdout);
}

static void
give_artifact(const struct witness *w)
{
	size_t n = (size_t)param_int(w->params, "artifact_b", 0);
	unsigned char *body = malloc(n + 1);

	for (size_t i = 0; body && i < n; i++)
		body[i] = (unsigned char)(i * 31 >> 3);
	if (body)
		w->host->artifact(w->ctx, (takt_str){"witness.body", 12},
		    (takt_str){"{\"a\":1}", 7}, body, n,
		    (int32_t)param_int(w->params, "secret", 0));
	free(body);
}

/* As `backup` gives one: the exact body as a secret, and the one to show. */
static void
give_config(const struct witness *w, const char *text)
{
	char text_meta[64];
	int n = snprintf(text_meta, sizeof(text_meta), "{\"captured_at_us\":%lld}",
	    (long long)param_int(w->params, "captured_at_us", 1795356123000000));
	takt_str meta = {text_meta, (size_t)n};

	w->host->artifact(w->ctx, (takt_str){"config", 6}, meta, text, strlen(text), 1);
	w->host->artifact(w->ctx, (takt_str){"config.normalised", 17}, meta, text, strlen(text), 0);
}

static takt_rc
run_steps(const struct witness *w)
{
	int64_t steps = param_int(w->params, "steps", 1);
	const char *until = param_str(w->params, "until_file", "");

	for (int64_t i = 1; i <= steps; i++) {
		note(w, "step", i);
		print_step(w, i);
		w->host->progress(w->ctx, (uint64_t)i, (uint64_t)steps, (takt_str){"step", 4});
		if (sleep_or_cancel(w->host, w->ctx, param_int(w->params, "step_ms", 0)))
			return TAKT_E_CANCELLED;
		if (*until && access(until, F_OK) == 0)
			break;
	}
	for (int64_t i = 0; i < param_int(w->params, "events", 0); i++)
		w->host->emit(w->ctx, (takt_str){"witness_event", 13}, TAKT_LOG_INFO,
		    (takt_str){"{\"n\":1}", 7});
	if (json_object_get(w->params, "artifact_b"))
		give_artifact(w);
	if (*param_str(w->params, "config", ""))
		give_config(w, param_str(w->params, "config", ""));
	if (param_int(w->params, "show_secret_length", 0)) {
		size_t n = 0;
		const char *s = w->host->secret(w->ctx, "password", &n);

		printf("password has %zu bytes, %s\n", n, s ? "given" : "absent");
	}
	return TAKT_OK;
}

static takt_rc
finish(const struct witness *w, takt_rc rc)
{
	const char *why = param_str(w->params, "fail", "");
	const char *only = param_str(w->params, "fail_device", "");
	int64_t until = param_int(w->params, "fail_until_attempt", INT64_MAX);
	takt_err err = {.struct_size = sizeof(err),
	    .code = {"witness.failed", 14},
	    .message = {why, strlen(why)},
	    .hint = {"as asked", 8}};

	w->host->result(w->ctx, (takt_str){"{\"seen\":true}", 13});
	if (rc != TAKT_OK || (!*why && !json_object_get(w->params, "rc")))
		return rc;
	if ((*only && strcmp(only, param_str(w->target, "name", "")) != 0) ||
	    json_integer_value(json_object_get(w->identity, "attempt")) > until)
		return TAKT_OK;
	err.rc = (takt_rc)param_int(w->params, "rc", TAKT_E_TRANSIENT);
	return err.rc < 0 ? w->host->fail(w->ctx, &err) : err.rc;
}

static takt_rc
witness_run(const takt_host *host, takt_ctx *ctx, takt_str params)
{
	takt_str id = host->identity_json(ctx), target = host->target_json(ctx);
	struct witness w = {.host = host,
	    .ctx = ctx,
	    .params = json_loadb(params.p, params.n, 0, NULL),
	    .identity = json_loadb(id.p, id.n, 0, NULL),
	    .target = target.n ? json_loadb(target.p, target.n, 0, NULL) : NULL};
	takt_rc rc;

	note(&w, "start", 0);
	rc = finish(&w, run_steps(&w));
	note(&w, rc == TAKT_E_CANCELLED ? "cancelled" : "end", 0);
	json_decref(w.params);
	json_decref(w.identity);
	json_decref(w.target);
	return rc;
}

static const char schema[] = "{\"type\":\"object\"}";

static const takt_task_type witness_type = {
    .struct_size = sizeof(takt_task_type),
    .targets = TAKT_TARGETS_NONE,
    .caps = TAKT_CAP_ARTIFACTS,
    .id = "witness",
    .version = "1.0.0",
    .title = "Witness",
    .summary = "Writes to a file of its own what really happened",
    .params_schema = schema,
    .default_timeout_s = 600,
    .default_max_retries = 0,
    .default_retry_delay_s = 1,
    .recovery = TAKT_RECOVERY_RERUN,
    .run = witness_run,
};

static const takt_task_type witness_each_type = {
    .struct_size = sizeof(takt_task_type),
    .targets = TAKT_TARGETS_EACH,
    .caps = TAKT_CAP_SECRETS | TAKT_CAP_ARTIFACTS,
    .id = "witness_each",
    .version = "1.0.0",
    .title = "Witness per device",
    .summary = "The same, once per device of its target",
    .params_schema = schema,
    .default_timeout_s = 600,
    .default_max_retries = 0,
    .default_retry_delay_s = 1,
    .recovery = TAKT_RECOVERY_FAIL,
    .run = witness_run,
};

static const takt_task_type witness_change_type = {
    .struct_size = sizeof(takt_task_type),
    .targets = TAKT_TARGETS_NONE,
    .caps = TAKT_CAP_CHANGES | TAKT_CAP_ARTIFACTS,
    .id = "witness_change",
    .version = "1.0.0",
    .title = "Witness of a change",
    .summary = "The same as one that changes something: no second start, none without a lease",
    .params_schema = schema,
    .default_timeout_s = 600,
    .default_max_retries = 0,
    .default_retry_delay_s = 1,
    .recovery = TAKT_RECOVERY_FAIL,
    .run = witness_run,
};

static const takt_task_type *const types[] = {
    &witness_type, &witness_each_type, &witness_change_type, NULL};

TAKT_PLUGIN("witness", "1.0.0", "Takt", "Apache-2.0", types);
