// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * taktd.conf: read by the parent and again by each role, at start and at SIGHUP. A value that is
 * wrong never half-applies: conf_load() gives a whole new configuration or an error that names
 * file:line, field, value and remedy, and the caller keeps the one it has.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/log.h"

struct conf {
	char *file;
	char *text;                   /* of the file, as it was read */
	bool has_engine, has_gateway; /* roles = {engine, gateway} */
	char *state_dir;
	char *node_name;
	char *db; /* libpq conninfo without user */
	char *executor_socket;
	char **platform_dirs; /* NULL-terminated */
	char **calendar_dirs; /* the same */
	char *listen;         /* as written: "127.0.0.1:7420", "[::1]:7420" */
	char *listen_address; /* numeric, without brackets */
	unsigned listen_port;
	char *gateway_user; /* "" = stay who we are */
	enum log_level log_level;
	enum log_format log_format;
	unsigned max_units;
	unsigned retain_months; /* whole months beside the running one; 0 = all */
	bool auto_migrate;
};

/* NULL and *e on failure; e->field is the option, the message starts with file:line. */
struct conf *conf_load(const char *file, struct err *e);
/* What can be wrong on this host with a file that is right: directories, the gateway's user. */
int conf_check_host(const struct conf *, struct err *e);
/* The first option that differs and cannot change without a restart, or NULL. */
const char *conf_fixed_difference(const struct conf *, const struct conf *);
void conf_free(struct conf *);

static inline void
cleanup_conf(struct conf **c)
{
	conf_free(*c);
}
#define _cleanup_conf_ _cleanup_(cleanup_conf)
