// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Plugin files: found in the plugin directories and one level below, each looked at by a probe
 * process of its own (probe.c), all at once, so that one that hangs delays nobody. What a probe
 * printed was written by a process that ran plugin code: every member is checked before it is used.
 */
#include "executor/executor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/jsonx.h"
#include "executor/loader.h"
#include "executor/probe.h"

#include "base/banned.h"

#define PROBE_LIMIT_S 8.
#define PROBE_OUT_MAX (256u * 1024)

/* Where nothing changes in between: same file, same bytes. */
static bool
is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void
plugin_refuse(struct plugin *p, const char *reason)
{
	p->status = PLUGIN_REFUSED;
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
}

static bool
has_type(const struct plugin *p, const char *type)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(p->found, "types"), i,
	    v) if (!strcmp(json_get_str(v, "id", ""), type)) return true;
	return false;
}

struct plugin *
plugins_find(const char *type)
{
	struct plugin *p;

	LIST_FOREACH(p, &X.plugins, link)
	if (p->status == PLUGIN_LOADED && has_type(p, type))
		return p;
	return NULL;
}

/* A task type has one home: the first in order of path. */
static void
plugin_resolve(struct plugin *p)
{
	const json_t *v;
	char reason[400];
	size_t i;

	json_array_foreach(json_object_get(p->found, "types"), i, v)
	{
		const char *id = json_get_str(v, "id", "");
		const struct plugin *other = plugins_find(id);

		if (!other || other == p)
			continue;
		snprintf(reason, sizeof(reason), "task type %.64s is already offered by %.256s", id,
		    other->path);
		plugin_refuse(p, reason);
		return;
	}
	p->status = PLUGIN_LOADED;
}

static void
all_probed(void)
{
	struct plugin *p;

	LIST_FOREACH(p, &X.plugins, link)
	if (p->found)
		p->status = PLUGIN_PROBING;
	LIST_FOREACH(p, &X.plugins, link)
	{
		if (p->found)
			plugin_resolve(p);
		if (p->status == PLUGIN_REFUSED)
			log_warn(LOG_EXEC, "plugin %s refused: %s", p->path, p->reason);
		else
			log_info(LOG_EXEC, "plugin %s loaded", p->path);
		if (p->status == PLUGIN_REFUSED)
			zygote_retire(p, "the plugin is refused");
	}
	X.has_rescanned = true;
	server_maybe_list();
}

json_t *
plugin_json(const struct plugin *p)
{
	static const char *const members[] = {"name", "version", "abi", "types"};
	json_t *j = json_pack("{s:s, s:s, s:s, s:s}", "file", p->path, "status",
	    p->status == PLUGIN_LOADED ? "loaded" : "refused", "reason",
	    p->status == PLUGIN_LOADED ? "" : p->reason, "digest", p->digest);

	if (!j)
		return json_pack("{s:s, s:s, s:s}", "file", "?", "status", "refused", "reason",
		    "the file's name is not UTF-8");
	for (size_t i = 0; p->status == PLUGIN_LOADED && i < ARRAY_LEN(members); i++)
		json_object_set(j, members[i], json_object_get(p->found, members[i]));
	return j;
}

/* What the probe printed, if it is what our probe prints. */
static json_t *
read_probe(const struct plugin *p, struct err *e)
{
	json_t *j = json_parse(p->probe_out.p, p->probe_out.n, &json_limits_frame, e), *v;
	size_t i;

	if (!json_is_object(j) || !*json_get_str(j, "name", "") ||
	    !json_is_string(json_object_get(j, "version")) ||
	    !json_is_string(json_object_get(j, "abi")) ||
	    strlen(json_get_str(j, "digest", "")) != LOADER_DIGEST_LEN)
		goto malformed;
	json_array_foreach(json_object_get(j, "types"), i,
	    v) if (!*json_get_str(v, "id", "") ||
		   !json_is_object(json_object_get(v, "params_schema"))) goto malformed;
	if (i == 0)
		goto malformed;
	return j;
malformed:
	json_decref(j);
	err_set(e, ERR_INVALID, "its descriptor cannot be read: the probe was disturbed");
	return NULL;
}

