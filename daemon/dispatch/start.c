// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What a unit needs, in a memfd: identity, parameters, target, the opened credential, known host
 * keys. Opened secrets live in this file's buffers for the length of one call and are wiped.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>

#include "base/io.h"
#include "base/jsonx.h"

#include "daemon/dispatch/dispatch.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "seal/seal.h"

#include "base/banned.h"

/* jansson frees strings as they are; a secret's bytes go first. */
static void
wipe_json(json_t *secret)
{
	const char *key;
	json_t *value;

	json_object_foreach(secret, key, value) if (json_is_string(value))
	    explicit_bzero((char *)(uintptr_t)json_string_value(value), json_string_length(value));
	json_decref(secret);
}

/* The row's identity is sealed with the secret: a blob copied to another row does not open it. */
static int
check_owner(const json_t *opened, const struct unit *u, struct err *e)
{
	if (strcmp(json_get_str(opened, "org", ""), u->run->org_id) != 0 ||
	    strcmp(json_get_str(opened, "id", ""), u->credential_id) != 0 ||
	    json_get_int(opened, "version", -1) != u->credential_version)
		return err_set(e, ERR_DENIED, "credential %s holds another credential's secret",
		    u->credential_id);
	if (!json_is_object(json_object_get(opened, "secret")))
		return err_set(e, ERR_INVALID, "credential %s holds no secret", u->credential_id);
	return 0;
}

/* *secret: an object, {} without a credential. End it with wipe_json(). */
static int
open_secret(struct engine *e, const struct unit *u, json_t **secret, struct err *err)
{
	_cleanup_buf_ struct buf sealed = {0};
	_cleanup_secret_ struct buf plain = {0};

	if (!u->sealed_hex) {
		*secret = json_object();
		return 0;
	}
	size_t n = strlen(u->sealed_hex);
	buf_reserve(&sealed, n / 2 + 1);
	if (sodium_hex2bin(
		(unsigned char *)sealed.p, n / 2, u->sealed_hex, n, NULL, &sealed.n, NULL) != 0)
		return err_set(err, ERR_BUG, "credential %s is not in hex", u->credential_id);
	if (seal_open(e->seal, sealed.p, sealed.n, &plain, err) < 0)
		return err_push(err, "credential %s", u->credential_id);
	json_t *opened = json_parse(plain.p, plain.n, &json_limits_request, NULL);
	if (!opened)
		return err_set(
		    err, ERR_INVALID, "credential %s holds no document", u->credential_id);
	int rc = check_owner(opened, u, err);
	json_t *found = json_incref(json_object_get(opened, "secret"));
	json_decref(opened);
	/* The user name is no secret: it is in the row, beside what is sealed. */
	if (rc == 0 && u->username && *u->username)
		json_object_set_new(found, "username", json_string(u->username));
	if (rc < 0)
		wipe_json(found);
	else
		*secret = found;
	return rc;
}

static json_t *
target_json(const struct unit *u)
{
	if (!u->device_id)
		return json_null();
	return json_pack("{s:s,s:s,s:s,s:i,s:s}", "id", u->device_id, "name", u->device_name,
	    "address", u->address, "port", u->port, "platform", u->platform);
}

static json_t *
document(const struct unit *u, json_t *secret)
{
	const struct run *r = u->run;
	json_t *params = json_object_get(r->policy, "parameters");
	json_t *doc = json_pack("{s:{s:s,s:s,s:i,s:I,s:i},s:o,s:O}", "identity", "run", r->id,
	    "task", r->task_id, "attempt", r->attempt, "epoch", (json_int_t)r->epoch, "unit", u->no,
	    "target", target_json(u), "secret", secret);
	json_t *host_key = json_object();

	if (params)
		json_object_set(doc, "params", params);
	else
		json_object_set_new(doc, "params", json_object());
	json_object_set_new(host_key, "policy", json_string(u->host_key ? u->host_key : "strict"));
	if (u->known)
		json_object_set(host_key, "known", u->known);
	else
		json_object_set_new(host_key, "known", json_array());
	json_object_set_new(doc, "host_key", host_key);
	return doc;
}

int
start_memfd(struct engine *e, struct unit *u, struct err *err)
{
	json_t *secret = NULL;
	int rc = open_secret(e, u, &secret, err);

	if (rc < 0)
		return rc;
	json_t *doc = document(u, secret);
	/* Written into one buffer of the right size: a growing one would leave copies behind. */
	size_t n = json_dumpb(doc, NULL, 0, JSON_COMPACT);
	char *text = xmalloc(n + 1);
	json_dumpb(doc, text, n, JSON_COMPACT);
	json_decref(doc);
	wipe_json(secret);
	_cleanup_fd_ int fd = memfd_create("takt-start", MFD_CLOEXEC);
	if (fd < 0)
		rc = err_sys(err, "memfd_create");
	else if (io_write_all(fd, text, n) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		rc = err_sys(err, "cannot write a memfd");
	explicit_bzero(text, n);
	free(text);
	return rc < 0 ? rc : take_fd(&fd);
}
