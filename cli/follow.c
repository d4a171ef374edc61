// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See follow.h. Events come in order with gap-free numbers; the number of the last one printed is
 * the cursor of the next join, so a cut connection shows nothing twice and leaves nothing out. What
 * units write is fetched over REST when an event says that it grew.
 */
#include "cli/follow.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/event.h"
#include "cli/print.h"
#include "cli/socket.h"

#include "base/banned.h"

#define AWAY_MS 60000
#define RETRY_MS 500
#define UNITS_MAX 1024

/* What was printed of one unit's output. */
struct unit_output {
	int attempt, unit;
	int64_t off;
	int64_t to; /* what the last event said */
	bool is_inside_line;
	char device[101];
};

struct follow {
	struct cli *cli;
	const char *run_id;
	struct socket *socket;
	bool is_quiet;
	bool has_ended;
	int64_t last_seq;
	int64_t seen_ms;    /* when the daemon was last there */
	int64_t join_at_ms; /* a refused join is tried again then; 0: none planned */
	int ref;
	int code; /* an exit code that ends it */
	int attempt;
	struct unit_output out[UNITS_MAX];
	size_t outs;
};

static const char *const last_types[] = {
    "task_completed", "task_failed", "task_timed_out", "task_cancelled", "task_expired"};
static const char *const last_states[] = {
    "completed", "failed", "timed_out", "cancelled", "expired"};

static bool
is_in(const char *s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(s, list[i]) == 0)
			return true;
	return false;
}

static void
push(struct follow *f, const char *join_ref, const char *topic, const char *event, json_t *payload)
{
	_cleanup_json_ json_t *m = NULL;
	_cleanup_free_ char *text = NULL;
	char ref[16];

	snprintf(ref, sizeof(ref), "%d", ++f->ref);
	m = json_pack("[s?,s,s,s,o]", join_ref ? ref : NULL, ref, topic, event, payload);
	text = json_text(m);
	socket_send(f->socket, text);
}

static void
join(struct follow *f)
{
	_cleanup_free_ char *topic = xasprintf("run:%s", f->run_id);

	f->join_at_ms = 0;
	push(f, "", topic, "phx_join", json_pack("{s:I}", "since", (json_int_t)f->last_seq));
}

static void
on_open(void *arg)
{
	struct follow *f = arg;

	f->seen_ms = clock_monotonic_ms();
	join(f);
}

static void
on_beat(void *arg)
{
	push(arg, NULL, "phoenix", "heartbeat", json_object());
}

/* An event's unit is its number. */
static struct unit_output *
output_of(struct follow *f, int attempt, int unit)
{
	struct unit_output *o;

	for (size_t i = 0; i < f->outs; i++)
		if (f->out[i].attempt == attempt && f->out[i].unit == unit)
			return &f->out[i];
	if (f->outs == UNITS_MAX)
		return NULL;
	o = &f->out[f->outs++];
	*o = (struct unit_output){.attempt = attempt, .unit = unit};
	return o;
}

static void
note_output(struct follow *f, const char *type, const json_t *payload)
{
	struct unit_output *o;
	const char *device;

	if (strcmp(type, "attempt_started") == 0)
		f->attempt = (int)json_get_int(payload, "attempt", f->attempt);
	if (!json_is_integer(json_object_get(payload, "unit")))
		return;
	o = output_of(f, (int)json_get_int(payload, "attempt", f->attempt),
	    (int)json_get_int(payload, "unit", 0));
	if (!o)
		return;
	device = json_get_str(payload, "device", NULL);
	if (device)
		snprintf(o->device, sizeof(o->device), "%s", device);
	if (strcmp(type, "output") == 0)
		o->to = json_get_int(payload, "to", o->to);
}

static void
take_event(struct follow *f, const char *type, const json_t *payload)
{
	int64_t seq = json_get_int(payload, "seq", 0);

	/* Replayed once more after a reconnect: seen already. */
	if (seq <= f->last_seq)
		return;
	f->last_seq = seq;
	note_output(f, type, payload);
	if (!f->is_quiet && f->cli->is_json) {
		_cleanup_free_ char *text = json_text(payload);

		print_json_text(text);
	} else if (!f->is_quiet && strcmp(type, "output") != 0) {
		event_print(f->cli, type, payload);
	}
	fflush(stdout);
	f->has_ended |= is_in(type, last_types, ARRAY_LEN(last_types));
}

static void
take_join_reply(struct follow *f, const json_t *payload)
{
	const json_t *response = json_object_get(payload, "response"), *run;
	int64_t code = json_get_int(response, "code", 0);

	if (strcmp(json_get_str(payload, "status", ""), "ok") != 0) {
		/* A run whose command the engine has not answered yet is not there yet. */
		if (code == 404 || code == 429 || code >= 500) {
			f->join_at_ms = clock_monotonic_ms() + RETRY_MS;
			return;
		}
		fprintf(stderr, "takt: the daemon refuses: %s\n",
		    json_get_str(response, "reason", "?"));
		f->code = code == 401 || code == 403 ? CLI_DENIED : CLI_REFUSED;
		return;
	}
	f->seen_ms = clock_monotonic_ms();
	run = json_object_get(response, "snapshot");
	if (json_get_bool(response, "gap", 0) && !f->is_quiet)
		fputs("takt: some events are too old to be told again\n", stderr);
	if (is_in(json_get_str(run, "state", ""), last_states, ARRAY_LEN(last_states)) &&
	    (json_get_int(run, "last_event", 0) <= f->last_seq ||
		json_get_bool(response, "gap", 0)))
		f->has_ended = true;
}

