// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The steps of a request (request.h has the list). Each step either answers or starts the next one;
 * those that wait for the database continue in a callback that carries its step's number.
 */
#include "daemon/gateway/request.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/id.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/guard.h"

#include "base/banned.h"

#define REQUEST_MAGIC 0x72657175u

/* How an error of ours becomes a status. */
static const struct {
	enum err_code code;
	int status;
	const char *name;
} codes[] = {
    {ERR_INVALID, 422, "invalid_body"},
    {ERR_NOT_FOUND, 404, "not_found"},
    {ERR_CONFLICT, 409, "conflict"},
    {ERR_DENIED, 403, "forbidden"},
    {ERR_TOO_BIG, 413, "too_big"},
    {ERR_TRANSIENT, 503, "unavailable"},
};

/* What the database's errors mean (err.field is the SQLSTATE). */
static const struct {
	const char *sqlstate;
	int status;
	const char *code;
} sqlstates[] = {
    {"TK401", 401, "unauthorized"}, {"TK403", 403, "forbidden"}, {"23505", 409, "conflict"},
    {"23503", 409, "in_use"},
    {"22P05", 422, "invalid_body"}, /* a character that the database cannot keep */
};

struct request *
request_new(struct gateway *gw, struct lws *wsi, const char *method, const char *url)
{
	struct request *r = xcalloc(1, sizeof(*r));

	r->magic = REQUEST_MAGIC;
	r->refs = 1;
	r->gw = gw;
	r->wsi = wsi;
	r->method = xstrdup(method);
	r->url = xstrdup(url);
	r->query = json_object();
	id_random_hex(r->id, 8);
	return r;
}

void
request_get(struct request *r)
{
	r->refs++;
}

static void
wipe_free(char **p)
{
	if (*p)
		sodium_memzero(*p, strlen(*p));
	free(take_ptr(p));
}

void
request_put(struct request *r)
{
	if (--r->refs)
		return;
	command_forget(r);
	if (r->raw.p)
		sodium_memzero(r->raw.p, r->raw.n);
	buf_fini(&r->raw);
	if (r->out.p)
		sodium_memzero(r->out.p, r->out.n); /* a new token's text is in one */
	buf_fini(&r->out);
	wipe_free(&r->token);
	free(r->method);
	free(r->url);
	free(r->if_match);
	free(r->idempotency_key);
	free(r->content_type);
	free(r->sql_body);
	free(r->etag);
	json_decref(r->path);
	json_decref(r->query);
	json_decref(r->body);
	json_decref(r->before);
	json_decref(r->prepared);
	r->magic = 0;
	free(r);
}

void
request_gone(struct request *r)
{
	r->wsi = NULL;
	request_put(r);
}

static void
refuse(struct request *r, const struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i].code == e->code) {
			answer_problem(r, codes[i].status, codes[i].name, e);
			return;
		}
	log_error(LOG_GATEWAY, "%s %s, request %s: %s", r->method, r->route ? r->route->path : "",
	    r->id, e->message);
	answer_refusal(r, 500, "internal",
	    "something is wrong with Takt itself; its log has request %s", r->id);
}

/* The transaction failed. A statement of ours that does not fit is told in the log, not to strangers. */
static void
refuse_database(struct request *r, const struct err *e)
{
	struct err plain = *e;

	plain.field[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(sqlstates); i++)
		if (!strcmp(sqlstates[i].sqlstate, e->field)) {
			answer_problem(r, sqlstates[i].status, sqlstates[i].code, &plain);
			return;
		}
	if (e->code == ERR_TRANSIENT) {
		log_warn(LOG_GATEWAY, "%s, request %s: %s", r->route->name, r->id, e->message);
		answer_refusal(r, 503, "unavailable", "the database does not answer; try again");
		return;
	}
	plain.code = ERR_BUG;
	refuse(r, &plain);
}

