// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The state directory of `takt dev` and the files in it; see dev_priv.h. */
#include "cli/dev_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/jsonx.h"

#include "cli/places.h"

#include "base/banned.h"

#define SOCKET_DIR_MAX 90
#define LOG_TAIL 2000

/* PostgreSQL runs as another user than root: it must get through every directory on the way. */
static int
check_way(const struct dev *d, struct err *e)
{
	for (const char *p = d->dir; p; p = strchr(p + 1, '/')) {
		_cleanup_free_ char *part = xasprintf("%.*s", (int)(p - d->dir), d->dir);
		struct stat st;

		if (!*part || stat(part, &st) < 0 || (st.st_mode & S_IXOTH))
			continue;
		err_set(e, ERR_INVALID, "%s is closed to the user postgres (mode %04o)", part,
		    (unsigned)(st.st_mode & 07777));
		err_field(e, "--state");
		return err_hint(e, "Give a directory that every user can get to, such as "
				   "/var/lib/takt-dev.");
	}
	return 0;
}

static int
find_user(struct dev *d, struct err *e)
{
	struct passwd *pw;

	d->is_root = geteuid() == 0;
	d->pg_uid = geteuid();
	d->pg_gid = getegid();
	if (!d->is_root || d->db)
		return 0;
	pw = getpwnam("postgres");
	if (!pw || pw->pw_uid == 0) {
		err_set(e, ERR_NOT_FOUND, "there is no user postgres to run PostgreSQL as");
		return err_hint(
		    e, "Install postgresql-15, or start `takt dev` as another user than root.");
	}
	d->pg_uid = pw->pw_uid;
	d->pg_gid = pw->pw_gid;
	return 0;
}

static char *
make_dir(const struct dev *d, const char *name, mode_t mode, bool is_pg, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", d->dir, name);

	if (io_mkdirs(path, mode, e) < 0)
		return NULL;
	if (chmod(path, mode) < 0 ||
	    (is_pg && d->is_root && chown(path, d->pg_uid, d->pg_gid) < 0)) {
		err_sys(e, "%s", path);
		return NULL;
	}
	return take_ptr(&path);
}

/* sun_path ends at 108 bytes: with a long state path sockets are elsewhere (run-path). */
static int
socket_dir(struct dev *d, struct err *e)
{
	_cleanup_free_ char *note = xasprintf("%s/run-path", d->dir);
	_cleanup_buf_ struct buf b = {0};
	_cleanup_fd_ int dirfd = -1;
	char tmp[] = "/tmp/takt-XXXXXX";
	struct stat st;

	/* Nor is there a way to write a comma in PostgreSQL's lists of directories and hosts. */
	if (strlen(d->dir) + 4 <= SOCKET_DIR_MAX && !d->dir[strcspn(d->dir, ",\"'\\")]) {
		d->pg_run = make_dir(d, "run", d->is_root ? 0711 : 0700, true, e);
		return d->pg_run ? 0 : -ERR_SYSTEM;
	}
	if (io_read_file(note, PATH_MAX, &b, NULL) == 0 && b.n && lstat(b.p, &st) == 0 &&
	    S_ISDIR(st.st_mode) && st.st_uid == d->pg_uid) {
		d->pg_run = buf_take(&b);
		return 0;
	}
	if (!mkdtemp(tmp) || chmod(tmp, d->is_root ? 0711 : 0700) < 0 ||
	    (d->is_root && chown(tmp, d->pg_uid, d->pg_gid) < 0))
		return err_sys(e, "making a directory for the sockets in /tmp");
	d->pg_run = xstrdup(tmp);
	dirfd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(e, "%s", d->dir);
	return io_replace_file(dirfd, "run-path", tmp, strlen(tmp), 0600, e);
}

