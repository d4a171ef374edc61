// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See meet.h. */
#include "executor/meet.h"

#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

#include "base/banned.h"

#define BACKLOG 64

static bool
proof_bytes(const char *nonce, const char *who, const char *challenge, unsigned char *mac)
{
	unsigned char key[crypto_auth_KEYBYTES];
	char text[256];
	size_t n = 0;

	if (sodium_hex2bin(key, sizeof(key), nonce, strlen(nonce), NULL, &n, NULL) != 0 ||
	    n != sizeof(key))
		return false;
	snprintf(text, sizeof(text), "%s:%s", who, challenge);
	crypto_auth(mac, (const unsigned char *)text, strlen(text), key);
	sodium_memzero(key, sizeof(key));
	return true;
}

void
meet_proof(const char *nonce, const char *who, const char *challenge, char out[65])
{
	unsigned char mac[crypto_auth_BYTES];

	out[0] = 0;
	if (proof_bytes(nonce, who, challenge, mac))
		sodium_bin2hex(out, 65, mac, sizeof(mac));
}

bool
meet_proof_holds(const char *nonce, const char *who, const char *challenge, const char *mac)
{
	char want[65];

	meet_proof(nonce, who, challenge, want);
	return want[0] && strlen(mac) == 64 && sodium_memcmp(want, mac, 64) == 0;
}

/* The abstract address: nobody who does not know the nonce can be there first. */
static socklen_t
address(const char *nonce, struct sockaddr_un *a)
{
	char name[65];
	int n;

	meet_proof(nonce, "socket", "", name);
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "takt-keeper/%s", name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

int
meet_listen(const char *nonce, struct err *e)
{
	struct sockaddr_un a;
	socklen_t n = address(nonce, &a);
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, n) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(e, "socket of the keeper");
	return take_fd(&fd);
}

int
meet_connect(const char *nonce)
{
	struct sockaddr_un a;
	socklen_t n = address(nonce, &a);
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&a, n) < 0)
		return -1;
	return take_fd(&fd);
}
