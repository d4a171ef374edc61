// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * See conf.h. libconfuse reads the syntax; every option is a string or a list of strings to it,
 * and one row of the table below gives default, meaning and remedy, so that all mistakes are told
 * in one form.
 */
#include "daemon/main/conf.h"

#include <arpa/inet.h>
#include <confuse.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "base/buf.h"
#include "base/io.h"

#include "base/banned.h"

#define FILE_MAX_B 65536
#define UNITS_MAX 10000
#define MONTHS_MAX 1200

/* Each setter takes the values as written (n is 1 unless the option is a list); false: unusable. */
typedef bool setter(struct conf *, const char *const *values, unsigned n);

static bool
replace(char **member, const char *value)
{
	free(*member);
	*member = xstrdup(value);
	return true;
}

static bool
set_roles(struct conf *c, const char *const *values, unsigned n)
{
	c->has_engine = c->has_gateway = false;
	for (unsigned i = 0; i < n; i++) {
		bool *role = !strcmp(values[i], "engine")    ? &c->has_engine
			     : !strcmp(values[i], "gateway") ? &c->has_gateway
							     : NULL;

		if (!role || *role)
			return false;
		*role = true;
	}
	return n > 0;
}

static bool
set_state_dir(struct conf *c, const char *const *values, unsigned n)
{
	(void)n;
	return values[0][0] == '/' && replace(&c->state_dir, values[0]);
}

static bool
set_node_name(struct conf *c, const char *const *values, unsigned n)
{
	char host[256] = "";

	(void)n;
	if (!values[0][0] && gethostname(host, sizeof(host) - 1) < 0)
		return false;
	if (strlen(values[0]) > 100 || values[0][strcspn(values[0], " \t\r\n\"'\\")])
		return false;
	return replace(&c->node_name, values[0][0] ? values[0] : host);
}

/* Roles connect as users of their own, so a user is wrong here, and one password for all would be too. */
static bool
set_db(struct conf *c, const char *const *values, unsigned n)
{
	PQconninfoOption *options = PQconninfoParse(values[0], NULL);
	bool is_good = options;

	(void)n;
	for (PQconninfoOption *o = options; o && o->keyword; o++)
		if (o->val && (!strcmp(o->keyword, "user") || !strcmp(o->keyword, "password")))
			is_good = false;
	PQconninfoFree(options);
	return is_good && replace(&c->db, values[0]);
}

static bool
set_executor_socket(struct conf *c, const char *const *values, unsigned n)
{
	(void)n;
	return (!values[0][0] || values[0][0] == '/') && replace(&c->executor_socket, values[0]);
}

static void
free_list(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

static bool
set_dirs(char ***dirs, const char *const *values, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (values[i][0] != '/')
			return false;
	free_list(*dirs);
	*dirs = xcalloc(n + 1, sizeof(char *));
	for (unsigned i = 0; i < n; i++)
		(*dirs)[i] = xstrdup(values[i]);
	return true;
}

static bool
set_platform_dirs(struct conf *c, const char *const *values, unsigned n)
{
	return set_dirs(&c->platform_dirs, values, n);
}

static bool
set_calendar_dirs(struct conf *c, const char *const *values, unsigned n)
{
	return set_dirs(&c->calendar_dirs, values, n);
}

/* A whole number without sign, blanks or anything behind it. */
static bool
parse_number(const char *s, unsigned min, unsigned max, unsigned *out)
{
	size_t n = strspn(s, "0123456789");
	unsigned long v;

	if (!n || n > 6 || s[n])
		return false;
	v = strtoul(s, NULL, 10);
	if (v < min || v > max)
		return false;
	*out = (unsigned)v;
	return true;
}

static bool
set_listen(struct conf *c, const char *const *values, unsigned n)
{
	const char *s = values[0], *colon = strrchr(s, ':');
	unsigned char address[16];
	char host[64];
	bool is_v6 = s[0] == '[';
	size_t len;

	(void)n;
	if (!colon || !parse_number(colon + 1, 1, 65535, &c->listen_port))
		return false;
	len = (size_t)(colon - s);
	if (is_v6 && (len < 2 || s[len - 1] != ']'))
		return false;
	len -= is_v6 ? 2 : 0;
	if (len >= sizeof(host))
		return false;
	memcpy(host, s + is_v6, len);
	host[len] = 0;
	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, host, address) != 1)
		return false;
	return replace(&c->listen_address, host) && replace(&c->listen, s);
}

static bool
set_gateway_user(struct conf *c, const char *const *values, unsigned n)
{
	(void)n;
	return strlen(values[0]) <= 32 && replace(&c->gateway_user, values[0]);
}

static bool
set_log_level(struct conf *c, const char *const *values, unsigned n)
{
	int level = log_level_parse(values[0]);

	(void)n;
	c->log_level = (enum log_level)level;
	return level >= 0;
}

static bool
set_log_format(struct conf *c, const char *const *values, unsigned n)
{
	int format = log_format_parse(values[0]);

	(void)n;
	c->log_format = (enum log_format)format;
	return format >= 0;
}