/* Step 1: the body, as JSON that the contract allows. */
static bool
check_body(struct request *r)
{
	struct err e = ERR_INIT;
	const char *type = r->content_type ? r->content_type : "";
	size_t n = strcspn(type, "; \t");

	if (!r->raw.n) {
		if (r->route->needs_body)
			answer_refusal(r, 422, "invalid_body", "a JSON body is needed");
		return !r->route->needs_body;
	}
	if (!r->route->body_schema) {
		answer_refusal(r, 400, "unexpected_body", "this operation takes no body");
		return false;
	}
	if (!(n == 16 && !strncasecmp(type, "application/json", n)) &&
	    !(r->route->takes_merge_patch && n == 28 &&
		!strncasecmp(type, "application/merge-patch+json", n))) {
		answer_refusal(
		    r, 415, "media_type", "the body must be application/json, not \"%.60s\"", type);
		return false;
	}
	r->body = json_parse(r->raw.p, r->raw.n, &json_limits_request, &e);
	if (!r->body) {
		answer_problem(r, e.code == ERR_TOO_BIG ? 413 : 400, "malformed_json", &e);
		return false;
	}
	if (route_check_body(r->route, r->body, &e) < 0) {
		refuse(r, &e);
		return false;
	}
	return true;
}

static bool
check_headers(struct request *r)
{
	size_t n;

	if (r->route->needs_if_match && !r->if_match) {
		answer_refusal(
		    r, 428, "if_match_needed", "If-Match is needed: the ETag last read, or *");
		return false;
	}
	if (r->if_match && !(r->route->needs_if_match || r->route->takes_if_match))
		free(take_ptr(&r->if_match));
	n = r->if_match ? strlen(r->if_match) : 0;
	if (n >= 2 && r->if_match[0] == '"' && r->if_match[n - 1] == '"') {
		memmove(r->if_match, r->if_match + 1, n - 2);
		r->if_match[n - 2] = '\0';
	}
	if (r->idempotency_key && !r->route->takes_idempotency_key)
		free(take_ptr(&r->idempotency_key));
	return true;
}

/* Path, query, headers and body; false: answered. */
static bool
check_all(struct request *r)
{
	struct err e = ERR_INIT;

	if (route_check_path(r->route, r->path, &e) < 0) {
		answer_problem(r, 400, "invalid_path", &e);
		return false;
	}
	if (route_check_query(r->route, r->query, &e) < 0) {
		answer_problem(r, 400, "invalid_query", &e);
		return false;
	}
	return check_headers(r) && check_body(r);
}

static void
request_hash(const struct request *r, char hex[65])
{
	crypto_hash_sha256_state s;
	unsigned char hash[32];

	crypto_hash_sha256_init(&s);
	crypto_hash_sha256_update(&s, (const unsigned char *)r->method, strlen(r->method) + 1);
	crypto_hash_sha256_update(&s, (const unsigned char *)r->url, strlen(r->url) + 1);
	crypto_hash_sha256_update(&s, (const unsigned char *)r->raw.p, r->raw.n);
	crypto_hash_sha256_final(&s, hash);
	sodium_bin2hex(hex, 65, hash, sizeof(hash));
}

/* The one parameter of every operation's statement. */
static char *
statement_argument(const struct request *r)
{
	_cleanup_json_ json_t *a = json_object();
	char hash[65];

	request_hash(r, hash);
	json_object_set(a, "path", r->path);
	json_object_set(a, "query", r->query);
	if (r->body)
		json_object_set(a, "body", r->body);
	if (r->prepared)
		json_object_set(a, "prepared", r->prepared);
	if (r->if_match)
		json_object_set_new(a, "if_match", json_string(r->if_match));
	if (r->idempotency_key)
		json_object_set_new(a, "idempotency_key", json_string(r->idempotency_key));
	json_object_set_new(a, "request_hash", json_string(hash));
	return json_text(a);
}

