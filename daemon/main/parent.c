// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See parent.h. Each child is `taktd -x NAME -c /proc/self/fd/3`: descriptor 3 is a memory file
 * with the configuration as the parent accepted it, so that all roles read the same text, a
 * half-edited file reaches none, and the gateway's user need not be able to read the file itself.
 * Children hold it read-only: the gateway must not be able to write what the engine reads.
 *
 * Invariant: no child outlives the parent (PR_SET_PDEATHSIG), whatever ends it.
 */
#include "daemon/main/parent.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/io.h"

#include "base/banned.h"

#define BACKOFF_MIN_S 0.2
#define BACKOFF_MAX_S 10.0
#define STEADY_MS 60000 /* up for so long: the next failure is a new story */
#define STOP_S 10.0
#define CONF_FD 3
#define CONF_PATH "/proc/self/fd/3"

enum { MIGRATE, ENGINE, GATEWAY, CHILD_COUNT };

struct child {
	const char *name;
	bool is_wanted;
	pid_t pid; /* 0: not running */
	double backoff_s;
	int64_t started_ms;
	ev_child watcher;
	ev_timer retry;
};

static struct {
	struct ev_loop *loop;
	struct conf *conf;
	const char *trace;
	bool is_debug;
	int conf_fd;
	bool is_stopping;
	int status;
	struct child children[CHILD_COUNT];
	ev_signal on_term, on_int, on_hup;
	ev_timer kill_timer;
} P = {.conf_fd = -1,
    .children = {[MIGRATE] = {.name = "migrate"},
	[ENGINE] = {.name = "engine"},
	[GATEWAY] = {.name = "gateway"}}};

static void start_child(struct child *);

/* Tell a service manager, if there is one (sd_notify's protocol; no library for one datagram). */
static void
notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_cleanup_fd_ int fd = -1;
	size_t n;

	if (!path || (path[0] != '/' && path[0] != '@') ||
	    (n = strlen(path)) >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, n);
	if (path[0] == '@')
		sa.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		log_warn(LOG_MAIN, "telling the service manager: %s", strerror(errno));
}

static bool
is_kept(const char *variable)
{
	static const char *const prefixes[] = {"PATH=", "LANG=", "LC_", "TZ=", "TZDIR=", "PG",
	    "ASAN_OPTIONS=", "LSAN_OPTIONS=", "UBSAN_OPTIONS=" FAILPOINT_VARIABLES};

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (!strncmp(variable, prefixes[i], strlen(prefixes[i])))
			return strncmp(variable, "PGPASSWORD=", 11) != 0;
	return false;
}

/* Root's environment may hold secrets, and all processes of the gateway's user can read its own. */
static void
clean_environment(void)
{
	char **kept = environ;

	for (char **v = environ; *v; v++)
		if (is_kept(*v))
			*kept++ = *v;
	*kept = NULL;
}

