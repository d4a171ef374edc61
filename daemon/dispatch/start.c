// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * What a unit needs: identity, parameters, target, known host keys, the opened credential. With a
 * credential in a memfd; without one the executor may get it as text and make that file. Opened secrets live in this file's buffers for the length of one call and are wiped.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>

#include "base/io.h"
#include "base/jsonx.h"
#include "base/jtext.h"

#include "daemon/dispatch/dispatch.h"
#include "daemon/engine/engine.h"
#include "daemon/engine/runs.h"
#include "seal/seal.h"

#include "base/banned.h"

#define INPUT_TEXT_MAX 60000u /* fits a frame beside what START says itself */

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

static void
add_identity(struct buf *doc, const struct unit *u)
{
	const struct run *r = u->run;

	jtext_open(doc, "identity", '{');
	jtext_str(doc, "run", r->id);
	jtext_str(doc, "task", r->task_id);
	jtext_int(doc, "attempt", r->attempt);
	jtext_int(doc, "epoch", r->epoch);
	jtext_int(doc, "unit", u->no);
	jtext_close(doc, '}');
}

static void
add_target(struct buf *doc, const struct unit *u)
{
	if (!u->device_id) {
		jtext_raw(doc, "target", "null");
		return;
	}
	jtext_open(doc, "target", '{');
	jtext_str(doc, "id", u->device_id);
	jtext_str(doc, "name", u->device_name);
	jtext_str(doc, "address", u->address);
	jtext_int(doc, "port", u->port);
	jtext_str(doc, "platform", u->platform);
	jtext_close(doc, '}');
}

/* Everything but the secret, which comes last; the object is left open. */
static void
add_document(struct buf *doc, const struct unit *u)
{
	const json_t *params = json_object_get(u->run->policy, "parameters");

	jtext_open(doc, NULL, '{');
	add_identity(doc, u);
	add_target(doc, u);
	if (params)
		jtext_json(doc, "params", params);
	else
		jtext_raw(doc, "params", "{}");
	jtext_open(doc, "host_key", '{');
	jtext_str(doc, "policy", u->host_key ? u->host_key : "strict");
	if (u->known)
		jtext_json(doc, "known", u->known);
	else
		jtext_raw(doc, "known", "[]");
	jtext_close(doc, '}');
}

static int
memfd_of(const struct buf *text, struct err *err)
{
	_cleanup_fd_ int fd = memfd_create("takt-start", MFD_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "memfd_create");
	if (io_write_all(fd, text->p, text->n) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "cannot write a memfd");
	return take_fd(&fd);
}

/* Room is made before a secret is written: a growing buffer would leave copies behind. */
static void
add_secret(struct buf *doc, const json_t *secret)
{
	static const char name[] = ",\"secret\":";
	size_t n = json_dumpb(secret, NULL, 0, JSON_COMPACT);

	buf_reserve(doc, sizeof(name) + n + 1);
	buf_adds(doc, name);
	json_dumpb(secret, doc->p + doc->n, n, JSON_COMPACT);
	doc->n += n;
	buf_addc(doc, '}');
}

int
start_input(struct engine *e, struct unit *u, struct start_input *input, struct err *err)
{
	_cleanup_secret_ struct buf doc = {0};
	json_t *secret = NULL;
	int rc = open_secret(e, u, &secret, err);

	if (rc < 0)
		return rc;
	add_document(&doc, u);
	add_secret(&doc, secret);
	wipe_json(secret);
	if (!u->sealed_hex && e->takes_input_text && doc.n <= INPUT_TEXT_MAX) {
		input->text = doc;
		doc = (struct buf){0};
		return 0;
	}
	rc = memfd_of(&doc, err);
	if (rc >= 0)
		input->fd = rc;
	return rc < 0 ? rc : 0;
}

void
start_input_fini(struct start_input *input)
{
	buf_fini(&input->text);
	if (input->fd >= 0)
		close(input->fd);
}
