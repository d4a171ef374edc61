// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The gateway's main: listen, connect to the database, run the loop, drain. Called by daemon/main as
 * the role `gateway`. libwebsockets is a client of our loop and its context is destroyed once, at
 * the very end: destroying it earlier or twice crashes 4.1.6.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

#include "daemon/gateway/feed.h"
#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"
#include "daemon/main/roles.h"

#include "base/banned.h"

#define HEADERS_MAX_B 8192
#define HEADER_BUFFERS \
	512 /* connections whose head is being read or whose request is not answered */
#define HEAD_TIMEOUT_S 10
#define IDLE_TIMEOUT_S 60
#define DRAIN_S 5.0
#define DRAIN_STEP_S 0.05
#define TOKEN_CHECK_S 10.0
#define OWN_FILES 32 /* descriptors that are not strangers' */

static int
on_event(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t n)
{
	struct gateway *gw = lws_context_user(lws_get_context(wsi));

	switch (why) {
	case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
		return gw->conns >= gw->conns_max || gw->is_stopping;
	case LWS_CALLBACK_WSI_CREATE:
		gw->conns++;
		return 0;
	case LWS_CALLBACK_WSI_DESTROY:
		gw->conns--;
		return 0;
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		/* h2c would be answered by libwebsockets itself: nothing but websocket, ever */
		return in && !strcasecmp(in, "websocket") ? 0 : -1;
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return socket_filter(gw, wsi);
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_RECEIVE:
	case LWS_CALLBACK_SERVER_WRITEABLE:
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		return socket_event(gw, wsi, why, user, in, n);
	default:
		return http_event(gw, wsi, why, user, in, n);
	}
}

/* The first one takes HTTP and sockets without a subprotocol; what a client offers must be the second. */
static const struct lws_protocols protocols[] = {
    {"http", on_event, sizeof(struct session), 4096, 0, NULL, 0},
    {"phoenix", on_event, sizeof(struct session), 4096, 0, NULL, 0},
    {NULL, NULL, 0, 0, 0, NULL, 0},
};

static void
lws_log(int level, const char *line)
{
	log_at(level & LLL_ERR ? LOG_WARN : LOG_DEBUG, LOG_GATEWAY, "libwebsockets: %.*s",
	    (int)strcspn(line, "\n"), line);
}

/* Without a descriptor for it libwebsockets tries to accept the same connection again and again, and logs that each time. */
static unsigned
conns_max(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= CONNS_MAX + OWN_FILES)
		return CONNS_MAX;
	return files.rlim_cur > OWN_FILES ? (unsigned)files.rlim_cur - OWN_FILES : 1;
}

static int
listen_on(struct gateway *gw)
{
	const char *colon = strrchr(gw->conf->listen, ':');
	_cleanup_free_ char *host =
	    xasprintf("%.*s", colon ? (int)(colon - gw->conf->listen) : 0, gw->conf->listen);
	size_t n = strlen(host);
	void *loops[] = {gw->loop};
	struct lws_context_creation_info info = {
	    .port = colon ? atoi(colon + 1) : 0,
	    .protocols = protocols,
	    .options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS |
		       LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND,
	    .foreign_loops = loops,
	    .gid = (gid_t)-1,
	    .uid = (uid_t)-1,
	    .user = gw,
	    .max_http_header_data = HEADERS_MAX_B,
	    .max_http_header_pool = HEADER_BUFFERS,
	    .timeout_secs = HEAD_TIMEOUT_S,
	    .timeout_secs_ah_idle = HEAD_TIMEOUT_S,
	    .keepalive_timeout = IDLE_TIMEOUT_S,
	    .alpn = "http/1.1",
	    .server_string = "takt",
	};

	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		memmove(host, host + 1, n - 2);
		host[n - 2] = '\0';
	}
	info.iface = n ? host : NULL;
	lws_set_log_level(LLL_ERR | LLL_WARN, lws_log);
	gw->lws = lws_create_context(&info);
	if (!gw->lws) {
		log_error(LOG_GATEWAY,
		    "cannot listen on %s: is the address this host's, and the port free?",
		    gw->conf->listen);
		return -1;
	}
	return 0;
}

static void
on_db_up(_unused_ struct store *db, void *arg)
{
	catalog_refresh(arg);
	db_clock_refresh(arg);
	command_answered(arg);
}

static void
on_db_notify(
    _unused_ struct store *db, void *arg, const char *channel, _unused_ const char *payload)
{
	if (!strcmp(channel, "takt_plugins"))
		catalog_refresh(arg);
	else
		command_answered(arg);
}

