// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Roles that only tell what they see, linked with the real main.c and parent.c: what the parent
 * does can be tested without engine and gateway. A line of JSON on standard output for each
 * fact; the file `deaf` in the state directory makes roles ignore SIGTERM, `fail` makes them exit 3.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/io.h"
#include "base/jsonx.h"

#include "daemon/main/roles.h"

#include "base/banned.h"

static const char *role;
static const struct conf *conf;
static ev_signal on_term, on_hup;

static bool
has_flag(const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", conf->state_dir, name);
	return access(path, F_OK) == 0;
}

static void
tell(const char *what, const struct conf *c)
{
	struct rlimit core;
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *j = NULL;

	getrlimit(RLIMIT_CORE, &core);
	j = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:s}", "role", role,
	    "what", what, "pid", (int)getpid(), "ppid", (int)getppid(), "uid", (int)getuid(), "gid",
	    (int)getgid(), "max_units", (int)c->max_units, "no_new_privs",
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), "core", (int)core.rlim_cur, "can_be_root",
	    setuid(0) == 0 && getuid() == 0, "node_name", c->node_name);
	text = json_text(j);
	dprintf(STDOUT_FILENO, "%s\n", text);
}

static void
on_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct err e = ERR_INIT;

	(void)revents;
	if (w->signum == SIGHUP) {
		_cleanup_conf_ struct conf *fresh = conf_load(conf->file, &e);

		tell(fresh ? "reload" : e.message, fresh ? fresh : conf);
		return;
	}
	tell("term", conf);
	if (!has_flag("deaf"))
		ev_break(loop, EVBREAK_ALL);
}

static int
run(const char *name, const struct conf *c, struct ev_loop *loop)
{
	role = name;
	conf = c;
	ev_signal_init(&on_term, on_signal, SIGTERM);
	ev_signal_start(loop, &on_term);
	ev_signal_init(&on_hup, on_signal, SIGHUP);
	ev_signal_start(loop, &on_hup);
	tell("start", c);
	if (has_flag("fail"))
		return 3;
	ev_run(loop, 0);
	return 0;
}

int
engine_main(const struct conf *c, struct ev_loop *loop)
{
	return run("engine", c, loop);
}

int
gateway_main(const struct conf *c, struct ev_loop *loop)
{
	return run("gateway", c, loop);
}
