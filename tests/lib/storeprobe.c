// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * storeprobe CONNINFO ROLE [CHANNEL...]: drives daemon/store from a test. Each line of standard
 * input is one transaction, {"tag":"a","tx":[["put","1","x"],["div","0"]]}, or with "sync":false the
 * beginning of one; everything that the store reports is one JSON line on standard output. End of input closes the store.
 *
 * It brings a statement table of its own (schema probe, see test_31_store_connection.py), which
 * takes the place of the generated one at link time.
 */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/store/store.h"

#include "base/banned.h"

#define PUT ((enum sql_id)1)
#define DIV ((enum sql_id)2)
#define RAISE ((enum sql_id)3)
#define NOTIFY ((enum sql_id)4)
#define PID ((enum sql_id)5)
#define BYTES ((enum sql_id)6)

_Static_assert(SQL_COUNT > 6, "the probe's statements need as many ids");

const struct sql_statement sql_statements[SQL_COUNT] = {
    [PUT] = {"put", "insert into probe.t values ($1::int, $2::text) returning n, v", 2},
    [DIV] = {"div", "select 1 / $1::int as q", 1},
    [RAISE] = {"raise", "select probe.raise($1, $2)", 2},
    [NOTIFY] = {"notify", "select pg_notify($1, $2)", 2},
    [PID] = {"pid", "select pg_backend_pid() as pid", 0},
    [BYTES] = {"bytes",
	"select length($1::bytea) as n, encode($1, 'hex') as hex, $2::text is null as is_null", 2},
};
const struct sql_migration sql_migrations[] = {{0, NULL, NULL}};

struct reply {
	char tag[40];
	int i; /* -1: the sync */
};

static struct ev_loop *loop;
static struct store *store;
static struct buf input;

static void
print_line(json_t *take_j)
{
	_cleanup_free_ char *text = json_text(take_j);

	puts(text);
	fflush(stdout);
	json_decref(take_j);
}

static void
on_answer(void *arg, const PGresult *res, const struct err *e)
{
	struct reply *reply = arg;
	json_t *j = json_pack("{s:s, s:i}", "tag", reply->tag, "i", reply->i);

	if (e) {
		json_object_set_new(j, "code", json_integer(e->code));
		json_object_set_new(j, "state", json_string(e->field));
		json_object_set_new(j, "message", json_string(e->message));
	} else {
		json_t *rows = json_array();

		for (int r = 0; r < PQntuples(res); r++) {
			json_t *row = json_array();

			for (int c = 0; c < PQnfields(res); c++)
				json_array_append_new(row, json_string(PQgetvalue(res, r, c)));
			json_array_append_new(rows, row);
		}
		json_object_set_new(j, "rows", rows);
		json_object_set_new(j, "status", json_string(PQresStatus(PQresultStatus(res))));
	}
	print_line(j);
	free(reply);
}

static struct reply *
reply_new(const char *tag, int i)
{
	struct reply *reply = xcalloc(1, sizeof(*reply));

	snprintf(reply->tag, sizeof(reply->tag), "%s", tag);
	reply->i = i;
	return reply;
}

static void
send_statement(const char *tag, int i, json_t *statement)
{
	const char *name = json_string_value(json_array_get(statement, 0));
	struct store_param params[4];
	size_t n = json_array_size(statement) - 1;
	enum sql_id id = PUT;

	while (strcmp(sql_statements[id].name, name) != 0)
		id++;
	for (size_t p = 0; p < n && p < ARRAY_LEN(params); p++) {
		json_t *v = json_array_get(statement, p + 1);

		params[p] = json_is_null(v) ? STORE_NULL : STORE_TEXT(json_string_value(v));
		if (id == BYTES && p == 0)
			params[p] = STORE_BYTES("\0\1\2\xff", 4);
	}
	store_send(store, id, params, (int)n, on_answer, reply_new(tag, i));
}

static void
do_line(const char *line, size_t n)
{
	struct err e = ERR_INIT;
	_cleanup_json_ json_t *j = json_parse(line, n, &json_limits_frame, &e);
	const char *tag = json_get_str(j, "tag", "");
	json_t *statement;
	size_t i;

	if (!j)
		log_fatal(LOG_STORE, "bad line: %s", e.message);
	for (int64_t times = json_get_int(j, "times", 1); times > 0; times--) {
		json_array_foreach(json_object_get(j, "tx"), i, statement)
		    send_statement(tag, (int)i, statement);
		if (json_get_bool(j, "sync", true))
			store_sync(store, on_answer, reply_new(tag, -1));
	}
}

static void
on_input(struct ev_loop *l, ev_io *w, int revents)
{
	char chunk[65536];
	ssize_t r = read(w->fd, chunk, sizeof(chunk));
	char *nl;

	(void)revents;
	if (r <= 0) {
		ev_io_stop(l, w);
		store_close(store);
		return;
	}
	buf_add(&input, chunk, (size_t)r);
	while (input.n && (nl = memchr(input.p, '\n', input.n))) {
		do_line(input.p, (size_t)(nl - input.p));
		buf_shift(&input, (size_t)(nl - input.p) + 1);
	}
}

static void
on_up(struct store *s, void *arg)
{
	(void)arg;
	print_line(json_pack("{s:b, s:b}", "up", 1, "is_up", store_is_up(s)));
}

static void
on_down(struct store *s, void *arg)
{
	(void)arg;
	print_line(json_pack("{s:b, s:i}", "down", 1, "depth", (int)store_depth(s)));
}

static void
on_notify(struct store *s, void *arg, const char *channel, const char *payload)
{
	(void)s;
	(void)arg;
	print_line(json_pack("{s:[s, s]}", "notify", channel, payload));
}

int
main(int argc, char **argv)
{
	static const enum sql_id all[] = {PUT, DIV, RAISE, NOTIFY, PID, BYTES, SQL_NONE};
	const struct store_hooks hooks = {
	    .on_up = on_up, .on_down = on_down, .on_notify = on_notify};
	struct store_conf conf = {.statements = all};
	ev_io in;

	if (argc < 3)
		return 64;
	conf.conninfo = argv[1];
	conf.role = argv[2];
	conf.channels = (const char *const *)argv + 3;
	log_init("probe", LOG_INFO, LOG_TEXT);
	loop = ev_default_loop(0);
	store = store_open(loop, &conf, &hooks);
	ev_io_init(&in, on_input, STDIN_FILENO, EV_READ);
	ev_io_start(loop, &in);
	ev_run(loop, 0); /* ends by itself only if store_close() left no watcher behind */
	print_line(json_pack("{s:b}", "closed", 1));
	buf_fini(&input);
	return 0;
}
