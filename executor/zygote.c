// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See zygote.h. Started by exec of takt-executor itself, with an environment that holds the
 * placeholder TAKT_UNIT=000…, and killed with the executor; its keepers go on. It stays single
 * threaded and holds no socket but the one to the executor: a fork of it must be whole.
 */
#include "executor/zygote.h"

#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/jsonx.h"
#include "executor/keeper.h"
#include "executor/loader.h"
#include "executor/proc.h"
#include "frame/frame.h"
#include "sdk/device/device.h"

#include "base/banned.h"

struct zygote {
	const char *path, *digest;
	bool is_cold;
	int file_fd; /* the file of that digest, whatever stands at path by now */
	enum log_level level;
	enum log_format format;
	const takt_plugin_entry *entry;
	char *env_tag;
};

static void
become_zygote(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "takt-zygote");
	signal(SIGCHLD, SIG_IGN); /* keepers are nobody's to wait for */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	dup2(STDERR_FILENO, STDOUT_FILENO);
}

static int
warm_up(struct zygote *z, const char *const *platform_dirs, struct err *e)
{
	char digest[LOADER_DIGEST_LEN + 1];
	struct err platforms = ERR_INIT;

	z->env_tag = getenv("TAKT_UNIT");
	if (!z->env_tag || strlen(z->env_tag) != UNIT_TAG_LEN)
		return err_set(e, ERR_BUG, "no placeholder TAKT_UNIT in the environment");
	if (sodium_init() < 0)
		return err_set(e, ERR_SYSTEM, "libsodium cannot start");
	tzset(); /* else each unit that logs reads the time zone's file */
	json_object_seed(0);
	if (device_platforms_load(platform_dirs, &platforms) < 0)
		log_warn(LOG_ZYGOTE, "platforms: %s", platforms.message);
	z->file_fd = loader_check_file(z->path, digest, e);
	if (z->file_fd < 0)
		return -e->code;
	if (strcmp(digest, z->digest) != 0)
		return err_set(e, ERR_CONFLICT,
		    "file has changed since it was looked at: digest %.16s…, was %.16s…", digest,
		    z->digest);
	if (z->is_cold)
		return 0;
	z->entry = loader_open(z->file_fd, e);
	if (!z->entry)
		return -e->code;
	if (loader_has_devices(z->entry) && device_load(e) < 0)
		return -e->code;
	if (proc_threads() != 1)
		return err_set(e, ERR_CONFLICT,
		    "%u threads after loading, 1 is needed to stay warm", proc_threads());
	return 0;
}

static bool
read_job(const struct zygote *z, const json_t *j, const int *fds, struct keeper_job *job)
{
	const char *pk = json_get_str(j, "seal_pk", "");
	size_t n = 0;

	*job = (struct keeper_job){.file_fd = fds[0],
	    .control_fd = fds[1],
	    .input_fd = fds[2],
	    .plugin_path = z->path,
	    .plugin_fd = z->file_fd,
	    .entry = z->entry,
	    .env_tag = z->env_tag,
	    .log_level = z->level,
	    .log_format = z->format};
	if (unit_meta_read(fds[0], &job->meta, NULL) < 0)
		return false;
	job->timeout_ms = json_get_int(j, "timeout_ms", 0);
	job->grace_ms = json_get_int(j, "grace_ms", 0);
	job->lease_until_ms = json_get_int(j, "lease_until_ms", -1);
	job->output_limit_b = json_get_int(j, "output_limit_b", 0);
	job->has_seal_pk = sodium_base642bin(job->seal_pk, sizeof(job->seal_pk), pk, strlen(pk),
			       NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
			   n == sizeof(job->seal_pk);
	return true;
}

/* A failed fork shows itself to the executor: the control socket closes and nobody has claimed. */
static void
spawn(const struct zygote *z, const json_t *j, const int *fds)
{
	struct keeper_job job;
	pid_t pid;

	if (!read_job(z, j, fds, &job)) {
		log_error(LOG_ZYGOTE, "unit without meta");
		return;
	}
	pid = fork();
	if (pid == 0)
		keeper_main(&job);
	if (pid < 0)
		log_error(LOG_ZYGOTE, "fork for unit %s: %m", job.meta.unit);
}

/* Until the executor closes its end; what it sent before is still done. */
static void
serve(const struct zygote *z)
{
	static unsigned char packet[FRAME_MAX];

	for (;;) {
		_cleanup_frame_ struct frame f = {0};
		struct err e = ERR_INIT;
		int fds[FRAME_FDS_MAX];
		size_t n;
		int r = frame_recv_fds(ZYGOTE_FD, packet, &f, fds, FRAME_FDS_MAX, &n, &e);

		if (r == 0)
			return;
		if (r < 0)
			log_fatal(LOG_ZYGOTE, "executor: %s", e.message);
		if (f.type == FRAME_Z_SPAWN && n == 3)
			spawn(z, f.json, fds);
		for (size_t i = 0; i < n; i++)
			close(fds[i]);
	}
}

int
zygote_main(int argc, char **argv)
{
	struct zygote z = {0};
	struct err e = ERR_INIT;
	_cleanup_json_ json_t *ready = json_object();

	if (argc < 5)
		return 2;
	z.path = argv[0];
	z.digest = argv[1];
	z.is_cold = !strcmp(argv[2], "cold");
	z.level = (enum log_level)log_level_parse(argv[3]);
	z.format = (enum log_format)log_format_parse(argv[4]);
	log_init("zygote", z.level, z.format);
	become_zygote();
	if (warm_up(&z, (const char *const *)argv + 5, &e) < 0)
		json_object_set_new(ready, "error", json_string(e.message));
	if (frame_send(ZYGOTE_FD, FRAME_Z_READY, 0, ready, NULL, 0, -1, &e) < 0)
		log_fatal(LOG_ZYGOTE, "executor: %s", e.message);
	if (!json_object_get(ready, "error"))
		serve(&z);
	/* No exit handlers: they are the plugin's. */
	_exit(0);
}
