// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * `takt-executor --probe FILE`: load one plugin in a process that may die of it, and print what it
 * is as one JSON object: {"status":"loaded","name":…,"types":[…],"threads":n} or
 * {"status":"refused","reason":…}. The executor reads it through plugins.c; people may run it.
 */
#include "executor/probe.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "executor/loader.h"
#include "executor/proc.h"

#include "base/banned.h"

/* Seconds of CPU; the executor watches the real time. */
#define PROBE_CPU_S 5

static void
print_and_exit(int fd, json_t *j, int status)
{
	char *text = json_text(j);
	size_t n = strlen(text);

	text[n] = 0x0a; /* where the NUL was */
	/* No exit handlers: they are the plugin's. */
	_exit(io_write_all(fd, text, n + 1) == 0 ? status : 1);
}

static void
refuse(int fd, const struct err *e)
{
	print_and_exit(
	    fd, json_pack("{s:s, s:s}", "status", "refused", "reason", e->message), PROBE_REFUSED);
}

/* Constructors may print: keep the real standard output for ourselves. */
static int
take_stdout(void)
{
	int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	}
	return out;
}

int
probe_main(const char *path)
{
	const struct rlimit no_core = {0, 0}, cpu = {PROBE_CPU_S, PROBE_CPU_S};
	char digest[LOADER_DIGEST_LEN + 1];
	struct err e = ERR_INIT;
	const takt_plugin_entry *entry;
	json_t *j;
	int out = take_stdout(), file;

	setrlimit(RLIMIT_CORE, &no_core);
	setrlimit(RLIMIT_CPU, &cpu);
	if (out < 0 || sodium_init() < 0)
		return 1;
	file = loader_check_file(path, digest, &e);
	if (file < 0)
		refuse(out, &e);
	entry = loader_open(file, &e);
	j = entry ? loader_describe(entry, &e) : NULL;
	if (!j)
		refuse(out, &e);
	json_object_set_new(j, "status", json_string("loaded"));
	json_object_set_new(j, "digest", json_string(digest));
	json_object_set_new(j, "threads", json_integer(proc_threads()));
	print_and_exit(out, j, 0);
	return 0;
}
