// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The executor's side of its zygotes: one per plugin file, started when a unit first needs it. A
 * zygote that does not get ready in time, or dies, costs the units that wait for it a REFUSED;
 * the next START tries again.
 */
#include "executor/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "executor/zygote.h"

#include "base/banned.h"

#define ZYGOTE_LIMIT_S 10.
#define ARGS_MAX (DIRS_MAX + 12)

/* A small environment of known names; TAKT_UNIT is what plugin processes fill in. */
static const char *const passed_env[] = {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR",
    "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS" FAILPOINT_VARIABLES};

static void
exec_self(const char *const *args)
{
	static char tag[] = "TAKT_UNIT=00000000000000000000000000000000";
	char *env[ARRAY_LEN(passed_env) + 2], *argv[ARGS_MAX + 2];
	size_t e = 0, a = 0;

	env[e++] = tag;
	for (size_t i = 0; i < ARRAY_LEN(passed_env); i++) {
		const char *v = getenv(passed_env[i]);

		if (v)
			env[e++] = xasprintf("%s=%s", passed_env[i], v);
	}
	env[e] = NULL;
	argv[a++] = (char *)(uintptr_t) "takt-executor";
	for (; *args && a < ARGS_MAX; args++)
		argv[a++] = (char *)(uintptr_t)*args;
	argv[a] = NULL;
	execve("/proc/self/exe", argv, env);
}

pid_t
zygote_exec(const char *const *args, int fd, int target_fd)
{
	sigset_t none;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	/* libev keeps its own handlers and mask out of what we exec. */
	for (int sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (fd == target_fd)
		io_set_cloexec(fd, false);
	else if (dup2(fd, target_fd) < 0)
		_exit(127);
	exec_self(args);
	_exit(127);
}

static void
refuse_waiting(struct plugin *p, const char *message)
{
	for (size_t i = 0; i < UNIT_BUCKETS; i++) {
		struct unit *u = LIST_FIRST(&X.units[i]), *next;

		for (; u; u = next) {
			next = LIST_NEXT(u, bucket);
			if (u->phase == UNIT_PENDING && u->plugin == p)
				unit_refuse(u, "internal", "plugin.not_started", message,
				    "See the executor's log; the plugin file may have changed: "
				    "send SIGHUP.");
		}
	}
}

void
zygote_retire(struct plugin *p, const char *why)
{
	if (p->zygote_fd < 0)
		return;
	ev_io_stop(X.loop, &p->zygote_io);
	ev_timer_stop(X.loop, &p->zygote_timer);
	/* One that is ready still forks what it was handed, then sees the end and leaves. */
	close(p->zygote_fd);
	if (!p->is_ready)
		kill(p->zygote_pid, SIGKILL);
	p->zygote_fd = -1;
	p->zygote_pid = 0;
	p->is_ready = false;
	refuse_waiting(p, why);
}

static void
zygote_down(struct plugin *p, const char *why)
{
	log_warn(LOG_EXEC, "zygote of %s: %s", p->path, why);
	zygote_retire(p, why);
}

/* The zygote takes the descriptors; the keeper's end of the control socket is the sign of life. */
static void
hand_over(struct plugin *p, struct unit *u)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	int pair[2], r;

	FAILPOINT("executor.spawn");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		unit_refuse(u, "transient", "executor.descriptors", "no descriptors left", "");
		return;
	}
	u->spawn_fds[1] = pair[1];
	json_object_set_new(u->spawn, "lease_until_ms", json_integer(lease_until(u)));
	r = frame_encode(&b, FRAME_Z_SPAWN, 0, u->spawn, NULL, 0, &e);
	if (r == 0)
		r = frame_send_raw(p->zygote_fd, b.p, b.n, u->spawn_fds, 3, &e);
	for (size_t i = 0; i < ARRAY_LEN(u->spawn_fds); i++) {
		close(u->spawn_fds[i]);
		u->spawn_fds[i] = -1;
	}
	FAILPOINT("executor.spawned");
	if (r < 0) {
		close(pair[0]);
		unit_refuse(u, "transient", "executor.busy", e.message, "");
		return;
	}
	unit_set_phase(u, UNIT_STARTING);
	unit_watch_keeper(u, pair[0]);
}

static void
hand_over_waiting(struct plugin *p)
{
	for (size_t i = 0; i < UNIT_BUCKETS; i++) {
		struct unit *u = LIST_FIRST(&X.units[i]), *next;

		for (; u; u = next) {
			next = LIST_NEXT(u, bucket);
			if (u->phase == UNIT_PENDING && u->plugin == p)
				hand_over(p, u);
		}
	}
}

static void
on_zygote(struct ev_loop *loop, ev_io *w, int revents)
{
	static unsigned char packet[FRAME_MAX];
	_cleanup_frame_ struct frame f = {0};
	struct plugin *p = w->data;
	struct err e = ERR_INIT;
	const char *error;
	int r;

	(void)revents;
	r = frame_recv(p->zygote_fd, packet, &f, NULL, &e);
	if (r == -ERR_TRANSIENT)
		return;
	error = r > 0 ? json_get_str(f.json, "error", NULL) : "process has ended";
	if (r <= 0 || error || f.type != FRAME_Z_READY) {
		zygote_down(p, error ? error : "unexpected frame");
		return;
	}
	ev_timer_stop(loop, &p->zygote_timer);
	p->is_ready = true;
	hand_over_waiting(p);
}

static void
on_zygote_late(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	zygote_down(w->data, "not ready within 10 s: its constructor hangs");
}

static bool
zygote_start(struct plugin *p)
{
	const char *args[ARGS_MAX] = {"--zygote", p->path, p->digest, p->is_cold ? "cold" : "warm",
	    X.level == LOG_DEBUG  ? "debug"
	    : X.level == LOG_INFO ? "info"
	    : X.level == LOG_WARN ? "warn"
				  : "error",
	    X.format == LOG_JSON ? "json" : "text"};
	int pair[2];

	for (int i = 0; i < X.platform_dirs_n; i++)
		args[6 + i] = X.platform_dirs[i];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	p->zygote_pid = zygote_exec(args, pair[1], ZYGOTE_FD);
	close(pair[1]);
	if (p->zygote_pid < 0) {
		close(pair[0]);
		return false;
	}
	io_set_nonblock(pair[0], true);
	p->zygote_fd = pair[0];
	p->is_ready = false;
	ev_io_init(&p->zygote_io, on_zygote, pair[0], EV_READ);
	ev_timer_init(&p->zygote_timer, on_zygote_late, ZYGOTE_LIMIT_S, 0.);
	p->zygote_io.data = p->zygote_timer.data = p;
	ev_io_start(X.loop, &p->zygote_io);
	ev_timer_start(X.loop, &p->zygote_timer);
	return true;
}

void
zygote_spawn(struct plugin *p, struct unit *u)
{
	u->plugin = p;
	if (p->zygote_fd < 0 && !zygote_start(p))
		unit_refuse(
		    u, "transient", "executor.processes", "no process for the plugin's zygote", "");
	else if (p->is_ready)
		hand_over(p, u);
}
