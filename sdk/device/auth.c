// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Authentication: what the device offers, in the order public key, password, keyboard-interactive,
 * each at most once. A refused password is not offered again by another method: that would count
 * twice on devices that lock accounts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "sdk/device/session_priv.h"

#include "base/banned.h"

#define MAX_ROUNDS 16

typedef int auth_step(struct takt_ssh *s, void *arg);

/* Call step until libssh needs no more input. SSH_AUTH_*, or a negative code recorded. */
static int
auth_drive(struct takt_ssh *s, auth_step *step, void *arg)
{
	int64_t until = session_until(s, s->pf->session.login_timeout_ms);
	int rc;
	while ((rc = step(s, arg)) == SSH_AUTH_AGAIN) {
		int w = session_wait_ssh(s, until);
		if (w < 0)
			return w;
		if (session_is_dead(s))
			return SSH_AUTH_ERROR;
		if (w == 0)
			return session_fail(s, TAKT_E_TIMEOUT, "ssh.login_timeout",
			    "The device may be waiting for its authentication server.",
			    "%s did not answer the login within %d ms", s->name,
			    s->pf->session.login_timeout_ms);
	}
	/* SSH_AUTH_ERROR is -1; our own codes are below -99. */
	return rc;
}

static int
step_none(struct takt_ssh *s, void *arg _unused_)
{
	return L.ssh_userauth_none(s->ssh, NULL);
}

static int
step_publickey(struct takt_ssh *s, void *key)
{
	return L.ssh_userauth_publickey(s->ssh, NULL, key);
}

static int
step_password(struct takt_ssh *s, void *password)
{
	return L.ssh_userauth_password(s->ssh, NULL, password);
}

static int
step_kbdint(struct takt_ssh *s, void *arg _unused_)
{
	return L.ssh_userauth_kbdint(s->ssh, NULL, NULL);
}

static int
try_none(struct takt_ssh *s)
{
	return auth_drive(s, step_none, NULL);
}

static int
try_publickey(struct takt_ssh *s)
{
	ssh_key key = NULL;
	if (L.ssh_pki_import_privkey_base64(session_secret(s, "private_key"),
		session_secret(s, "passphrase"), NULL, NULL, &key) != SSH_OK)
		return session_fail(s, TAKT_E_AUTH, "ssh.bad_private_key",
		    "Give a private key in PEM or OpenSSH form, with its passphrase.",
		    "the private key of the credential for %s cannot be read", s->name);
	int rc = auth_drive(s, step_publickey, key);
	L.ssh_key_free(key);
	return rc;
}

static int
try_password(struct takt_ssh *s)
{
	return auth_drive(s, step_password, (void *)(uintptr_t)session_secret(s, "password"));
}

/* A prompt whose answer is shown asks for a name, any other for the password. */
static int
answer_round(struct takt_ssh *s)
{
	int n = L.ssh_userauth_kbdint_getnprompts(s->ssh);
	for (int i = 0; i < n; i++) {
		char is_shown = 0;
		const char *prompt =
		    L.ssh_userauth_kbdint_getprompt(s->ssh, (unsigned)i, &is_shown);
		bool is_name = is_shown && prompt &&
			       (strcasestr(prompt, "user") || strcasestr(prompt, "login"));
		const char *answer = session_secret(s, is_name ? "username" : "password");
		if (L.ssh_userauth_kbdint_setanswer(s->ssh, (unsigned)i, answer ? answer : "") < 0)
			return SSH_AUTH_ERROR;
	}
	return SSH_AUTH_INFO;
}

static int
try_kbdint(struct takt_ssh *s)
{
	int rc = auth_drive(s, step_kbdint, NULL);
	for (int i = 0; rc == SSH_AUTH_INFO && i < MAX_ROUNDS; i++) {
		rc = answer_round(s);
		if (rc == SSH_AUTH_INFO)
			rc = auth_drive(s, step_kbdint, NULL);
	}
	return rc == SSH_AUTH_INFO ? SSH_AUTH_DENIED : rc;
}

static const struct method {
	int bit;
	const char *name;
	const char *secret;
	int excludes; /* methods that send the same secret */
	int (*try_it)(struct takt_ssh *);
} methods[] = {
    {SSH_AUTH_METHOD_PUBLICKEY, "publickey", "private_key", SSH_AUTH_METHOD_PUBLICKEY,
	try_publickey},
    {SSH_AUTH_METHOD_PASSWORD, "password", "password",
	SSH_AUTH_METHOD_PASSWORD | SSH_AUTH_METHOD_INTERACTIVE, try_password},
    {SSH_AUTH_METHOD_INTERACTIVE, "keyboard-interactive", "password",
	SSH_AUTH_METHOD_PASSWORD | SSH_AUTH_METHOD_INTERACTIVE, try_kbdint},
};

static const struct method *
next_method(struct takt_ssh *s, int offered, int done)
{
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if ((offered & methods[i].bit) && !(done & methods[i].bit) &&
		    session_secret(s, methods[i].secret))
			return &methods[i];
	return NULL;
}

static takt_rc
refused(struct takt_ssh *s, int offered, const char *tried)
{
	char names[80] = "";
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (offered & methods[i].bit) {
			size_t n = strlen(names);
			snprintf(
			    names + n, sizeof(names) - n, "%s%s", n ? ", " : "", methods[i].name);
		}
	const char *user = session_secret(s, "username");
	if (!*tried)
		return session_fail(s, TAKT_E_AUTH, "ssh.auth_failed",
		    "Give the credential a secret for one of the methods that the device offers.",
		    "%s refused user '%s': it offers %s, and the credential has nothing for that",
		    s->name, user, *names ? names : "no method that Takt knows");
	return session_fail(s, TAKT_E_AUTH, "ssh.auth_failed",
	    "Check user name and secret of the device's credential; it is not tried again by "
	    "itself, so "
	    "that no account is locked.",
	    "%s refused user '%s' (tried: %s)", s->name, user, tried);
}

takt_rc
session_login(struct takt_ssh *s)
{
	char tried[96] = "";
	int done = 0, rc = try_none(s);
	int offered = L.ssh_userauth_list(s->ssh, NULL);
	while (rc == SSH_AUTH_DENIED || rc == SSH_AUTH_PARTIAL) {
		const struct method *m = next_method(s, offered, done);
		if (!m)
			return refused(s, offered, tried);
		size_t n = strlen(tried);
		snprintf(tried + n, sizeof(tried) - n, "%s%s", n ? ", " : "", m->name);
		rc = m->try_it(s);
		done |= rc == SSH_AUTH_PARTIAL ? m->bit : m->excludes;
		if (rc == SSH_AUTH_PARTIAL)
			offered = L.ssh_userauth_list(s->ssh, NULL);
	}
	if (rc == SSH_AUTH_SUCCESS) {
		session_log(s, TAKT_LOG_INFO, "logged in to %s at %s port %d", s->name, s->address,
		    s->port);
		return TAKT_OK;
	}
	if (rc < -99)
		return rc;
	/* Some devices hang up instead of saying no. */
	return *tried ? refused(s, offered, tried) : session_lost(s, "logging in");
}
