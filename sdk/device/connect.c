// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * From an address to a key exchange whose host key is trusted. The TCP connection is ours: libssh
 * would resolve and connect without seeing the deadline. No file of the user's is read.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "sdk/device/session_priv.h"

#include "base/banned.h"

/* The big Diffie-Hellman groups cost 40 to 220 ms of our CPU: last. */
#define KEX_DEFAULT                                                                             \
	"curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384," \
	"ecdh-sha2-nistp521,diffie-hellman-group14-sha256,"                                     \
	"diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,"                   \
	"diffie-hellman-group18-sha512"
#define HOST_KEYS_DEFAULT                                                          \
	"ssh-ed25519,ecdsa-sha2-nistp521,ecdsa-sha2-nistp384,ecdsa-sha2-nistp256," \
	"rsa-sha2-512,rsa-sha2-256"
#define CIPHERS_DEFAULT                                                                \
	"aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com," \
	"aes256-ctr,aes192-ctr,aes128-ctr"
#define MACS_DEFAULT \
	"hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"

static takt_rc
resolve(struct takt_ssh *s, struct addrinfo **out)
{
	char port[16];
	snprintf(port, sizeof(port), "%d", s->port);
	struct addrinfo hint = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *res;
	struct addrinfo numeric = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	/* An address needs no resolver, and the loopback alone must do where there is no network. */
	int rc = getaddrinfo(s->address, port, &numeric, out);
	if (rc == 0)
		return TAKT_OK;
	rc = getaddrinfo(s->address, port, &hint, &res);
	if (rc)
		return session_fail(s, TAKT_E_UNREACHABLE, "ssh.unreachable",
		    "Check the device's address.", "%s: cannot resolve '%s': %s", s->name,
		    s->address, gai_strerror(rc));
	*out = res;
	return TAKT_OK;
}

/* 0: connected, fd in *out; an errno: not; negative: an error recorded. */
static int
try_address(struct takt_ssh *s, const struct addrinfo *ai, int64_t until, int *out)
{
	_cleanup_fd_ int fd =
	    socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0, one = 1;
	socklen_t n = sizeof(error);
	if (fd < 0)
		return errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) == 0) {
		*out = take_fd(&fd);
		return 0;
	}
	if (errno != EINPROGRESS)
		return errno;
	int rc = session_wait(s, fd, true, until);
	if (rc <= 0)
		return rc < 0 ? rc : ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error == 0)
		*out = take_fd(&fd);
	return error;
}

static takt_rc
tcp_connect(struct takt_ssh *s)
{
	struct addrinfo *all = NULL;
	int64_t until = session_until(s, s->pf->session.connect_timeout_ms);
	takt_rc rc = resolve(s, &all);
	int error = EADDRNOTAVAIL;
	if (rc != TAKT_OK)
		return rc;
	for (struct addrinfo *ai = all; ai && error > 0; ai = ai->ai_next)
		error = try_address(s, ai, until, &s->fd);
	freeaddrinfo(all);
	if (error <= 0)
		return error;
	if (error == ETIMEDOUT)
		return session_fail(s, TAKT_E_TIMEOUT, "ssh.connect_timeout",
		    "Check that the device is up and that no packet filter drops port and address.",
		    "%s: no answer from %s port %d", s->name, s->address, s->port);
	return session_fail(s, TAKT_E_UNREACHABLE, "ssh.unreachable",
	    "Check that the device is up and that SSH listens on this port.", "%s: %s port %d: %s",
	    s->name, s->address, s->port, strerror(error));
}

/* The defaults, and after them what the platform's file allows for old devices. */
static int
set_algorithms(
    struct takt_ssh *s, enum ssh_options_e option, const char *dflt, const struct str_list *more)
{
	_cleanup_buf_ struct buf b = {0};
	buf_adds(&b, dflt);
	for (size_t i = 0; i < more->n; i++)
		buf_addf(&b, ",%s", more->v[i]);
	if (L.ssh_options_set(s->ssh, option, b.p) == 0)
		return 0;
	return session_fail(s, TAKT_E_UNSUPPORTED, "ssh.bad_algorithm",
	    "Correct the section ssh of the platform's file.",
	    "platform %s: libssh knows none of: %s", s->pf->name, b.p);
}