/* The gateway parses strangers' bytes: it keeps no privilege and can win none back. */
static int
drop_privileges(const char *user)
{
	if (user[0] && geteuid() == 0) {
		const struct passwd *pw = getpwnam(user);

		if (!pw || initgroups(user, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 ||
		    setuid(pw->pw_uid) < 0)
			return -1;
		clean_environment();
	}
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* Between fork and exec. */
static _Noreturn void
exec_child(const struct child *c, pid_t parent)
{
	const char *argv[9] = {"taktd", "-x", c->name, "-c", CONF_PATH};
	_cleanup_free_ char *conf_path = xasprintf("/proc/self/fd/%d", P.conf_fd);
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC), conf_fd = open(conf_path, O_RDONLY);
	int n = 5;

	if (P.is_debug)
		argv[n++] = "-d";
	if (P.trace) {
		argv[n++] = "-T";
		argv[n++] = P.trace;
	}

	if (c == &P.children[GATEWAY] && drop_privileges(P.conf->gateway_user) < 0) {
		log_error(
		    LOG_MAIN, "becoming user '%s': %s", P.conf->gateway_user, strerror(errno));
		_exit(EX_NOPERM);
	}
	/* After the change of user, which clears it. A parent that died before this line is seen by its pid. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(EX_OSERR);
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0)
		_exit(EX_OSERR);
	if (conf_fd < 0 || dup2(conf_fd, CONF_FD) < 0)
		_exit(EX_OSERR);
	/* What we were started with is not the roles': they tell no service manager, hold no file. */
	unsetenv("NOTIFY_SOCKET");
	close_range(CONF_FD + 1, ~0U, 0);
	execv("/proc/self/exe",
	    (char *const *)argv); /* this very file, even if it was replaced on disk */
	log_error(LOG_MAIN, "starting %s: %s", c->name, strerror(errno));
	_exit(EX_OSERR);
}

static void
schedule(struct child *c)
{
	ev_timer_stop(P.loop, &c->retry);
	ev_timer_set(&c->retry, c->backoff_s, 0.);
	ev_timer_start(P.loop, &c->retry);
	c->backoff_s = c->backoff_s * 2 > BACKOFF_MAX_S ? BACKOFF_MAX_S : c->backoff_s * 2;
}

static void
start_child(struct child *c)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
		exec_child(c, parent);
	if (pid < 0) {
		log_error(LOG_MAIN, "cannot fork for %s: %s; again in %.1f s", c->name,
		    strerror(errno), c->backoff_s);
		schedule(c);
		return;
	}
	c->pid = pid;
	c->started_ms = clock_boottime_ms();
	ev_child_set(&c->watcher, pid, 0);
	ev_child_start(P.loop, &c->watcher);
	log_info(LOG_MAIN, "started %s, process %d", c->name, (int)pid);
}

static void
start_roles(void)
{
	for (int i = ENGINE; i < CHILD_COUNT; i++)
		if (P.children[i].is_wanted)
			start_child(&P.children[i]);
	notify("READY=1");
}

static void
stop_when_all_ended(void)
{
	for (int i = 0; i < CHILD_COUNT; i++)
		if (P.children[i].pid)
			return;
	ev_break(P.loop, EVBREAK_ALL);
}

static void
signal_children(int sig)
{
	for (int i = 0; i < CHILD_COUNT; i++)
		if (P.children[i].pid)
			kill(P.children[i].pid, sig);
}

static void
on_kill_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
	log_warn(LOG_MAIN, "a role did not end within %.0f s and is killed", STOP_S);
	signal_children(SIGKILL);
}

static void
stop(int status)
{
	if (P.is_stopping)
		return;
	P.is_stopping = true;
	P.status = status;
	notify("STOPPING=1");
	for (int i = 0; i < CHILD_COUNT; i++)
		ev_timer_stop(P.loop, &P.children[i].retry);
	signal_children(SIGTERM);
	ev_timer_init(&P.kill_timer, on_kill_timer, STOP_S, 0.);
	ev_timer_start(P.loop, &P.kill_timer);
	stop_when_all_ended();
}

static void
on_child_end(struct ev_loop *loop, ev_child *w, int revents)
{
	struct child *c = w->data;
	int status = w->rstatus;

	(void)revents;
	ev_child_stop(loop, w);
	c->pid = 0;
	if (P.is_stopping) {
		stop_when_all_ended();
		return;
	}
	if (c == &P.children[MIGRATE] && WIFEXITED(status) && WEXITSTATUS(status) == EX_OK) {
		start_roles();
		return;
	}
	if (c == &P.children[MIGRATE] && WIFEXITED(status) && WEXITSTATUS(status) != EX_TEMPFAIL) {
		stop(
		    1); /* a newer schema, a defect: trying again cannot help; the child has said why */
		return;
	}
	if (clock_boottime_ms() - c->started_ms >= STEADY_MS)
		c->backoff_s = BACKOFF_MIN_S;
	if (WIFSIGNALED(status))
		log_error(LOG_MAIN, "%s was ended by signal %d (%s); again in %.1f s", c->name,
		    WTERMSIG(status), strsignal(WTERMSIG(status)), c->backoff_s);
	else
		log_error(LOG_MAIN, "%s ended with status %d; again in %.1f s", c->name,
		    WEXITSTATUS(status), c->backoff_s);
	schedule(c);
}