static void
take_descriptor(struct plugin *p)
{
	struct err e = ERR_INIT;
	_cleanup_json_ json_t *frame = NULL;
	_cleanup_buf_ struct buf b = {0};

	p->found = read_probe(p, &e);
	if (!p->found) {
		plugin_refuse(p, e.message);
		return;
	}
	p->status = PLUGIN_LOADED;
	if (strcmp(p->digest, json_get_str(p->found, "digest", "")) != 0)
		zygote_retire(p, "the plugin file has changed");
	snprintf(p->digest, sizeof(p->digest), "%s", json_get_str(p->found, "digest", ""));
	p->is_cold = json_get_int(p->found, "threads", 1) != 1;
	frame = plugin_json(p);
	if (frame_encode(&b, FRAME_PLUGIN, 0, frame, NULL, 0, &e) < 0) {
		plugin_refuse(p, "descriptor is larger than 64 KiB: shorten its params_schema");
		json_decref(p->found);
		p->found = NULL;
	}
}

/* Everything about how the probe ended, in words. */
static void
judge(struct plugin *p, int status)
{
	_cleanup_json_ json_t *j = NULL;
	char reason[200];

	if (p->is_late) {
		snprintf(reason, sizeof(reason),
		    "did not load within %.0f s: its constructor hangs", PROBE_LIMIT_S);
		plugin_refuse(p, reason);
		return;
	}
	if (WIFSIGNALED(status)) {
		snprintf(reason, sizeof(reason), "crashed while it was loaded: signal %d (%s)",
		    WTERMSIG(status), strsignal(WTERMSIG(status)));
		plugin_refuse(p, reason);
		return;
	}
	j = p->probe_out.n ? json_parse(p->probe_out.p, p->probe_out.n, &json_limits_frame, NULL)
			   : NULL;
	if (!json_is_object(j) ||
	    (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != PROBE_REFUSED)) {
		snprintf(reason, sizeof(reason), "ended its probe with status %d and no descriptor",
		    WEXITSTATUS(status));
		plugin_refuse(p, reason);
	} else if (strcmp(json_get_str(j, "status", ""), "loaded") != 0)
		plugin_refuse(p, json_get_str(j, "reason", "its probe was disturbed"));
	else
		take_descriptor(p);
}

static void
read_probe_pipe(struct plugin *p)
{
	char chunk[16384];
	ssize_t n;

	while ((n = read(p->probe_fd, chunk, sizeof(chunk))) > 0)
		if (p->probe_out.n + (size_t)n <= PROBE_OUT_MAX)
			buf_add(&p->probe_out, chunk, (size_t)n);
	if (n == 0)
		ev_io_stop(X.loop, &p->probe_io);
}

static void
on_probe_output(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop;
	(void)revents;
	read_probe_pipe(w->data);
}

static void
probe_over(struct plugin *p, int status)
{
	ev_child_stop(X.loop, &p->probe_child);
	ev_timer_stop(X.loop, &p->probe_timer);
	read_probe_pipe(p);
	ev_io_stop(X.loop, &p->probe_io);
	close(p->probe_fd);
	/* Whatever its constructors forked; it led a session of its own. */
	kill(-p->probe_pid, SIGKILL);
	p->probe_pid = 0;
	judge(p, status);
	buf_fini(&p->probe_out);
	if (--X.probes == 0)
		all_probed();
}

static void
on_probe_exit(struct ev_loop *loop, ev_child *w, int revents)
{
	(void)loop;
	(void)revents;
	probe_over(w->data, w->rstatus);
}

static void
on_probe_late(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct plugin *p = w->data;

	(void)loop;
	(void)revents;
	p->is_late = true;
	kill(p->probe_pid, SIGKILL);
}

