// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See input.h. */
#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/io.h"
#include "base/jsonx.h"

#include "base/banned.h"

#define DOCUMENT_MAX ((size_t)1 << 20)
#define SECRET_MAX 65536

int
input_bytes(const char *file, struct buf *out)
{
	struct err e = ERR_INIT;

	buf_adds(out, "");
	if (io_read_file(strcmp(file, "-") == 0 ? "/dev/stdin" : file, DOCUMENT_MAX, out, &e) < 0) {
		if (e.code == ERR_SYSTEM)
			e.code = ERR_INVALID;
		return cli_fail(&e);
	}
	return CLI_OK;
}

json_t *
input_object(const char *file)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	json_t *j;

	if (input_bytes(file, &b))
		return NULL;
	j = json_parse(b.p, b.n, &json_limits_request, &e);
	if (j && !json_is_object(j)) {
		json_decref(j);
		j = NULL;
		err_set(&e, ERR_INVALID, "not a JSON object");
	}
	if (!j) {
		err_push(&e, "%s", strcmp(file, "-") == 0 ? "standard input" : file);
		cli_fail(&e);
	}
	return j;
}

void
input_forget(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static char *
ask(const char *what)
{
	struct termios shown, hidden;
	_cleanup_file_ FILE *tty = fopen("/dev/tty", "r+e");
	char line[4096];
	char *got;

	if (!tty || tcgetattr(fileno(tty), &shown) < 0) {
		cli_refuse(what,
		    "Give it with --password-file FILE or --key-file FILE (- reads "
		    "standard input).",
		    "there is no terminal to ask on");
		return NULL;
	}
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	/* Before the prompt: what is typed once it is seen must not be flushed away. */
	tcsetattr(fileno(tty), TCSAFLUSH, &hidden);
	fprintf(tty, "%s: ", what);
	fflush(tty);
	got = fgets(line, sizeof(line), tty);
	tcsetattr(fileno(tty), TCSANOW, &shown);
	fputc('\n', tty);
	if (!got)
		return NULL;
	line[strcspn(line, "\n")] = 0;
	got = xstrdup(line);
	explicit_bzero(line, sizeof(line));
	return got;
}

char *
input_secret(const char *file, const char *what)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;

	if (!file)
		return ask(what);
	if (io_read_file(strcmp(file, "-") == 0 ? "/dev/stdin" : file, SECRET_MAX, &b, &e) < 0) {
		e.code = ERR_INVALID;
		err_field(&e, "%s", what);
		cli_fail(&e);
		return NULL;
	}
	if (b.n && b.p[b.n - 1] == '\n')
		b.p[--b.n] = 0;
	if (b.n && b.p[b.n - 1] == '\r')
		b.p[--b.n] = 0;
	if (!b.n || strlen(b.p) != b.n) {
		cli_refuse(what, "The file must hold the secret and nothing else.",
		    b.n ? "%s has a NUL byte" : "%s is empty", file);
		explicit_bzero(b.p, b.n);
		return NULL;
	}
	return buf_take(&b);
}