static bool
set_max_units(struct conf *c, const char *const *values, unsigned n)
{
	(void)n;
	return parse_number(values[0], 1, UNITS_MAX, &c->max_units);
}

static bool
set_retain_months(struct conf *c, const char *const *values, unsigned n)
{
	(void)n;
	return parse_number(values[0], 0, MONTHS_MAX, &c->retain_months);
}

static bool
set_auto_migrate(struct conf *c, const char *const *values, unsigned n)
{
	(void)n;
	c->auto_migrate = !strcmp(values[0], "true");
	return c->auto_migrate || !strcmp(values[0], "false");
}

/* A list with two default values has both. */
static const struct option {
	const char *name;
	bool is_list;
	const char *dflt[2];
	setter *set;
	const char *remedy;
} options[] = {
    {"roles", true, {"engine", "gateway"}, set_roles,
	"Use {engine}, {gateway} or {engine, gateway}."},
    {"state_dir", false, {"/var/lib/takt"}, set_state_dir, "Give an absolute path."},
    {"node_name", false, {""}, set_node_name,
	"Up to 100 characters without blanks and quotes; empty is the host's name."},
    {"db", false, {"dbname=takt"}, set_db,
	"Give a libpq connection string without user and password: each role connects as its own; "
	"passwords belong in a passfile."},
    {"executor_socket", false, {""}, set_executor_socket,
	"Give an absolute path, or leave it empty."},
    {"platform_dirs", true, {TAKT_PKGDATADIR "/platforms.d"}, set_platform_dirs,
	"Give absolute paths."},
    {"calendar_dirs", true, {TAKT_PKGDATADIR "/calendars.d"}, set_calendar_dirs,
	"Give absolute paths."},
    {"listen", false, {"127.0.0.1:7420"}, set_listen,
	"Give a numeric address and a port from 1 to 65535, as \"127.0.0.1:7420\" or "
	"\"[::1]:7420\"."},
    {"gateway_user", false, {""}, set_gateway_user, "Give the name of a user, or leave it empty."},
    {"log_level", false, {"info"}, set_log_level, "Use error, warn, info or debug."},
    {"log_format", false, {"text"}, set_log_format, "Use text or json."},
    {"max_units", false, {"64"}, set_max_units, "Give a whole number from 1 to 10000."},
    {"retain_months", false, {"0"}, set_retain_months,
	"Give a whole number from 1 to 1200, or 0 to keep all history."},
    {"auto_migrate", false, {"true"}, set_auto_migrate, "Use true or false."},
};

/* libconfuse's callbacks carry no argument of ours; loading is never nested. */
static struct {
	struct conf *conf;
	struct err *e;
	const char *file;
	unsigned seen[ARRAY_LEN(options)]; /* values so far, + 1 */
} loading;

static void
join(const char *const *values, unsigned n, char *out, size_t size)
{
	size_t used = 0;

	out[0] = 0;
	for (unsigned i = 0; i < n && used + 1 < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", values[i]);
}

/* Called after each value: for a list with one more each time, and once more at its end. */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *values[64];
	unsigned n = cfg_opt_size(opt);
	char text[120];
	size_t i = 0;

	while (strcmp(options[i].name, opt->name) != 0)
		i++;
	if (loading.seen[i] && (!options[i].is_list || n + 1 < loading.seen[i])) {
		err_set(loading.e, ERR_INVALID, "%s:%d: given twice", loading.file, cfg->line);
		err_field(loading.e, "%s", opt->name);
		err_hint(loading.e, "Keep one of the lines.");
		return -1;
	}
	loading.seen[i] = n + 1;
	if (n <= ARRAY_LEN(values)) {
		for (unsigned v = 0; v < n; v++)
			values[v] = cfg_opt_getnstr(opt, v);
		if (options[i].set(loading.conf, values, n))
			return 0;
	}
	join(values, n < ARRAY_LEN(values) ? n : 0, text, sizeof(text));
	err_set(loading.e, ERR_INVALID, "%s:%d: bad value '%s'", loading.file, cfg->line,
	    strcmp(opt->name, "db") ? text : "(not shown)");
	err_field(loading.e, "%s", opt->name);
	err_hint(loading.e, "%s", options[i].remedy);
	return -1;
}

static void __attribute__((format(printf, 2, 0))) on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[200], *quote;

	if (loading.e->code)
		return; /* on_value() has said it better */
	vsnprintf(text, sizeof(text), fmt, ap);
	err_set(loading.e, ERR_INVALID, "%s:%d: %s", loading.file, cfg ? cfg->line : 0, text);
	if ((quote = strchr(text, '\'')))
		err_field(loading.e, "%.*s", (int)strcspn(quote + 1, "'"), quote + 1);
	err_hint(loading.e, "taktd.conf(5) lists the options and shows the syntax.");
}