static bool
is_token_refused(const struct err *e)
{
	return e && !strcmp(e->field, "TK401");
}

/* The database has looked at the token. */
static void
learn(struct request *r, const struct err *e)
{
	r->is_unproven = false;
	if (!e || !strncmp(e->field, "TK4", 3))
		guard_learn(r->wsi, r->token, !is_token_refused(e));
}

static const char *
column(const PGresult *res, const char *name)
{
	int i = PQfnumber(res, name);

	return i < 0 || PQgetisnull(res, 0, i) ? NULL : PQgetvalue(res, 0, i);
}

static void
on_statement(void *arg, const PGresult *res, const struct err *e)
{
	struct request *r = arg;
	const char *text;

	if (e || PQntuples(res) != 1)
		return; /* an error comes again at the commit; no row leaves status 0 */
	r->sql_status = (int)store_int(res, 0, "status", 0);
	text = column(res, "body");
	free(r->sql_body);
	r->sql_body = text ? xstrdup(text) : NULL;
	text = column(res, "etag");
	free(r->etag);
	r->etag = text ? xstrdup(text) : NULL;
	text = column(res, "await");
	snprintf(r->await, sizeof(r->await), "%s", text ? text : "");
}

/* session, statement, commit: one round trip. */
static void
run_statement(struct request *r, enum sql_id id, store_cb *on_commit)
{
	char rank[2] = {(char)('0' + r->route->rank), '\0'};
	_cleanup_free_ char *argument = statement_argument(r);

	r->sql_status = 0;
	request_get(r);
	store_send(r->gw->db, SQL_API_SESSION,
	    (struct store_param[]){STORE_TEXT(r->token), STORE_TEXT(rank)}, 2, NULL, NULL);
	store_send(r->gw->db, id, (struct store_param[]){STORE_TEXT(argument)}, 1, on_statement, r);
	STORE_POINT_ONCE(r->gw->db, strcmp(r->method, "GET") ? "gateway" : NULL);
	store_sync(r->gw->db, on_commit, r);
	sodium_memzero(argument, strlen(argument));
}

/* Step 5: the engine or the statement has answered. */
void
request_finish(struct request *r, int status, const char *body)
{
	_cleanup_json_ json_t *j =
	    body ? json_parse(body, strlen(body), &json_limits_frame, NULL) : NULL;
	struct err e = ERR_INIT;

	if (status >= 400) {
		const json_t *first = json_array_get(json_object_get(j, "errors"), 0);

		e.code = ERR_INVALID;
		snprintf(e.message, sizeof(e.message), "%s",
		    json_get_str(j, "detail", json_get_str(j, "message", status_title(status))));
		snprintf(e.field, sizeof(e.field), "%s", json_get_str(first, "pointer", ""));
		snprintf(e.hint, sizeof(e.hint), "%s",
		    json_get_str(first, "hint", json_get_str(j, "hint", "")));
		answer_problem(r, status, json_get_str(j, "code", "refused"), &e);
		return;
	}
	if (r->route->hook && r->route->hook->finish) {
		if (r->route->hook->finish(r, j, &e) < 0)
			refuse(r, &e);
		if (r->is_answered)
			return;
	}
	/* what the statement answered goes out as it came, unless a hook took it apart */
	if (r->route->hook && r->route->hook->finish && j)
		answer_json(r, status, j);
	else
		answer(r, status, "application/json", body ? body : "{}", body ? strlen(body) : 2);
}

static void
request_4_on_commit(void *arg, _unused_ const PGresult *res, const struct err *e)
{
	struct request *r = arg;

	learn(r, e);
	if (e)
		refuse_database(r, e);
	else if (!r->sql_status)
		refuse(
		    r, &(struct err){.code = ERR_BUG, .message = "the statement gave no status"});
	else if (*r->await && r->wsi)
		command_await(r, r->await);
	else
		request_finish(r, r->sql_status, r->sql_body);
	request_put(r);
}

