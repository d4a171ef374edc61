// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The session that connect.c, hostkey.c, auth.c, shell.c and backup.c share; this directory only.
 *
 * Every function returns TAKT_OK or a TAKT_E_ code that has been recorded with session_fail().
 * libssh runs non-blocking; the only place that waits is session_wait(), which also sees the
 * unit's deadline and its cancellation.
 */
#pragma once

#include "base/buf.h"
#include "sdk/device/device.h"
#include "sdk/device/libssh.h"
#include "sdk/device/platform.h"
#include "sdk/device/term.h"

#define OUTPUT_MAX_B (16u << 20)

struct takt_ssh {
	const struct device_host *host;
	const struct platform *pf;
	json_t *target;
	const char *name, *address;
	int port;
	int fd; /* libssh's, once ssh is connected */
	ssh_session ssh;
	ssh_channel ch;
	struct term term;
	char prompt[256];  /* as learned at login */
	size_t stem_n;     /* of it, what stays when the mode changes: the host's name */
	const char *echo;  /* of the command that runs; NULL when none is to be seen */
	bool is_echoed;    /* the command's echo was seen */
	size_t body_at;    /* where the output begins: after the echo */
	size_t leftover_b; /* text that came before the echo: late output of an earlier command */
	size_t trail_b;    /* of text that stands before the prompt on its line */
	struct buf out, exact, normalised;
};

/* Record code, message and hint (may be NULL); returns rc. */
takt_rc session_fail(struct takt_ssh *s, takt_rc rc, const char *code, const char *hint,
    const char *fmt, ...) _printf_(5, 6);
void session_log(struct takt_ssh *s, int32_t level, const char *fmt, ...) _printf_(3, 4);
/* The moment, on the monotonic clock, ms from now or of the unit's deadline, what is sooner. */
int64_t session_until(struct takt_ssh *s, int ms);
/* Wait for the socket fd (also for writing if want_write). 1: ready; 0: the time is up; or an
 * error recorded (cancelled). */
int session_wait(struct takt_ssh *s, int fd, bool want_write, int64_t until_ms);
/* The same for libssh's socket. */
int session_wait_ssh(struct takt_ssh *s, int64_t until_ms);
/* True once the connection is gone; libssh may go on saying SSH_AGAIN then. */
bool session_is_dead(const struct takt_ssh *s);
/* The other side ended it, or libssh failed: TAKT_E_TRANSIENT ssh.disconnected. */
takt_rc session_lost(struct takt_ssh *s, const char *doing);
/* A secret, NUL-terminated, or NULL if absent or empty. */
const char *session_secret(struct takt_ssh *s, const char *name);

/* connect.c: TCP, key exchange, host key. */
takt_rc session_connect(struct takt_ssh *s);
/* hostkey.c */
/* Comma-separated host key algorithms of the known keys, "" if none is known. */
void hostkey_pin(struct takt_ssh *s, struct buf *out);
takt_rc hostkey_check(struct takt_ssh *s);
/* auth.c */
takt_rc session_login(struct takt_ssh *s);

/* shell.c */
/* Channel, terminal, prompt, privilege, setup commands. */
takt_rc shell_open(struct takt_ssh *s);
/* Output in s->out. timeout_ms 0: the platform's. line may hold a secret: it is not logged. */
takt_rc shell_command(struct takt_ssh *s, const char *line, uint32_t timeout_ms);
/* An empty line: only a prompt may come back. *is_clean false if anything else did. */
takt_rc shell_sync(struct takt_ssh *s, bool *is_clean);
/* The line of s->out that is the device's refusal, copied; NULL if none. Caller frees. */
char *shell_refusal(const struct takt_ssh *s);
void shell_close(struct takt_ssh *s);

/* backup.c: fills s->exact and s->normalised. */
takt_rc backup_fetch(struct takt_ssh *s);
