// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The host key against the keys that Takt knows for this device. There is no way to pass without
 * a check: a known key must match, and an unknown device is learned only by trust on first use.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/device/session_priv.h"

#include "base/banned.h"

#define FINGERPRINT_MAX 80

/* "SHA256:…" as ssh-keygen -l prints it, of a key blob in base64. */
static const char *
fingerprint(const char *base64, char out[FINGERPRINT_MAX])
{
	unsigned char blob[8192], h[crypto_hash_sha256_BYTES];
	char text[64];
	size_t n = 0;
	if (sodium_base642bin(blob, sizeof(blob), base64, strlen(base64), " \n", &n, NULL,
		sodium_base64_VARIANT_ORIGINAL))
		return "(not a key)";
	crypto_hash_sha256(h, blob, n);
	sodium_bin2base64(
	    text, sizeof(text), h, sizeof(h), sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	snprintf(out, FINGERPRINT_MAX, "SHA256:%s", text);
	return out;
}

static bool
allows_sha1_rsa(const struct platform *p)
{
	for (size_t i = 0; i < p->ssh.host_keys.n; i++)
		if (strcmp(p->ssh.host_keys.v[i], "ssh-rsa") == 0)
			return true;
	return false;
}

void
hostkey_pin(struct takt_ssh *s, struct buf *out)
{
	for (size_t i = 0; i < s->host->known_n; i++) {
		const char *type = s->host->known[i].key_type;
		const char *comma = out->n ? "," : "";
		if (strcmp(type, "ssh-rsa") == 0)
			buf_addf(out, "%srsa-sha2-512,rsa-sha2-256%s", comma,
			    allows_sha1_rsa(s->pf) ? ",ssh-rsa" : "");
		else
			buf_addf(out, "%s%s", comma, type);
	}
}

static takt_rc
refuse_changed(struct takt_ssh *s, const char *type, const char *fp)
{
	char known[512] = "", one[FINGERPRINT_MAX];
	size_t at = 0;
	for (size_t i = 0; i < s->host->known_n && at < sizeof(known); i++)
		at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s %s", i ? ", " : "",
		    s->host->known[i].key_type, fingerprint(s->host->known[i].public_key, one));
	return session_fail(s, TAKT_E_AUTH, "ssh.host_key_changed",
	    "If the device was replaced or its key renewed, forget its host keys; otherwise "
	    "somebody "
	    "may stand between.",
	    "the host key of %s changed: known is %s, it now shows %s %s", s->name, known, type,
	    fp);
}

static takt_rc
judge(struct takt_ssh *s, const char *type, const char *key)
{
	char fp_buf[FINGERPRINT_MAX];
	const char *fp = fingerprint(key, fp_buf);
	for (size_t i = 0; i < s->host->known_n; i++)
		if (strcmp(s->host->known[i].key_type, type) == 0 &&
		    strcmp(s->host->known[i].public_key, key) == 0)
			return TAKT_OK;
	if (s->host->known_n)
		return refuse_changed(s, type, fp);
	if (s->host->is_strict)
		return session_fail(s, TAKT_E_AUTH, "ssh.host_key_unknown",
		    "Compare the fingerprint with the device's and give the key to the device's "
		    "entry, or "
		    "allow trust on first use.",
		    "no host key of %s is known and the policy is strict; it shows %s %s", s->name,
		    type, fp);
	session_log(s, TAKT_LOG_NOTICE, "trusting the host key of %s on first use: %s %s", s->name,
	    type, fp);
	if (s->host->host_key_learned)
		s->host->host_key_learned(s->host->arg, type, key, fp);
	return TAKT_OK;
}

takt_rc
hostkey_check(struct takt_ssh *s)
{
	ssh_key key = NULL;
	char *base64 = NULL;
	if (L.ssh_get_server_publickey(s->ssh, &key) != SSH_OK)
		return session_lost(s, "showing its host key");
	const char *type = L.ssh_key_type_to_char(L.ssh_key_type(key));
	takt_rc rc;
	if (!type || L.ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
		rc = session_fail(s, TAKT_E_UNSUPPORTED, "ssh.host_key_unreadable", NULL,
		    "%s shows a host key that libssh cannot write", s->name);
	else
		rc = judge(s, type, base64);
	free(base64);
	L.ssh_key_free(key);
	return rc;
}