static takt_rc
set_all_algorithms(struct takt_ssh *s, bool is_pinned)
{
	const struct platform *p = s->pf;
	_cleanup_buf_ struct buf pin = {0};
	hostkey_pin(s, &pin);
	const struct str_list none = {0};
	bool use_pin = is_pinned && pin.n;
	int rc = set_algorithms(s, SSH_OPTIONS_KEY_EXCHANGE, KEX_DEFAULT, &p->ssh.kex);
	if (!rc)
		rc = set_algorithms(s, SSH_OPTIONS_HOSTKEYS, use_pin ? pin.p : HOST_KEYS_DEFAULT,
		    use_pin ? &none : &p->ssh.host_keys);
	if (!rc)
		rc = set_algorithms(s, SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES, HOST_KEYS_DEFAULT,
		    &p->ssh.public_keys);
	if (!rc)
		rc = set_algorithms(s, SSH_OPTIONS_CIPHERS_C_S, CIPHERS_DEFAULT, &p->ssh.ciphers);
	if (!rc)
		rc = set_algorithms(s, SSH_OPTIONS_CIPHERS_S_C, CIPHERS_DEFAULT, &p->ssh.ciphers);
	if (!rc)
		rc = set_algorithms(s, SSH_OPTIONS_HMAC_C_S, MACS_DEFAULT, &p->ssh.macs);
	if (!rc)
		rc = set_algorithms(s, SSH_OPTIONS_HMAC_S_C, MACS_DEFAULT, &p->ssh.macs);
	return rc;
}

static takt_rc
set_options(struct takt_ssh *s, bool is_pinned)
{
	bool no = false;
	unsigned port = (unsigned)s->port;
	int bits = s->pf->ssh.rsa_min_bits, quiet = SSH_LOG_NOLOG;
	const char *user = session_secret(s, "username");
	if (!user)
		return session_fail(s, TAKT_E_AUTH, "ssh.no_credential",
		    "Bind a credential with a user name to the device.",
		    "%s has no user name to log in with", s->name);
	s->ssh = L.ssh_new();
	if (!s->ssh)
		return session_fail(
		    s, TAKT_E_TRANSIENT, "ssh.memory", NULL, "libssh: out of memory");
	L.ssh_options_set(s->ssh, SSH_OPTIONS_PROCESS_CONFIG, &no);
	L.ssh_options_set(s->ssh, SSH_OPTIONS_LOG_VERBOSITY, &quiet);
	L.ssh_options_set(s->ssh, SSH_OPTIONS_HOST, s->address);
	L.ssh_options_set(s->ssh, SSH_OPTIONS_PORT, &port);
	L.ssh_options_set(s->ssh, SSH_OPTIONS_USER, user);
	L.ssh_options_set(s->ssh, SSH_OPTIONS_KNOWNHOSTS, "/dev/null");
	L.ssh_options_set(s->ssh, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null");
	L.ssh_options_set(s->ssh, SSH_OPTIONS_RSA_MIN_SIZE, &bits);
	takt_rc rc = set_all_algorithms(s, is_pinned);
	if (rc != TAKT_OK)
		return rc;
	L.ssh_options_set(s->ssh, SSH_OPTIONS_FD, &s->fd);
	L.ssh_set_blocking(s->ssh, 0);
	return TAKT_OK;
}

static takt_rc
handshake_failed(struct takt_ssh *s)
{
	const char *why = L.ssh_get_error(s->ssh);
	if (strstr(why, "no match for method"))
		return session_fail(s, TAKT_E_UNSUPPORTED, "ssh.no_common_algorithm",
		    "An old device may need its algorithms in section ssh of the platform's file.",
		    "%s: %s", s->name, why);
	return session_fail(s, TAKT_E_TRANSIENT, "ssh.disconnected",
	    "See the device's log; it may have too many sessions, or this is not an SSH port.",
	    "%s: the connection ended during the SSH handshake: %s", s->name, why);
}

/* 0: done; 1: the device has no key of the pinned types; negative: an error recorded. */
static int
handshake(struct takt_ssh *s)
{
	int64_t until = session_until(s, s->pf->session.login_timeout_ms);
	int rc;
	while ((rc = L.ssh_connect(s->ssh)) == SSH_AGAIN) {
		int w = session_wait_ssh(s, until);
		if (w < 0)
			return w;
		if (w == 0)
			return session_fail(s, TAKT_E_TIMEOUT, "ssh.connect_timeout",
			    "Check that SSH, and nothing else, listens on this port.",
			    "%s: no SSH handshake with %s port %d in %d ms", s->name, s->address,
			    s->port, s->pf->session.login_timeout_ms);
	}
	if (rc == SSH_OK)
		return 0;
	if (strstr(L.ssh_get_error(s->ssh), "server host key algo"))
		return 1;
	return handshake_failed(s);
}

static int
connect_once(struct takt_ssh *s, bool is_pinned)
{
	takt_rc rc = tcp_connect(s);
	if (rc == TAKT_OK)
		rc = set_options(s, is_pinned);
	return rc == TAKT_OK ? handshake(s) : rc;
}

takt_rc
session_connect(struct takt_ssh *s)
{
	bool is_pinned = s->host->known_n > 0;
	int rc = connect_once(s, is_pinned);
	if (rc == 1 && is_pinned) {
		/* Look at the key it offers instead, only to name it: hostkey_check() refuses. */
		L.ssh_free(s->ssh);
		s->ssh = NULL;
		rc = connect_once(s, false);
	}
	if (rc == 1)
		return handshake_failed(s);
	return rc ? rc : hostkey_check(s);
}