static int
parse(const char *text, struct err *e)
{
	cfg_opt_t opts[ARRAY_LEN(options) + 1];
	cfg_t *cfg;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		opts[i] = options[i].is_list
			      ? (cfg_opt_t)CFG_STR_LIST(options[i].name, NULL, CFGF_NODEFAULT)
			      : (cfg_opt_t)CFG_STR(options[i].name, NULL, CFGF_NODEFAULT);
		opts[i].validcb = on_value;
	}
	opts[ARRAY_LEN(options)] = (cfg_opt_t)CFG_END();
	cfg = cfg_init(opts, CFGF_NONE);
	if (!cfg)
		return err_set(e, ERR_NOMEM, "out of memory");
	cfg_set_error_function(cfg, on_error);
	rc = cfg_parse_buf(cfg, text);
	/* An empty list is not called back for. */
	for (size_t i = 0; rc == CFG_SUCCESS && i < ARRAY_LEN(options); i++)
		if (!loading.seen[i] && (cfg->opts[i].flags & CFGF_MODIFIED) &&
		    on_value(cfg, &cfg->opts[i]) < 0)
			rc = CFG_PARSE_ERROR;
	cfg_free(cfg);
	if (rc == CFG_SUCCESS)
		return 0;
	return e->code ? -(int)e->code
		       : err_set(e, ERR_INVALID, "%s: cannot be read", loading.file);
}

static void
set_defaults(struct conf *c)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (!loading.seen[i])
			options[i].set(c, options[i].dflt, options[i].dflt[1] ? 2 : 1);
	if (!c->executor_socket[0]) {
		free(c->executor_socket);
		c->executor_socket = xasprintf("%s/executor.sock", c->state_dir);
	}
}

struct conf *
conf_load(const char *file, struct err *e)
{
	_cleanup_conf_ struct conf *c = xcalloc(1, sizeof(*c));
	_cleanup_buf_ struct buf text = {0};
	struct err mine = ERR_INIT;

	if (!e)
		e = &mine;
	*e = (struct err)ERR_INIT;
	c->file = xstrdup(file);
	if (io_read_file(file, FILE_MAX_B, &text, e) < 0) {
		err_field(e, "%s", file);
		err_hint(e, "Name the configuration file with -c.");
		return NULL;
	}
	if (memchr(text.p, 0, text.n)) {
		err_set(e, ERR_INVALID, "%s:1: holds a NUL byte", file);
		return NULL;
	}
	memset(&loading, 0, sizeof(loading));
	loading.conf = c;
	loading.e = e;
	loading.file = file;
	if (parse(text.p, e) < 0)
		return NULL;
	set_defaults(c);
	c->text = buf_take(&text);
	return take_ptr(&c);
}

static int
check_dir(const char *path, const char *option, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		err_sys(e, "%s", path);
	else if (!S_ISDIR(st.st_mode))
		err_set(e, ERR_INVALID, "%s is not a directory", path);
	else
		return 0;
	err_field(e, "%s", option);
	return err_hint(e, "Create the directory, or correct %s.", option);
}

int
conf_check_host(const struct conf *c, struct err *e)
{
	int rc = 0;

	if (c->has_engine) {
		rc = check_dir(c->state_dir, "state_dir", e);
		for (size_t i = 0; rc == 0 && c->platform_dirs[i]; i++)
			rc = check_dir(c->platform_dirs[i], "platform_dirs", e);
	}
	if (rc == 0 && c->gateway_user[0]) {
		const struct passwd *pw = getpwnam(c->gateway_user);

		if (!pw)
			rc = err_set(e, ERR_INVALID, "there is no user '%s'", c->gateway_user);
		else if (geteuid() != 0 && pw->pw_uid != geteuid())
			rc = err_set(e, ERR_DENIED, "only root can start the gateway as '%s'",
			    c->gateway_user);
		if (rc < 0) {
			err_field(e, "gateway_user");
			err_hint(e,
			    "Create the user, start taktd as root, or leave gateway_user empty.");
		}
	}
	return rc;
}

const char *
conf_fixed_difference(const struct conf *a, const struct conf *b)
{
	if (a->has_engine != b->has_engine || a->has_gateway != b->has_gateway)
		return "roles";
	if (strcmp(a->state_dir, b->state_dir))
		return "state_dir";
	if (strcmp(a->node_name, b->node_name))
		return "node_name";
	if (strcmp(a->db, b->db))
		return "db";
	if (strcmp(a->executor_socket, b->executor_socket))
		return "executor_socket";
	if (strcmp(a->listen, b->listen))
		return "listen";
	if (strcmp(a->gateway_user, b->gateway_user))
		return "gateway_user";
	return NULL;
}

void
conf_free(struct conf *c)
{
	if (!c)
		return;
	free_list(c->platform_dirs);
	free_list(c->calendar_dirs);
	free(c->file);
	free(c->text);
	free(c->state_dir);
	free(c->node_name);
	free(c->db);
	free(c->executor_socket);
	free(c->listen);
	free(c->listen_address);
	free(c->gateway_user);
	free(c);
}