int
dev_paths(struct dev *d, const char *state, struct err *e)
{
	_cleanup_free_ char *pids = NULL;
	char real[PATH_MAX];
	struct stat st;

	if (find_user(d, e) < 0)
		return -(int)e->code;
	if (io_mkdirs(state, d->is_root ? 0711 : 0700, e) < 0)
		return err_field(e, "--state");
	if (!realpath(state, real))
		return err_sys(e, "%s", state);
	d->dir = xstrdup(real);
	d->bin = places_own_dir();
	if (stat(d->dir, &st) < 0)
		return err_sys(e, "%s", d->dir);
	if (st.st_uid != geteuid()) {
		err_set(e, ERR_DENIED, "%s belongs to user id %u", d->dir, (unsigned)st.st_uid);
		err_field(e, "--state");
		return err_hint(e, "Whoever owns the directory could exchange what is in it: give "
				   "one of your own.");
	}
	if (chmod(d->dir, d->is_root && !d->db ? 0711 : 0700) < 0)
		return err_sys(e, "%s", d->dir);
	if (d->is_root && !d->db && check_way(d, e) < 0)
		return -(int)e->code;
	d->conf = xasprintf("%s/taktd.conf", d->dir);
	d->pg_data = xasprintf("%s/pg", d->dir);
	pids = make_dir(d, "pid", 0700, false, e);
	d->node = make_dir(d, "node", 0700, false, e);
	d->log = make_dir(d, "log", 0700, false, e);
	return pids && d->node && d->log ? (d->db ? 0 : socket_dir(d, e)) : -ERR_SYSTEM;
}

/* ADDR:PORT; port 0 picks a free one. Says so when the port is taken. */
int
dev_listen(struct dev *d, const char *text, struct err *e)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);
	const char *colon = strrchr(text, ':');
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *end;
	long port;
	int one = 1;

	port = colon ? strtol(colon + 1, &end, 10) : -1;
	snprintf(d->host, sizeof(d->host), "%.*s", colon ? (int)(colon - text) : 0, text);
	if (!d->host[0])
		snprintf(d->host, sizeof(d->host), "127.0.0.1");
	if (port < 0 || port > 65535 || *end || end == colon + 1 ||
	    inet_pton(AF_INET, d->host, &sa.sin_addr) != 1) {
		err_set(e, ERR_INVALID, "'%.60s' is not an address and a port", text);
		err_field(e, "--listen");
		return err_hint(e, "Give 127.0.0.1:7420, or 127.0.0.1:0 for any free port.");
	}
	sa.sin_port = htons((uint16_t)port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0) {
		err_sys(e, "%.60s", text);
		err_field(e, "--listen");
		return err_hint(e, "Give another port, or 127.0.0.1:0 for any free one.");
	}
	d->port = ntohs(sa.sin_port);
	d->url = xasprintf(
	    "http://%s:%d", strcmp(d->host, "0.0.0.0") == 0 ? "127.0.0.1" : d->host, d->port);
	return 0;
}

char *
dev_program(const struct dev *d, const char *name, const char *installed_dir)
{
	_cleanup_free_ char *beside = xasprintf("%s/%s", d->bin, name);

	if (access(beside, X_OK) == 0)
		return take_ptr(&beside);
	return xasprintf("%s/%s", installed_dir, name);
}

static bool
is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static json_t *
platform_dirs(const struct dev *d)
{
	_cleanup_free_ char *path = places_data_dir("platforms.d");

	if (json_array_size(d->platform_dirs))
		return json_deep_copy(d->platform_dirs);
	return json_pack("[s]", path);
}

/* Plugins in the build tree sit in a directory each; the tests' own are not among them. */
static json_t *
plugin_dirs(const struct dev *d)
{
	_cleanup_free_ char *beside = xasprintf("%s/plugins", d->bin);
	json_t *list = json_array();

	if (json_array_size(d->plugin_dirs)) {
		json_array_extend(list, (json_t *)d->plugin_dirs);
	} else if (is_dir(beside)) {
		static const char *const names[] = {"hello", "backup"};

		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			_cleanup_free_ char *path = xasprintf("%s/%s", beside, names[i]);

			if (is_dir(path))
				json_array_append_new(list, json_string(path));
		}
	} else {
		json_array_append_new(list, json_string(TAKT_PKGLIBDIR "/plugins"));
	}
	return list;
}

char **
dev_executor_argv(const struct dev *d)
{
	_cleanup_json_ json_t *plugins = plugin_dirs(d), *platforms = platform_dirs(d);
	char **argv = xcalloc(
	    12 + 2 * (json_array_size(plugins) + json_array_size(platforms)), sizeof(*argv));
	const json_t *one;
	size_t i, n = 0;

	argv[n++] = dev_program(d, "takt-executor", TAKT_PKGLIBEXECDIR);
	argv[n++] = xstrdup("--state");
	argv[n++] = xstrdup(d->node);
	argv[n++] = xstrdup("--log-level");
	argv[n++] = xstrdup(d->log_level);
	json_array_foreach(plugins, i, one)
	{
		argv[n++] = xstrdup("--plugin-dir");
		argv[n++] = xstrdup(json_string_value(one));
	}
	json_array_foreach(platforms, i, one)
	{
		argv[n++] = xstrdup("--platform-dir");
		argv[n++] = xstrdup(json_string_value(one));
	}
	return argv;
}

