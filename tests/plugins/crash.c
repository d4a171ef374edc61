/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Takt authors */
/*
 * Task type `crash`: ends in the manner its parameter `mode` names, few of them good. status for
 * "exit", mib for "flood", kib for "noise", rc for "odd_rc".
 */
#include "params.h"

#include <signal.h>
#include <sys/socket.h>

static takt_rc
crash_segv(const json_t *p)
{
	volatile uintptr_t nowhere = 16;

	(void)p;
	/* Asked for the hard way: a sanitizer's own handler would turn it into an exit. */
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
	return (takt_rc) * (volatile int *)nowhere;
}

static takt_rc
crash_abort(const json_t *p)
{
	(void)p;
	signal(SIGABRT, SIG_DFL);
	abort();
}

static takt_rc
crash_exit(const json_t *p)
{
	_exit((int)param_int(p, "status", 7));
}

static takt_rc
crash_flood(const json_t *p)
{
	char block[4096];

	for (int64_t i = 0; i < param_int(p, "mib", 16) * 256; i++) {
		int n = snprintf(block, sizeof(block), "block %lld ", (long long)i);

		memset(block + n, 'x', sizeof(block) - (size_t)n);
		block[sizeof(block) - 1] = '\n';
		for (size_t at = 0; at < sizeof(block);) {
			ssize_t w = write(1, block + at, sizeof(block) - at);

			if (w < 0 && errno != EINTR)
				return TAKT_E_INTERNAL;
			at += w > 0 ? (size_t)w : 0;
		}
	}
	return TAKT_OK;
}

/* Output that does not compress. */
static takt_rc
crash_noise(const json_t *p)
{
	char block[1024];
	uint64_t x = 88172645463325252u;

	for (int64_t i = 0; i < param_int(p, "kib", 64); i++) {
		for (size_t n = 0; n < sizeof(block); n++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			block[n] = (char)(x >> 32);
		}
		fwrite(block, sizeof(block), 1, stdout);
	}
	return TAKT_OK;
}

/* Bytes that are no frame, to whatever socket there is. */
static takt_rc
crash_forge(const json_t *p)
{
	static const unsigned char junk[64] = {0xff, 0xff, 0xff, 0x7f, 0x86, 0, 1, 0};

	(void)p;
	for (int fd = 3; fd < 64; fd++)
		send(fd, junk, sizeof(junk), MSG_NOSIGNAL | MSG_DONTWAIT);
	return TAKT_OK;
}

/* A well-formed frame with a lie in it: an end that says passed, before a segfault. */
static takt_rc
crash_early_end(const json_t *p)
{
	static const char frame[] = "\x0d\0\0\0\x80\0\x01\0\0\0\0\0\0\0\0\0\x09\0\0\0{\"done\":x";

	(void)p;
	for (int fd = 3; fd < 64; fd++)
		send(fd, frame, sizeof(frame) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	return TAKT_OK;
}

static takt_rc
crash_close_all(const json_t *p)
{
	(void)p;
	for (int fd = 0; fd < 1024; fd++)
		close(fd);
	return TAKT_OK;
}

static takt_rc
crash_hang(const json_t *p)
{
	(void)p;
	signal(SIGTERM, SIG_IGN);
	while (pause() < 0)
		;
	return TAKT_OK;
}

static takt_rc
crash_kill_keeper(const json_t *p)
{
	(void)p;
	kill(getppid(), SIGKILL);
	while (pause() < 0)
		;
	return TAKT_OK;
}

static takt_rc
crash_odd_rc(const json_t *p)
{
	return (takt_rc)param_int(p, "rc", 4711);
}

static const struct {
	const char *name;
	takt_rc (*f)(const json_t *);
} modes[] = {{"segv", crash_segv}, {"abort", crash_abort}, {"exit", crash_exit},
    {"flood", crash_flood}, {"noise", crash_noise}, {"forge", crash_forge},
    {"early_end", crash_early_end}, {"close_all", crash_close_all}, {"hang", crash_hang},
    {"kill_keeper", crash_kill_keeper}, {"odd_rc", crash_odd_rc}};

static takt_rc
crash_run(const takt_host *host, takt_ctx *ctx, takt_str params)
{
	json_t *p = json_loadb(params.p, params.n, 0, NULL);
	const char *mode = param_str(p, "mode", "");
	takt_rc rc = TAKT_E_PARAMS;

	host->log(ctx, TAKT_LOG_INFO, (takt_str){mode, strlen(mode)});
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(modes[i].name, mode))
			rc = modes[i].f(p);
	json_decref(p);
	return rc;
}

static const takt_task_type crash_type = {
    .struct_size = sizeof(takt_task_type),
    .targets = TAKT_TARGETS_NONE,
    .id = "crash",
    .version = "1.0.0",
    .title = "Crash",
    .summary = "Ends in a manner that is not good",
    .params_schema = "{\"type\":\"object\"}",
    .default_timeout_s = 60,
    .default_max_retries = 0,
    .default_retry_delay_s = 1,
    .recovery = TAKT_RECOVERY_RERUN,
    .run = crash_run,
};

static const takt_task_type *const types[] = {&crash_type, NULL};

TAKT_PLUGIN("crash", "1.0.0", "Takt", "Apache-2.0", types);
