/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The Takt authors */
/*
 * A plugin with one defect, chosen by WRONG_x; the executor must refuse it by name and live on.
 * WRONG_THREADS is no defect: it starts a thread at load, so it cannot be kept warm, but it runs.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <takt/plugin.h>
#include <unistd.h>

#ifdef WRONG_ID
#define TYPE_ID "Wrong Id"
#else
#define TYPE_ID "wrong"
#endif
#ifdef WRONG_SCHEMA
#define SCHEMA "{\"type\":"
#else
#define SCHEMA "{\"type\":\"object\"}"
#endif
#ifdef WRONG_CAPS
#define CAPS UINT64_C(0x8000)
#else
#define CAPS 0
#endif

#ifdef WRONG_ABORTS
static __attribute__((constructor)) void
at_load(void)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}
#endif

#ifdef WRONG_HANGS
static __attribute__((constructor)) void
at_load(void)
{
	for (;;)
		pause();
}
#endif

#ifdef WRONG_THREADS
static void *
idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static __attribute__((constructor)) void
at_load(void)
{
	pthread_t t;

	pthread_create(&t, NULL, idle, NULL);
}
#endif

static takt_rc
wrong_run(const takt_host *host, takt_ctx *ctx, takt_str params)
{
	(void)host;
	(void)ctx;
	(void)params;
	puts("it runs");
	return TAKT_OK;
}

static const takt_task_type wrong_type = {
    .struct_size = sizeof(takt_task_type),
    .targets = TAKT_TARGETS_NONE,
    .caps = CAPS,
    .id = TYPE_ID,
    .version = "1.0.0",
    .title = "Wrong",
    .summary = "Wrong on purpose",
    .params_schema = SCHEMA,
    .default_timeout_s = 60,
    .default_max_retries = 0,
    .default_retry_delay_s = 1,
    .recovery = TAKT_RECOVERY_RERUN,
    .run = wrong_run,
};

static const takt_task_type *const types[] = {&wrong_type, NULL};

#ifdef WRONG_SYMBOL
#define ENTRY takt_plugin_entry_0
#else
#define ENTRY takt_plugin_entry_1
#endif

extern const takt_plugin_entry ENTRY;
__attribute__((visibility("default"))) const takt_plugin_entry ENTRY = {
    .magic =
#ifdef WRONG_MAGIC
	0x12345678u,
#else
	TAKT_PLUGIN_MAGIC,
#endif
    .struct_size =
#ifdef WRONG_SIZE
	16,
#else
	sizeof(takt_plugin_entry),
#endif
    .abi_major =
#ifdef WRONG_MAJOR
	2,
#else
	TAKT_ABI_MAJOR,
#endif
    .abi_minor = TAKT_ABI_MINOR,
    .need_minor =
#ifdef WRONG_MINOR
	9,
#else
	0,
#endif
    .name = "wrong",
    .version = "1.0.0",
    .vendor = "Takt",
    .license = "Apache-2.0",
    .types = types,
};
