// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Hooks of what is secret: credentials are sealed to the engine's public key before they go to the
 * database, tokens are made here and stored as a hash. Plain secrets live in the request's body, its
 * JSON and one buffer, and are wiped in all three as soon as they are sealed.
 */
#include <sodium.h>
#include <string.h>

#include "base/id.h"
#include "base/jsonx.h"

#include "daemon/gateway/gateway_priv.h"
#include "daemon/gateway/request.h"

#include "seal/seal.h"

#include "base/banned.h"

extern const struct hook hook_credential_create, hook_credential_update, hook_token_create;

static const char *const secret_members[] = {"password", "private_key", "passphrase", "enable"};

/* Overwrite the text of every secret member: jansson frees without wiping. */
static void
wipe_body(struct request *r)
{
	for (size_t i = 0; i < ARRAY_LEN(secret_members); i++) {
		json_t *value = json_object_get(r->body, secret_members[i]);

		if (json_is_string(value))
			sodium_memzero(
			    (char *)(uintptr_t)json_string_value(value), json_string_length(value));
	}
	sodium_memzero(r->raw.p, r->raw.n);
	json_decref(r->body);
	r->body = NULL;
}

static int
public_key_of(const json_t *before, unsigned char key[SEAL_PUBLIC_B], struct err *e)
{
	const char *text = json_get_str(before, "public_key", NULL);
	size_t n = 0;

	if (text &&
	    sodium_base642bin(key, SEAL_PUBLIC_B, text, strlen(text), "\n", &n, NULL,
		sodium_base64_VARIANT_ORIGINAL) == 0 &&
	    n == SEAL_PUBLIC_B)
		return 0;
	err_set(e, ERR_TRANSIENT, "no engine has published its key yet, so nothing can be sealed");
	return err_hint(e, "Start an engine (taktd -x engine) once, then try again.");
}

/* The text that is sealed: it names what it belongs to, so that it cannot be moved to another row. */
static void
plain_text(
    const struct request *r, const char *id, int64_t version, struct buf *out, json_t *members)
{
	_cleanup_json_ json_t *secret = json_object();

	buf_addf(out, "{\"org\":\"%s\",\"id\":\"%s\",\"version\":%lld,\"secret\":{",
	    json_get_str(r->before, "org", ""), id, (long long)version);
	for (size_t i = 0; i < ARRAY_LEN(secret_members); i++) {
		json_t *value = json_object_get(r->body, secret_members[i]);
		char *text;

		if (!value)
			continue;
		text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		buf_addf(out, "%s\"%s\":", json_array_size(members) ? "," : "", secret_members[i]);
		buf_adds(out, text);
		sodium_memzero(text, strlen(text));
		free(text);
		json_array_append_new(members, json_string(secret_members[i]));
	}
	buf_adds(out, "}}");
}

/* {id, members, key_id, sealed, version} into r->prepared. */
static int
seal_members(struct request *r, const char *id, int64_t version, struct err *e)
{
	_cleanup_secret_ struct buf plain = {0};
	_cleanup_buf_ struct buf sealed = {0};
	_cleanup_json_ json_t *members = json_array();
	unsigned char key[SEAL_PUBLIC_B];
	_cleanup_free_ char *text = NULL;
	int rc = public_key_of(r->before, key, e);
	size_t size;

	if (rc < 0)
		return rc;
	buf_reserve(
	    &plain, r->raw.n * 2 + 512); /* never moved while it fills: a move would leave a copy */
	plain_text(r, id, version, &plain, members);
	rc = seal_to(key, plain.p, plain.n, &sealed, e);
	if (rc < 0)
		return rc;
	size = sodium_base64_encoded_len(sealed.n, sodium_base64_VARIANT_ORIGINAL);
	text = xmalloc(size);
	sodium_bin2base64(
	    text, size, (unsigned char *)sealed.p, sealed.n, sodium_base64_VARIANT_ORIGINAL);
	json_object_set_new(r->prepared, "id", json_string(id));
	json_object_set(r->prepared, "members", members);
	json_object_set(r->prepared, "key_id", json_object_get(r->before, "key_id"));
	json_object_set_new(r->prepared, "version", json_integer(version));
	json_object_set_new(r->prepared, "sealed", json_string(text));
	return 0;
}

static bool
has_secret(const struct request *r)
{
	for (size_t i = 0; i < ARRAY_LEN(secret_members); i++)
		if (json_object_get(r->body, secret_members[i]))
			return true;
	return false;
}

static void
copy_plain_members(struct request *r)
{
	static const char *const names[] = {"name", "username"};

	r->prepared = json_object();
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (json_object_get(r->body, names[i]))
			json_object_set(r->prepared, names[i], json_object_get(r->body, names[i]));
}

static int
check_members(const struct request *r, struct err *e)
{
	if (json_object_get(r->body, "passphrase") && !json_object_get(r->body, "private_key")) {
		err_set(e, ERR_INVALID, "a passphrase belongs to a private_key, and there is none");
		err_field(e, "/passphrase");
		return err_hint(e, "Send both; what is sealed cannot be completed later.");
	}
	return 0;
}

static int
credential_create(struct request *r, struct err *e)
{
	const char *id = json_get_str(r->body, "id", json_get_str(r->before, "id", ""));
	struct uuid uuid;
	int rc = check_members(r, e);

	copy_plain_members(r);
	if (rc == 0 && !uuid_parse(id, &uuid)) {
		rc = err_set(e, ERR_INVALID, "id is not a uuid");
		err_field(e, "/id");
	}
	if (rc == 0)
		rc = seal_members(r, uuid.s, 1, e);
	wipe_body(r);
	return rc;
}

static int
credential_update(struct request *r, struct err *e)
{
	int rc = check_members(r, e);

	copy_plain_members(r);
	if (rc == 0 && has_secret(r))
		rc = seal_members(r, json_get_str(r->before, "id", ""),
		    json_get_int(r->before, "version", 0) + 1, e);
	if (rc == 0)
		json_object_del(r->prepared, "id");
	wipe_body(r);
	return rc;
}

/* The token's text goes back once, kept in the request until then; the database gets its hash. */
static int
token_create(struct request *r, _unused_ struct err *e)
{
	unsigned char random[32], hash[crypto_hash_sha256_BYTES];
	char text[64] = "takt_", hex[2 * sizeof(hash) + 1];

	randombytes_buf(random, sizeof(random));
	sodium_bin2base64(text + 5, sizeof(text) - 5, random, sizeof(random),
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	r->prepared = json_copy(r->body);
	json_object_set_new(r->prepared, "hash", json_string(hex));
	r->before = json_pack("{s:s}", "token", text);
	sodium_memzero(random, sizeof(random));
	sodium_memzero(text, sizeof(text));
	return 0;
}

static int
token_shown(struct request *r, json_t *answer_body, _unused_ struct err *e)
{
	json_object_set(answer_body, "token", json_object_get(r->before, "token"));
	return 0;
}

const struct hook hook_credential_create = {credential_create, NULL};
const struct hook hook_credential_update = {credential_update, NULL};
const struct hook hook_token_create = {token_create, token_shown};