char **
dev_taktd_argv(const struct dev *d, bool is_migrate)
{
	char **argv = xcalloc(6, sizeof(*argv));

	argv[0] = dev_program(d, "taktd", TAKT_SBINDIR);
	argv[1] = xstrdup("-c");
	argv[2] = xstrdup(d->conf);
	argv[3] = is_migrate ? xstrdup("--migrate") : NULL;
	return argv;
}

/* Single quotes: between double ones libconfuse puts variables of the environment in. */
static void
put_quoted(struct buf *b, const char *value)
{
	buf_addc(b, '\'');
	for (; *value; value++)
		buf_addf(b, "%s%c", *value == '\'' || *value == '\\' ? "\\" : "", *value);
	buf_addc(b, '\'');
}

static void
put_string(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, "%s = ", name);
	put_quoted(b, value);
	buf_addc(b, '\n');
}

/* taktd.conf takes absolute paths only; the command line takes any. */
static void
put_path(struct buf *b, const char *path)
{
	char real[PATH_MAX];

	put_quoted(b, realpath(path, real) ? real : path);
}

int
dev_write_conf(struct dev *d, struct err *e)
{
	_cleanup_json_ json_t *platforms = platform_dirs(d);
	_cleanup_free_ char *calendars = places_data_dir("calendars.d");
	_cleanup_fd_ int dirfd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_buf_ struct buf b = {0};
	const json_t *one;
	size_t i;

	if (dirfd < 0)
		return err_sys(e, "%s", d->dir);
	buf_adds(&b, "# Written by `takt dev` at each start.\n");
	put_string(&b, "state_dir", d->node);
	put_string(&b, "db", d->conninfo);
	buf_adds(&b, "platform_dirs = {");
	json_array_foreach(platforms, i, one)
	{
		buf_adds(&b, i ? ", " : "");
		put_path(&b, json_string_value(one));
	}
	buf_adds(&b, "}\ncalendar_dirs = {");
	put_path(&b, calendars);
	buf_addf(&b, "}\nlisten = \"%s:%d\"\n", d->host, d->port);
	put_string(&b, "gateway_user", d->is_root ? "nobody" : "");
	put_string(&b, "log_level", d->log_level);
	return io_replace_file(dirfd, "taktd.conf", b.p, b.n, 0600, e);
}

int
dev_write_client(struct dev *d, struct err *e)
{
	_cleanup_json_ json_t *j = json_pack("{s:s,s:s}", "url", d->url, "token", d->token);
	_cleanup_fd_ int dirfd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = json_text(j);

	if (dirfd < 0)
		return err_sys(e, "%s", d->dir);
	return io_replace_file(dirfd, "client.json", text, strlen(text), 0600, e);
}

char *
dev_old_token(const struct dev *d)
{
	_cleanup_free_ char *path = xasprintf("%s/client.json", d->dir);
	_cleanup_buf_ struct buf b = {0};
	_cleanup_json_ json_t *j = NULL;
	const char *s;

	if (io_read_file(path, 65536, &b, NULL) < 0)
		return NULL;
	j = json_parse(b.p, b.n, &json_limits_request, NULL);
	s = json_get_str(j, "token", NULL);
	return s ? xstrdup(s) : NULL;
}

void
dev_argv_free(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}

void
dev_fini(struct dev *d)
{
	char *owned[] = {d->dir, d->pg_data, d->pg_run, d->node, d->log, d->conf, d->bin,
	    d->conninfo, d->url, d->token};

	for (size_t i = 0; i < ARRAY_LEN(owned); i++)
		free(owned[i]);
	for (size_t i = 0; i < DEV_CHILDREN; i++)
		dev_argv_free(d->child[i].argv);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
}

void
dev_show_log(const struct dev *d, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.log", d->log, name);
	_cleanup_buf_ struct buf b = {0};
	const char *tail;

	if (io_read_file(path, (size_t)64 << 20, &b, NULL) < 0 || !b.n)
		return;
	tail = b.n > LOG_TAIL ? strchr(b.p + b.n - LOG_TAIL, '\n') : b.p;
	fprintf(stderr, "--- the end of %s\n%s---\n", path, tail ? tail : "");
}