/* Every statement that a route or this directory's code may send as takt_gateway. */
static enum sql_id *
statements_of_routes(void)
{
	static const enum sql_id others[] = {SQL_API_SESSION, SQL_API_LOAD_CATALOG,
	    SQL_API_COMMAND_ANSWER, SQL_API_JOIN_TOPIC, SQL_API_CLOCK};
	enum sql_id *ids = xcalloc(SQL_COUNT + 1, sizeof(*ids));
	bool seen[SQL_COUNT] = {[SQL_NONE] = true};
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_LEN(others) + 2 * routes_n; i++) {
		unsigned k = (i - (unsigned)ARRAY_LEN(others)) / 2;
		enum sql_id id = i < ARRAY_LEN(others) ? others[i]
				 : i % 2               ? routes[k].sql
						       : routes[k].read;

		if (!seen[id])
			ids[n++] = id;
		seen[id] = true;
	}
	ids[n] = SQL_NONE;
	return ids;
}

static void
open_database(struct gateway *gw)
{
	static const char *const channels[] = {"takt_answer", "takt_plugins", NULL};
	_cleanup_free_ enum sql_id *ids = statements_of_routes();

	gw->db = store_open(gw->loop,
	    &(struct store_conf){.conninfo = gw->conf->db,
		.role = "takt_gateway",
		.channels = channels,
		.statements = ids},
	    &(struct store_hooks){.on_up = on_db_up, .on_notify = on_db_notify, .arg = gw});
	gw->feed = feed_open(gw);
}

/* Until nothing is open or the time is over. */
static void
on_drain(struct ev_loop *loop, ev_timer *w, _unused_ int events)
{
	struct gateway *gw = w->data;

	gw->drains++;
	if ((!gw->socks && !gw->awaiting && !store_depth(gw->db)) ||
	    gw->drains > DRAIN_S / DRAIN_STEP_S)
		ev_break(loop, EVBREAK_ALL);
}

/* Orderly stop: no new work, sockets are told 1012 (their clients come back), a moment for answers. */
static void
on_stop(struct ev_loop *loop, ev_signal *w, _unused_ int events)
{
	struct gateway *gw = w->data;

	if (gw->is_stopping) {
		ev_break(loop, EVBREAK_ALL);
		return;
	}
	log_info(LOG_GATEWAY, "stopping");
	gw->is_stopping = true;
	socket_drain(gw);
	ev_timer_start(loop, &gw->drain);
}

static void
on_hup(_unused_ struct ev_loop *loop, ev_signal *w, _unused_ int events)
{
	const struct gateway *gw = w->data;
	struct err e = ERR_INIT;
	char text[512];
	_cleanup_conf_ struct conf *fresh = conf_load(gw->conf->file, &e);

	if (!fresh) {
		log_error(
		    LOG_GATEWAY, "keeping the configuration: %s", err_text(&e, text, sizeof(text)));
		return;
	}
	log_init("gateway", fresh->log_level, fresh->log_format);
	log_info(LOG_GATEWAY, "configuration read again");
}

static void
on_check_tokens(_unused_ struct ev_loop *loop, ev_timer *w, _unused_ int events)
{
	socket_check_tokens(w->data);
}

static void
watch(struct gateway *gw)
{
	ev_signal_init(&gw->term, on_stop, SIGTERM);
	ev_signal_init(&gw->intr, on_stop, SIGINT);
	ev_signal_init(&gw->hup, on_hup, SIGHUP);
	ev_timer_init(&gw->drain, on_drain, DRAIN_STEP_S, DRAIN_STEP_S);
	ev_timer_init(&gw->socks_check, on_check_tokens, TOKEN_CHECK_S, TOKEN_CHECK_S);
	gw->term.data = gw->intr.data = gw->hup.data = gw->drain.data = gw->socks_check.data = gw;
	ev_signal_start(gw->loop, &gw->term);
	ev_signal_start(gw->loop, &gw->intr);
	ev_signal_start(gw->loop, &gw->hup);
	ev_timer_start(gw->loop, &gw->socks_check);
	db_clock_start(gw);
}

static void
unwatch(struct gateway *gw)
{
	ev_signal_stop(gw->loop, &gw->term);
	ev_signal_stop(gw->loop, &gw->intr);
	ev_signal_stop(gw->loop, &gw->hup);
	ev_timer_stop(gw->loop, &gw->drain);
	ev_timer_stop(gw->loop, &gw->socks_check);
	db_clock_stop(gw);
}

int
gateway_main(const struct conf *conf, struct ev_loop *loop)
{
	struct gateway gw = {.loop = loop, .conf = conf, .conns_max = conns_max()};

	if (sodium_init() < 0)
		log_fatal(LOG_GATEWAY, "libsodium does not start");
	route_init();
	if (listen_on(&gw) < 0)
		_exit(
		    1); /* lws 4.1.6 leaks parts of a context it could not make; ours is not open yet */
	watch(&gw);
	open_database(&gw);
	log_info(LOG_GATEWAY, "listening on http://%s", conf->listen);
	ev_run(loop, 0);

	/* Callbacks of what is still waiting run inside of these two; their requests die with lws. */
	feed_close(gw.feed);
	store_close(gw.db);
	unwatch(&gw);
	lws_context_destroy(gw.lws);
	catalog_fini();
	route_fini();
	return 0;
}
