// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Configuration snapshots: list, show, and what changed between two (diff(1) -u). */
#include "cli/commands.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/jsonx.h"

#include "cli/api.h"
#include "cli/print.h"
#include "cli/resolve.h"

#include "base/banned.h"

static const struct column cols[] = {{"ID", "id"}, {"DEVICE", "device_name"},
    {"CAPTURED (UTC)", "captured_at", COL_TIME}, {"SIZE", "size_bytes", COL_BYTES},
    {"DESTINATION", "destination"}, {"RUN", "run_id"}, {0}};

int
cmd_snapshot_list(struct cli *c, const struct args *a)
{
	const char *run = arg_str(a, "run");
	_cleanup_free_ char *device = NULL, *path = NULL, *run_id = NULL;
	_cleanup_json_ json_t *items = NULL;
	size_t max;
	int code = arg_limit(a, 50, &max);

	if (code)
		return code;
	if (arg_str(a, "device"))
		code = resolve_device(c, arg_str(a, "device"), &device);
	if (run && !code) {
		_cleanup_reply_ struct reply r = {0};
		_cleanup_free_ char *escaped = api_escape(run);
		_cleanup_free_ char *of = xasprintf("/runs/%s", escaped);

		code = api_get(c, of, &r);
		run_id = xstrdup(json_get_str(r.json, "id", ""));
	}
	if (code)
		return code;
	path = xasprintf("/snapshots?%s%s%s%s%s", device ? "device=" : "", device ? device : "",
	    device && run_id ? "&" : "", run_id ? "run=" : "", run_id ? run_id : "");
	if (path[strlen(path) - 1] == '?')
		path[strlen(path) - 1] = 0;
	code = api_list(c, path, max, &items);
	if (!code)
		print_table(c, items, cols);
	return code;
}

static int
fetch(struct cli *c, const char *id, const char *tail, struct reply *r)
{
	_cleanup_free_ char *escaped = api_escape(id);
	_cleanup_free_ char *path = xasprintf("/snapshots/%s%s", escaped, tail);

	return api_get(c, path, r);
}

int
cmd_snapshot_show(struct cli *c, const struct args *a)
{
	bool is_meta = arg_bool(a, "meta") || c->is_json;
	_cleanup_reply_ struct reply r = {0};
	int code = fetch(c, a->pos[0], is_meta ? "" : "/content", &r);

	if (code)
		return code;
	if (is_meta)
		print_object(c, r.json, cols);
	else if (r.body.n)
		print_device_text(c, r.body.p, r.body.n);
	return CLI_OK;
}

/* The ids of a device's last two snapshots, older first. */
static int
last_two(struct cli *c, const char *device_name, char *ids[2])
{
	_cleanup_free_ char *device = NULL, *path = NULL;
	_cleanup_json_ json_t *items = NULL;
	int code = resolve_device(c, device_name, &device);

	if (code)
		return code;
	path = xasprintf("/snapshots?device=%s", device);
	code = api_list(c, path, 2, &items);
	if (code)
		return code;
	if (json_array_size(items) < 2) {
		fprintf(stderr, "takt: %.100s has %zu snapshot%s: two are needed\n", device_name,
		    json_array_size(items), json_array_size(items) == 1 ? "" : "s");
		return CLI_MISSING;
	}
	for (size_t i = 0; i < 2; i++)
		ids[i] = xstrdup(json_get_str(json_array_get(items, 1 - i), "id", ""));
	return CLI_OK;
}

/* Run diff on two files in a private directory; its output is passed on. 0 same, 1 differ, -1. */
static int
run_diff(struct cli *c, const char *dir, char *ids[2])
{
	_cleanup_free_ char *la = xasprintf("--label=%s", ids[0]),
			    *lb = xasprintf("--label=%s", ids[1]);
	_cleanup_buf_ struct buf out = {0};
	int pipefd[2], status;
	pid_t pid;

	fflush(stdout);
	if (pipe2(pipefd, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return -1;
	if (!pid) {
		dup2(pipefd[1], 1);
		if (chdir(dir) < 0)
			_exit(2);
		execlp("diff", "diff", "-u", la, lb, "--", "a", "b", (char *)NULL);
		fputs("takt: diff(1) is not installed (apt-get install diffutils)\n", stderr);
		_exit(2);
	}
	close(pipefd[1]);
	for (;;) {
		ssize_t n;

		buf_reserve(&out, 65536);
		n = read(pipefd[0], out.p + out.n, 65536);
		if (n <= 0)
			break;
		out.n += (size_t)n;
	}
	close(pipefd[0]);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
		return -1;
	if (out.n)
		print_device_text(c, out.p, out.n);
	return WEXITSTATUS(status);
}

static int
diff_in(struct cli *c, const char *dir, char *ids[2])
{
	_cleanup_fd_ int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err e = ERR_INIT;
	int rc;

	for (int i = 0; i < 2; i++) {
		_cleanup_reply_ struct reply r = {0};
		int code = fetch(c, ids[i], "/content", &r);

		if (code)
			return code;
		if (io_replace_file(
			dirfd, i ? "b" : "a", r.body.p ? r.body.p : "", r.body.n, 0600, &e) < 0)
			return cli_fail(&e);
	}
	rc = run_diff(c, dir, ids);
	return rc < 0 ? CLI_SERVER : rc;
}

int
cmd_snapshot_diff(struct cli *c, const struct args *a)
{
	const char *tmp = getenv("TMPDIR");
	_cleanup_free_ char *dir = xasprintf("%s/takt-diff-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	char *ids[2] = {NULL, NULL};
	int code = CLI_OK;

	if (a->n == 2) {
		ids[0] = xstrdup(a->pos[0]);
		ids[1] = xstrdup(a->pos[1]);
	} else {
		code = last_two(c, a->pos[0], ids);
	}
	if (!code && !mkdtemp(dir)) {
		perror("takt: making a private directory");
		code = CLI_SERVER;
	} else if (!code) {
		int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		code = diff_in(c, dir, ids);
		unlinkat(dirfd, "a", 0);
		unlinkat(dirfd, "b", 0);
		close(dirfd);
		rmdir(dir);
	}
	free(ids[0]);
	free(ids[1]);
	return code;
}
