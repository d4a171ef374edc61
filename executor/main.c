// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * takt-executor: starts units for an engine and gives it what they produce. A service of its own,
 * never a child of taktd. Start: arguments, state directory and its lock, limits, signals, units
 * of the executor before us, plugins, socket; "ready" is logged when probes and adoptions are done.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/io.h"
#include "config.h"
#include "executor/executor.h"
#include "executor/probe.h"
#include "executor/zygote.h"

#include "base/banned.h"

struct executor X = {.state_fd = -1,
    .units_fd = -1,
    .lock_fd = -1,
    .listen_fd = -1,
    .max_units = 64,
    .level = LOG_INFO,
    .format = LOG_TEXT};

static void
usage(FILE *f)
{
	fputs("usage: takt-executor --state DIR [--plugin-dir DIR]... [--platform-dir DIR]...\n"
	      "                     [--max-units N] [--log-level L] [--log-format F]\n"
	      "       takt-executor --probe FILE     print what a plugin file is, as JSON\n"
	      "       takt-executor --version\n",
	    f);
}

static int
bad_value(const char *option, const char *value, const char *remedy)
{
	fprintf(stderr, "takt-executor: --%s: '%s': %s\n", option, value, remedy);
	return 2;
}

static int
add_dir(const char **dirs, int *n, const char *option, const char *dir)
{
	if (*n == DIRS_MAX)
		return bad_value(option, dir, "at most 16 directories are allowed");
	/* Zygotes and probes are told absolute paths. */
	dirs[*n] = realpath(dir, NULL);
	if (!dirs[*n])
		dirs[*n] = dir;
	(*n)++;
	return 0;
}

static int
set_option(const char *name, const char *v)
{
	char *end;
	long n;
	int i;

	if (!strcmp(name, "state"))
		X.state_dir = v;
	else if (!strcmp(name, "plugin-dir"))
		return add_dir(X.plugin_dirs, &X.plugin_dirs_n, name, v);
	else if (!strcmp(name, "platform-dir"))
		return add_dir(X.platform_dirs, &X.platform_dirs_n, name, v);
	else if (!strcmp(name, "max-units")) {
		n = strtol(v, &end, 10);
		if (!*v || *end || n < 1 || n > 4096)
			return bad_value(name, v, "must be 1 to 4096");
		X.max_units = (unsigned)n;
	} else if (!strcmp(name, "log-level")) {
		i = log_level_parse(v);
		if (i < 0)
			return bad_value(name, v, "must be error, warn, info or debug");
		X.level = (enum log_level)i;
	} else if (!strcmp(name, "log-format")) {
		i = log_format_parse(v);
		if (i < 0)
			return bad_value(name, v, "must be text or json");
		X.format = (enum log_format)i;
	}
	return 0;
}

/* 0: go on; -1: done, exit 0; above 0: exit with it. */
static int
parse_args(int argc, char **argv)
{
	static const struct option options[] = {{"state", required_argument, NULL, 'o'},
	    {"plugin-dir", required_argument, NULL, 'o'},
	    {"platform-dir", required_argument, NULL, 'o'},
	    {"max-units", required_argument, NULL, 'o'},
	    {"log-level", required_argument, NULL, 'o'},
	    {"log-format", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'v'}, {0}};
	int c, i = 0, r;

	while ((c = getopt_long(argc, argv, "h", options, &i)) != -1) {
		if (c == 'h') {
			usage(stdout);
			return -1;
		}
		if (c == 'v') {
			printf("takt-executor %s\n", PACKAGE_VERSION);
			return -1;
		}
		r = c == 'o' ? set_option(options[i].name, optarg) : 2;
		if (r)
			return r;
	}
	if (X.state_dir && optind == argc)
		return 0;
	usage(stderr);
	return 2;
}

static int
open_state(struct err *e)
{
	if (io_mkdirs(X.state_dir, 0700, e) < 0)
		return -e->code;
	X.state_fd = open(X.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (X.state_fd < 0)
		return err_sys(e, "%s", X.state_dir);
	X.lock_fd =
	    openat(X.state_fd, "executor.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (X.lock_fd < 0)
		return err_sys(e, "%s/executor.lock", X.state_dir);
	if (flock(X.lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(
		    e, ERR_CONFLICT, "another executor holds %s/executor.lock", X.state_dir);
	if (mkdirat(X.state_fd, "units", 0700) < 0 && errno != EEXIST)
		return err_sys(e, "%s/units", X.state_dir);
	X.units_fd = openat(X.state_fd, "units", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (X.units_fd < 0)
		return err_sys(e, "%s/units", X.state_dir);
	return 0;
}

static void
raise_limits(void)
{
	struct rlimit files, no_core = {0, 0};

	/* Keepers too: what a plugin says passes through their memory in clear. */
	setrlimit(RLIMIT_CORE, &no_core);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Orphans of a killed keeper come to us, and are reaped by the loop. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		log_warn(LOG_EXEC, "cannot become subreaper: %m");
}

static void
on_stop(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)revents;
	log_info(LOG_EXEC, "%s: stops, units go on", strsignal(w->signum));
	ev_break(loop, EVBREAK_ALL);
}

static void
on_hup(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
	log_info(LOG_EXEC, "looks at the plugin directories again");
	plugins_rescan();
}

static void
watch_signals(void)
{
	static ev_signal term, intr, hup;

	signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&term, on_stop, SIGTERM);
	ev_signal_init(&intr, on_stop, SIGINT);
	ev_signal_init(&hup, on_hup, SIGHUP);
	ev_signal_start(X.loop, &term);
	ev_signal_start(X.loop, &intr);
	ev_signal_start(X.loop, &hup);
}

int
main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int r;

	if (argc == 3 && !strcmp(argv[1], "--probe"))
		return probe_main(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "--zygote"))
		return zygote_main(argc - 2, argv + 2);
	r = parse_args(argc, argv);
	if (r)
		return r < 0 ? 0 : r;
	log_init("executor", X.level, X.format);
	if (sodium_init() < 0)
		log_fatal(LOG_EXEC, "libsodium cannot start");
	if (open_state(&e) < 0)
		log_fatal(LOG_EXEC, "%s", e.message);
	raise_limits();
	X.loop = ev_default_loop(EVFLAG_AUTO);
	if (!X.loop)
		log_fatal(LOG_EXEC, "no event loop");
	watch_signals();
	units_init();
	keep_init();
	units_scan();
	if (server_open(&e) < 0)
		log_fatal(LOG_EXEC, "%s", e.message);
	plugins_rescan();
	ev_run(X.loop, 0);
	server_close();
	plugins_close();
	return 0;
}