static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	start_child(w->data);
}

static void
on_stop_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop;
	(void)revents;
	if (P.is_stopping) { /* asked twice */
		signal_children(SIGKILL);
		return;
	}
	log_info(LOG_MAIN, "stopping at %s", strsignal(w->signum));
	stop(0);
}

/* The text that was accepted, for the roles; in place, so that running ones see it too. */
static int
publish(const struct conf *conf, struct err *e)
{
	size_t n = strlen(conf->text);

	if (P.conf_fd < 0) {
		P.conf_fd = memfd_create("taktd.conf", MFD_CLOEXEC);
		if (P.conf_fd < 0 || fchmod(P.conf_fd, 0444) < 0)
			return err_sys(e, "memory for the configuration");
	}
	/* Never empty in between: an empty file is a good one, with nothing but defaults. */
	if (pwrite(P.conf_fd, conf->text, n, 0) != (ssize_t)n || ftruncate(P.conf_fd, (off_t)n) < 0)
		return err_sys(e, "handing the configuration on");
	return 0;
}

static void
on_reload(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct err e = ERR_INIT;
	struct conf *fresh = conf_load(P.conf->file, &e);
	const char *fixed;
	char text[800];

	(void)loop;
	(void)w;
	(void)revents;
	if (!fresh || conf_check_host(fresh, &e) < 0 || publish(fresh, &e) < 0) {
		log_error(LOG_MAIN, "the configuration stays as it was: %s",
		    err_text(&e, text, sizeof(text)));
		conf_free(fresh);
		return;
	}
	if ((fixed = conf_fixed_difference(P.conf, fresh)))
		log_warn(LOG_MAIN, "%s has changed; that takes effect when taktd is started again",
		    fixed);
	log_init("parent", P.is_debug ? LOG_DEBUG : fresh->log_level, fresh->log_format);
	log_info(LOG_MAIN, "configuration read again");
	conf_free(P.conf);
	P.conf = fresh;
	for (int i = ENGINE; i < CHILD_COUNT; i++)
		if (P.children[i].pid)
			kill(P.children[i].pid, SIGHUP);
}

static void
watch_signal(ev_signal *w, void (*cb)(struct ev_loop *, ev_signal *, int), int sig)
{
	ev_signal_init(w, cb, sig);
	ev_signal_start(P.loop, w);
}

int
parent_run(struct conf *take_conf, const char *trace, bool is_debug)
{
	struct err e = ERR_INIT;
	char text[800];

	P.loop = ev_default_loop(0);
	P.conf = take_conf;
	P.trace = trace;
	P.is_debug = is_debug;
	if (publish(P.conf, &e) < 0) {
		log_error(LOG_MAIN, "%s", err_text(&e, text, sizeof(text)));
		return 1;
	}
	if (P.conf->has_gateway && !P.conf->gateway_user[0] && geteuid() == 0)
		log_warn(LOG_MAIN, "the gateway runs as root: set gateway_user");
	P.children[ENGINE].is_wanted = P.conf->has_engine;
	P.children[GATEWAY].is_wanted = P.conf->has_gateway;
	for (int i = 0; i < CHILD_COUNT; i++) {
		struct child *c = &P.children[i];

		c->backoff_s = BACKOFF_MIN_S;
		ev_init(&c->watcher, on_child_end);
		ev_init(&c->retry, on_retry);
		c->watcher.data = c->retry.data = c;
	}
	watch_signal(&P.on_term, on_stop_signal, SIGTERM);
	watch_signal(&P.on_int, on_stop_signal, SIGINT);
	watch_signal(&P.on_hup, on_reload, SIGHUP);
	if (P.conf->auto_migrate && P.conf->has_engine)
		start_child(&P.children[MIGRATE]);
	else
		start_roles();
	ev_run(P.loop, 0);
	conf_free(P.conf);
	close(P.conf_fd);
	return P.status;
}