static void
on_text(void *arg, const char *p, size_t n)
{
	struct follow *f = arg;
	_cleanup_json_ json_t *m = json_parse(p, n, &json_limits_frame, NULL);
	const char *topic = json_string_value(json_array_get(m, 2));
	const char *event = json_string_value(json_array_get(m, 3));
	const json_t *payload = json_array_get(m, 4);

	if (!topic || !event || strncmp(topic, "run:", 4) != 0)
		return;
	if (strcmp(event, "phx_reply") == 0)
		take_join_reply(f, payload);
	else if (strcmp(event, "phx_error") == 0)
		f->join_at_ms = clock_monotonic_ms() + RETRY_MS;
	else if (strcmp(event, "phx_close") == 0)
		f->code = CLI_DENIED;
	else
		take_event(f, event, payload);
}

/* Each line behind the unit's name; a line that is not finished goes on with the next piece. */
static void
print_output(struct follow *f, struct unit_output *o, const char *p, size_t n)
{
	char name[120];

	snprintf(name, sizeof(name), "%s", o->device);
	if (!*name)
		snprintf(name, sizeof(name), "unit %d", o->unit);
	while (n) {
		const char *nl = memchr(p, '\n', n);
		size_t len = nl ? (size_t)(nl - p) + 1 : n;

		if (!o->is_inside_line) {
			fputs("          ", stdout);
			print_line(f->cli, name);
			printf("%*s | ", strlen(name) < 16 ? (int)(16 - strlen(name)) : 0, "");
		}
		print_device_text(f->cli, p, len);
		o->is_inside_line = !nl;
		p += len;
		n -= len;
	}
	fflush(stdout);
}

static void
fetch_output(struct follow *f, struct unit_output *o)
{
	_cleanup_free_ char *path = xasprintf("/runs/%s/log?attempt=%d&unit=%d&offset=%lld",
	    f->run_id, o->attempt, o->unit, (long long)o->off);
	_cleanup_reply_ struct reply r = {0};
	const char *p;
	size_t n;

	if (api_send(f->cli, "GET", path, NULL, 0, &(struct call){.is_quiet = true}, &r) != CLI_OK)
		return;
	p = r.body.p;
	n = r.body.n;
	if (n > 4 && memcmp(p, "=== ", 4) == 0 && memchr(p, '\n', n)) {
		const char *line = memchr(p, '\n', n);

		n -= (size_t)(line + 1 - p);
		p = line + 1;
	}
	/* More may have come since the event: the next one tells of it. */
	if (n > (size_t)(o->to - o->off))
		n = (size_t)(o->to - o->off);
	if (n)
		print_output(f, o, p, n);
	o->off = o->to;
}

static void
fetch_outputs(struct follow *f)
{
	if (f->is_quiet || f->cli->is_json)
		return;
	for (size_t i = 0; i < f->outs; i++)
		if (f->out[i].to > f->out[i].off)
			fetch_output(f, &f->out[i]);
}

static void
step(struct follow *f)
{
	if (!socket_is_up(f->socket) && !socket_connect(f->socket)) {
		nanosleep(&(struct timespec){0, RETRY_MS * 1000000L}, NULL);
		return;
	}
	if (f->join_at_ms) {
		/* Nothing else is waited for while the run is not there. */
		nanosleep(&(struct timespec){0, RETRY_MS * 1000000L}, NULL);
		join(f);
	}
	socket_service(f->socket);
	if (!socket_is_up(f->socket))
		nanosleep(&(struct timespec){0, RETRY_MS * 1000000L}, NULL);
	else if (!f->join_at_ms)
		f->seen_ms = clock_monotonic_ms();
}

int
follow_run(struct cli *c, const char *run_id, bool is_quiet)
{
	struct follow *f = xcalloc(1, sizeof(*f));
	struct socket_hooks hooks = {on_open, on_text, on_beat, f};
	struct err e = ERR_INIT;
	int code;

	*f = (struct follow){.cli = c,
	    .run_id = run_id,
	    .is_quiet = is_quiet,
	    .attempt = 1,
	    .seen_ms = clock_monotonic_ms()};
	f->socket = socket_new(c->url, "/socket/websocket?vsn=2.0.0", c->token, &hooks, &e);
	if (!f->socket) {
		free(f);
		return cli_fail(&e);
	}
	while (!f->has_ended && !f->code) {
		step(f);
		fetch_outputs(f);
		if (clock_monotonic_ms() - f->seen_ms > AWAY_MS) {
			fprintf(
			    stderr, "takt: %s stayed away; the run goes on without us\n", c->url);
			f->code = CLI_SERVER;
		}
	}
	fetch_outputs(f);
	code = f->code;
	socket_free(f->socket);
	free(f);
	return code;
}