static void
probe_start(struct plugin *p)
{
	const char *const args[] = {"--probe", p->path, NULL};
	int fds[2];

	json_decref(p->found);
	p->found = NULL;
	p->status = PLUGIN_PROBING;
	p->is_late = false;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		plugin_refuse(p, "no descriptors for a probe");
		return;
	}
	/* The child wants to block when the pipe is full. */
	fcntl(fds[1], F_SETFL, 0);
	p->probe_pid = zygote_exec(args, fds[1], STDOUT_FILENO);
	close(fds[1]);
	if (p->probe_pid < 0) {
		close(fds[0]);
		plugin_refuse(p, "no process for a probe");
		return;
	}
	p->probe_fd = fds[0];
	X.probes++;
	ev_io_init(&p->probe_io, on_probe_output, fds[0], EV_READ);
	ev_child_init(&p->probe_child, on_probe_exit, p->probe_pid, 0);
	ev_timer_init(&p->probe_timer, on_probe_late, PROBE_LIMIT_S, 0.);
	p->probe_io.data = p->probe_child.data = p->probe_timer.data = p;
	ev_io_start(X.loop, &p->probe_io);
	ev_child_start(X.loop, &p->probe_child);
	ev_timer_start(X.loop, &p->probe_timer);
}

/* The entry of that path, made at its place in order if it is new. */
static struct plugin *
plugin_get(const char *path, bool *is_new)
{
	struct plugin *p, *after = NULL, *made;

	LIST_FOREACH(p, &X.plugins, link)
	{
		int cmp = strcmp(p->path, path);

		if (cmp == 0)
			return p; /* cppcheck-suppress uninitvar ; the list holds whole entries */
		if (cmp > 0)
			break;
		after = p;
	}
	made = xcalloc(1, sizeof(*made));
	snprintf(made->path, sizeof(made->path), "%s", path);
	made->zygote_fd = made->probe_fd = -1;
	if (after)
		LIST_INSERT_AFTER(after, made, link);
	else
		LIST_INSERT_HEAD(&X.plugins, made, link);
	*is_new = true;
	return made;
}

static void
look_at(const char *path)
{
	bool is_new = false;
	struct plugin *p;
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	p = plugin_get(path, &is_new);
	p->is_seen = true;
	if ((!is_new && is_same_file(&p->st, &st)) || p->probe_pid)
		return;
	p->st = st;
	probe_start(p);
}

static void
scan_dir(const char *dir, int depth)
{
	_cleanup_free_ struct dirent **names = NULL;
	int n = scandir(dir, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		_cleanup_free_ struct dirent *d = names[i];
		size_t len = strlen(d->d_name);
		char path[PATH_MAX];
		struct stat st;

		if (d->d_name[0] == '.' ||
		    snprintf(path, sizeof(path), "%s/%s", dir, d->d_name) >= (int)sizeof(path) ||
		    stat(path, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth > 0)
			scan_dir(path, depth - 1);
		else if (len > 3 && !strcmp(d->d_name + len - 3, ".so"))
			look_at(path);
	}
}

void
plugins_rescan(void)
{
	struct plugin *p;

	for (p = LIST_FIRST(&X.plugins); p; p = LIST_NEXT(p, link)) {
		p->is_seen = false;
		/* Nobody waits for one that is ready; the next one reads the platforms again. */
		if (p->is_ready)
			zygote_retire(p, "looked at again");
	}
	/* One more than there are, so that it is not over before all have started. */
	X.probes++;
	for (int i = 0; i < X.plugin_dirs_n; i++)
		scan_dir(X.plugin_dirs[i], 1);
	LIST_FOREACH(p, &X.plugins, link)
	{
		if (p->is_seen || p->probe_pid)
			continue;
		json_decref(p->found);
		p->found = NULL;
		p->st = (struct stat){0};
		plugin_refuse(p, "file is gone");
	}
	if (--X.probes == 0)
		all_probed();
}

void
plugins_close(void)
{
	struct plugin *p;

	while ((p = LIST_FIRST(&X.plugins))) {
		LIST_REMOVE(p, link);
		zygote_retire(p, "the executor stops");
		if (p->probe_pid)
			kill(p->probe_pid, SIGKILL);
		json_decref(p->found);
		buf_fini(&p->probe_out);
		free(p);
	}
}
