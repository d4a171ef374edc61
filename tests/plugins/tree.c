/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Takt authors */
/*
 * Task type `tree`: grows a process tree that does not want to die. Parameters: file (every
 * process writes its pid there), mode: "escape" (helpers double-fork, setsid, ignore signals, stop
 * themselves, close everything; run() then ignores its cancellation), "chain" (helpers are chains
 * of processes that fork and exit), "neighbour" (the same helpers as escape, orphaned, while run()
 * works for `ms` and passes), helpers, ms.
 */
#include "params.h"

#include <signal.h>
#include <sys/wait.h>

static void
note_pid(const char *path, const char *what)
{
	char line[128];

	snprintf(line, sizeof(line), "%s %d\n", what, (int)getpid());
	append_line(path, line, 0);
}

static void
be_deaf(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
}

/* Orphaned, in a session of its own; kind decides its manner of not dying. */
static void
helper(const char *path, int kind)
{
	pid_t child = fork();

	if (child > 0) {
		waitpid(child, NULL, 0);
		return;
	}
	if (child < 0)
		return;
	setsid();
	if (fork() != 0)
		_exit(0);
	be_deaf();
	note_pid(path, "helper");
	for (int fd = 0; kind == 2 && fd < 256; fd++)
		close(fd);
	if (kind == 1)
		raise(SIGSTOP);
	for (;;)
		pause();
}

/* A chain: each link forks the next and exits, faster than anybody can look at it. */
static void
chain(const char *path)
{
	if (fork() != 0)
		return;
	setsid();
	be_deaf();
	note_pid(path, "helper");
	for (;;) {
		pid_t next = fork();

		if (next > 0)
			_exit(0);
	}
}

static takt_rc
tree_run(const takt_host *host, takt_ctx *ctx, takt_str params)
{
	json_t *p = json_loadb(params.p, params.n, 0, NULL);
	const char *path = param_str(p, "file", "/dev/null"),
		   *mode = param_str(p, "mode", "escape");
	int64_t helpers = param_int(p, "helpers", 3);

	note_pid(path, "run");
	for (int64_t i = 0; i < helpers; i++)
		if (!strcmp(mode, "chain"))
			chain(path);
		else
			helper(path, (int)(i % 3));
	if (!strcmp(mode, "neighbour")) {
		int cancelled = sleep_or_cancel(host, ctx, param_int(p, "ms", 1000));

		note_pid(path, cancelled ? "cancelled" : "finished");
		return cancelled ? TAKT_E_CANCELLED : TAKT_OK;
	}
	be_deaf();
	note_pid(path, "grown");
	for (;;)
		pause();
}

static const takt_task_type tree_type = {
    .struct_size = sizeof(takt_task_type),
    .targets = TAKT_TARGETS_NONE,
    .caps = TAKT_CAP_EXEC,
    .id = "tree",
    .version = "1.0.0",
    .title = "Tree",
    .summary = "Grows a process tree that does not want to die",
    .params_schema = "{\"type\":\"object\"}",
    .default_timeout_s = 60,
    .default_max_retries = 0,
    .default_retry_delay_s = 1,
    .recovery = TAKT_RECOVERY_RERUN,
    .run = tree_run,
};

static const takt_task_type *const types[] = {&tree_type, NULL};

TAKT_PLUGIN("tree", "1.0.0", "Takt", "Apache-2.0", types);
