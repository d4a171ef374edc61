// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * taktd: options, and the same numbered steps at the start of every process of the daemon:
 * 1 configuration, 2 identity and log, 3 limits, 4 signals, 5 the role itself.
 * Privileges are dropped by the parent before the exec (parent.c), so a role never has them.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "config.h"

#include "base/log.h"

#include "daemon/main/conf.h"
#include "daemon/main/parent.h"
#include "daemon/main/roles.h"
#include "daemon/store/store.h"
#include "when/zone.h"

#include "base/banned.h"

#define EXIT_BAD_CONF 2
#define FILES_MAX 65536

struct options {
	const char *file;
	const char *role; /* -x; NULL: the parent */
	const char *trace;
	bool is_check, is_debug;
};

static const char usage[] =
    "usage: taktd [-dn] [-c FILE] [-T DOMAIN[,DOMAIN...]] [--migrate]\n"
    "  -c, --config FILE   read FILE (default " TAKT_SYSCONFDIR "/takt/taktd.conf)\n"
    "  -d, --debug         log at debug level\n"
    "  -n, --check         check the configuration and exit: 0 good, 2 not\n"
    "  -T, --trace LIST    trace these domains (main, store, schedule, queue, dispatch, record, "
    "gateway, feed)\n"
    "      --migrate       bring the database's schema up to date and exit\n"
    "  -x ROLE             run one role only: engine, gateway (taktd does this by itself)\n"
    "  -h, --help  -V, --version\n";

/* Also the child of the parent that it waits for before it starts the roles. */
static int
migrate_main(const struct conf *conf, struct ev_loop *loop)
{
	struct err e = ERR_INIT;
	char text[800];

	(void)loop;
	if (store_migrate(conf->db, &e) == 0)
		return EX_OK;
	log_error(LOG_STORE, "migrating: %s", err_text(&e, text, sizeof(text)));
	return e.code == ERR_TRANSIENT || e.code == ERR_NOT_FOUND ? EX_TEMPFAIL : EX_SOFTWARE;
}

static const struct role {
	const char *name;
	const char *process; /* what ps shows */
	int (*run)(const struct conf *, struct ev_loop *);
} roles[] = {
    {"engine", "taktd-engine", engine_main},
    {"gateway", "taktd-gateway", gateway_main},
    {"migrate", "taktd-migrate", migrate_main},
};

/* Exits for what ends here. */
static void
parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
	    {"debug", no_argument, NULL, 'd'}, {"check", no_argument, NULL, 'n'},
	    {"trace", required_argument, NULL, 'T'}, {"migrate", no_argument, NULL, 'm'},
	    {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "c:dnT:x:hV", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->file = optarg;
			break;
		case 'd':
			o->is_debug = true;
			break;
		case 'n':
			o->is_check = true;
			break;
		case 'T':
			o->trace = optarg;
			break;
		case 'x':
			o->role = optarg;
			break;
		case 'm':
			o->role = "migrate";
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EX_OK);
		case 'V':
			puts("taktd " PACKAGE_VERSION);
			exit(EX_OK);
		default:
			fputs(usage, stderr);
			exit(EX_USAGE);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "taktd: unexpected argument '%s'\n%s", argv[optind], usage);
		exit(EX_USAGE);
	}
	if (o->trace && log_trace(o->trace) < 0) {
		fprintf(stderr, "taktd: -T '%s': unknown domain\n%s", o->trace, usage);
		exit(EX_USAGE);
	}
}

static const struct role *
find_role(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(roles); i++)
		if (!strcmp(roles[i].name, name))
			return &roles[i];
	fprintf(stderr, "taktd: -x '%s': there is no such role\n%s", name, usage);
	exit(EX_USAGE);
}

static int
complain(const struct err *e)
{
	char text[800];

	fprintf(stderr, "taktd: %s\n", err_text(e, text, sizeof(text)));
	return EXIT_BAD_CONF;
}

/*
 * Sockets as many as the system allows us; no core file, which would hold keys and credentials, and
 * no look into our memory by another process of the same user (the leak check needs it).
 */
static void
set_limits(void)
{
	struct rlimit files, no_core = {0, 0};

#ifndef __SANITIZE_ADDRESS__
	prctl(PR_SET_DUMPABLE, 0);
#endif

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	setrlimit(RLIMIT_CORE, &no_core);
	umask(077);
}

/* If they were closed, a file that is opened later would take their place and get log lines. */
static void
open_standard_files(void)
{
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	close(fd);
}

int
main(int argc, char **argv)
{
	struct options o = {.file = TAKT_SYSCONFDIR "/takt/taktd.conf"};
	const struct role *role;
	struct err e = ERR_INIT;
	struct conf *conf;
	int rc;

	open_standard_files();
	zone_set_dir(getenv("TZDIR"));

	/* 1 configuration */
	parse_options(argc, argv, &o);
	role = o.role ? find_role(o.role) : NULL;
	conf = conf_load(o.file, &e);
	if (!conf || (!role && conf_check_host(conf, &e) < 0)) {
		conf_free(conf);
		return complain(&e);
	}
	if (o.is_check) {
		printf("taktd: %s is good\n", o.file);
		conf_free(conf);
		return EX_OK;
	}

	/* 2 identity and log */
	log_init(role ? role->name : "parent", conf->log_level, conf->log_format);
	if (o.is_debug)
		log_force_debug();
	prctl(PR_SET_NAME, role ? role->process : "taktd");

	/* 3 limits */
	set_limits();

	/* 4 signals: a peer that goes away is an error of write(2), not the end */
	signal(SIGPIPE, SIG_IGN);

	/* 5 the role, or the parent of all */
	if (!role)
		return parent_run(conf, o.trace, o.is_debug);
	rc = role->run(conf, ev_default_loop(0));
	conf_free(conf);
	return rc;
}
