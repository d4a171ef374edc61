// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See child.h. Set up so that it dies with its keeper, can be found by its tag when the keeper was
 * killed, leaves no core with secrets, and holds no descriptor of anybody else.
 */
#include "executor/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "executor/fds.h"
#include "executor/host.h"
#include "executor/keeper.h"
#include "executor/loader.h"

#include "base/banned.h"

static void
on_sigterm(int sig)
{
	(void)sig;
}

/*
 * SIGTERM interrupts a blocking call instead of ending the process, so that run() can notice its
 * cancellation and clean up; programs it executes get the default back. The keeper ends those
 * who do not listen.
 */
static void
reset_signals(void)
{
	const struct sigaction term = {.sa_handler = on_sigterm};
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			signal(sig, SIG_DFL);
	sigaction(SIGTERM, &term, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Standard descriptors; returns the host's own for log lines, whatever run() does to 1 and 2. */
static int
set_descriptors(const struct child_fds *fds, int plugin_fd)
{
	int log = fcntl(fds->output, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const int keep[] = {fds->frames, fds->cancel, fds->input, log, plugin_fd};

	if (log < 0 || null < 0)
		_exit(120);
	dup2(null, STDIN_FILENO);
	dup2(fds->output, STDOUT_FILENO);
	dup2(fds->output, STDERR_FILENO);
	fds_close_others(keep, ARRAY_LEN(keep));
	return log;
}

_Noreturn void
child_main(const struct keeper_job *job, const struct child_fds *fds, int64_t deadline_at,
    pid_t keeper_pid)
{
	const struct rlimit no_core = {0, 0};
	const takt_plugin_entry *entry = job->entry;
	struct host_setup setup = {.frame_fd = fds->frames,
	    .cancel_fd = fds->cancel,
	    .input_fd = fds->input,
	    .deadline_at = deadline_at};
	struct err e = ERR_INIT;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper_pid)
		_exit(120);
	prctl(PR_SET_NAME, "takt-unit");
	setpgid(0, 0); /* what it signals as its group is itself, not its keeper */
	setrlimit(RLIMIT_CORE, &no_core);
	reset_signals();
	setup.log_fd = set_descriptors(fds, job->plugin_fd);
	/* In place, so that /proc/PID/environ shows it in this process and all it forks. */
	memcpy(job->env_tag, job->meta.tag, UNIT_TAG_LEN);
	log_init("unit", job->log_level, job->log_format);
	if (!entry)
		entry = loader_open(job->plugin_fd, &e);
	close(job->plugin_fd);
	setup.type = entry ? loader_type(entry, job->meta.type) : NULL;
	if (!setup.type)
		log_fatal(LOG_PLUGIN, "%s: %s", job->plugin_path,
		    entry ? "has no such task type" : e.message);
	host_run(&setup);
	_exit(0);
}
