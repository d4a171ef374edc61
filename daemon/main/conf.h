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
	bool has_engine, has_gateway; /* roles = {engine, gateway} */
	char *state_dir;
	char *node_name;
	char *db; /* libpq conninfo without user */
	char *executor_socket;
	char **platform_dirs; /* NULL-terminated */
	char *listen;         /* "address:port", IPv6 as "[::1]:port" */
	char *gateway_user;   /* "" = stay who we are */
	enum log_level log_level;
	enum log_format log_format;
	unsigned max_units;
	bool auto_migrate;
};

/* NULL and *e on failure; e->field is the option, the message starts with file:line. */
struct conf *conf_load(const char *file, struct err *e);
/* What -n checks beyond the text: directories exist, the user is known. */
int conf_check_host(const struct conf *, struct err *e);
void conf_free(struct conf *);

static inline void
cleanup_conf(struct conf **c)
{
	conf_free(*c);
}
#define _cleanup_conf_ _cleanup_(cleanup_conf)