static void
on_proof(void *arg, _unused_ const PGresult *res, const struct err *e)
{
	struct request *r = arg;

	learn(r, e);
	if (e) {
		answer_take_back(r);
		refuse_database(r, e);
	} else if (r->wsi)
		lws_callback_on_writable(r->wsi);
	request_put(r);
}

/* The request is refused for what is in it. Only who may use the operation is told, so ask first. */
static void
prove(struct request *r)
{
	char rank[2] = {(char)('0' + r->route->rank), '\0'};

	request_get(r);
	store_send(r->gw->db, SQL_API_SESSION,
	    (struct store_param[]){STORE_TEXT(r->token), STORE_TEXT(rank)}, 2, NULL, NULL);
	store_sync(r->gw->db, on_proof, r);
}

/* Step 3: the hook, then the statement. */
void
request_execute(struct request *r)
{
	struct err e = ERR_INIT;

	if (r->route->hook && r->route->hook->prepare && r->route->hook->prepare(r, &e) < 0)
		refuse(r, &e);
	if (!r->is_answered && r->wsi)
		run_statement(r, r->route->sql, request_4_on_commit);
	else if (r->is_unproven)
		prove(r);
}

static void
request_2_on_read(void *arg, _unused_ const PGresult *res, const struct err *e)
{
	struct request *r = arg;

	learn(r, e);
	if (e)
		refuse_database(r, e);
	else if (r->sql_status >= 400)
		request_finish(r, r->sql_status, r->sql_body);
	else {
		r->before = r->sql_body ? json_parse(r->sql_body, strlen(r->sql_body),
					      &json_limits_frame, NULL)
					: NULL;
		request_execute(r);
	}
	request_put(r);
}

static const struct route *
find_route(struct request *r)
{
	static const char prefix[] = "/api/v1";
	static const char *const at_root[] = {
	    "/healthz", "/readyz", "/openapi.yaml", "/asyncapi.yaml"};
	const char *path = "";
	char allow[64];
	const struct route *route;

	if (!strncmp(r->url, prefix, sizeof(prefix) - 1))
		path = r->url + sizeof(prefix) - 1;
	for (size_t i = 0; i < ARRAY_LEN(at_root); i++)
		if (!strcmp(r->url, at_root[i]))
			path = r->url;
	route = route_find(r->method, path, &r->path, allow);
	if (route)
		return route;
	if (*allow)
		answer_refusal(
		    r, 405, "method", "%s does not take %s; it takes %s", r->url, r->method, allow);
	else
		answer_refusal(r, 404, "not_found",
		    "there is nothing at %.200s; GET /openapi.yaml lists all paths", r->url);
	return NULL;
}

void
request_start(struct request *r)
{
	r->is_started = true;
	r->route = find_route(r);
	if (!r->route)
		return;
	if (r->route->rank && !r->token) {
		answer_refusal(
		    r, 401, "unauthorized", "a token is needed: Authorization: Bearer takt_...");
		return;
	}
	if (r->route->sql == SQL_NONE) {
		if (check_all(r))
			r->route->hook->prepare(r, NULL);
		return;
	}
	if (!guard_allows(r->wsi, r->token)) {
		answer_refusal(r, 429, "too_many_failures",
		    "too many unknown tokens came from this address; wait ten seconds");
		return;
	}
	if (r->gw->is_stopping || !store_is_up(r->gw->db) ||
	    store_depth(r->gw->db) > DB_DEPTH_MAX) {
		answer_refusal(r, 503, "unavailable",
		    store_is_up(r->gw->db) ? "too much is waiting; try again"
					   : "the database cannot be reached; try again");
		return;
	}
	r->is_unproven = r->route->rank > 0;
	if (!check_all(r)) {
		if (r->is_unproven)
			prove(r);
	} else if (r->route->read != SQL_NONE)
		run_statement(r, r->route->read, request_2_on_read);
	else
		request_execute(r);
}
