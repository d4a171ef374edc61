// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Where the daemon is and with which token; see cli.h. Secrets come from files, never from argv. */
#include "cli/cli.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/jsonx.h"

#include "base/banned.h"

#define CLIENT_FILE_MAX 65536

char *
conf_default_state(void)
{
	const char *s = getenv("TAKT_STATE"), *xdg = getenv("XDG_STATE_HOME"),
		   *home = getenv("HOME");

	if (s && *s)
		return xstrdup(s);
	/* /root is closed to the user that PostgreSQL runs as. */
	if (geteuid() == 0)
		return xstrdup("/var/lib/takt-dev");
	if (xdg && *xdg == '/')
		return xasprintf("%s/takt-dev", xdg);
	/* Never a place in /tmp: another user could be there first, with a URL and a token of his. */
	if (!home || !*home) {
		const struct passwd *pw = getpwuid(geteuid());

		home = pw ? pw->pw_dir : "/nonexistent";
	}
	return xasprintf("%s/.local/state/takt-dev", home);
}

static int
take_token(struct cli *c, const char *text, size_t n, const char *from, struct err *e)
{
	while (n && strchr(" \t\r\n", text[n - 1]))
		n--;
	if (!n || memchr(text, '\n', n) || memchr(text, '\r', n)) {
		err_set(e, ERR_INVALID, "%s does not hold a token on one line", from);
		return err_hint(e, "A token looks like takt_ and 43 more characters.");
	}
	free(c->token);
	c->token = xasprintf("%.*s", (int)n, text);
	return 0;
}

static int
read_token_file(struct cli *c, const char *path, struct err *e)
{
	_cleanup_buf_ struct buf b = {0};

	if (io_read_file(strcmp(path, "-") == 0 ? "/dev/stdin" : path, CLIENT_FILE_MAX, &b, e) < 0)
		return err_field(e, "--token-file");
	return take_token(c, b.p, b.n, path, e);
}

static int
read_client_file(struct cli *c, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/client.json", c->state);
	_cleanup_buf_ struct buf b = {0};
	_cleanup_json_ json_t *j = NULL;
	const char *s;

	if (access(path, F_OK) < 0 && errno == ENOENT) {
		err_set(e, ERR_NOT_FOUND, "no daemon is known: %s is not there", path);
		return err_hint(e, "Start one with `takt dev`, or give --url and --token-file "
				   "(or TAKT_URL and TAKT_TOKEN).");
	}
	if (io_read_file(path, CLIENT_FILE_MAX, &b, e) < 0)
		return -ERR_SYSTEM;
	j = json_parse(b.p, b.n, &json_limits_request, e);
	if (!j)
		return err_push(e, "%s", path);
	if (!c->url && (s = json_get_str(j, "url", NULL)))
		c->url = xstrdup(s);
	if (!c->token && (s = json_get_str(j, "token", NULL)))
		return take_token(c, s, strlen(s), path, e);
	return 0;
}

/* A proxy that the environment names would be sent our token, and asked for a loopback of its own. */
static void
forget_proxies(const char *url)
{
	static const char *const names[] = {
	    "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
	const char *host = strstr(url, "://") + 3;

	if (strncmp(host, "127.", 4) != 0 && strncmp(host, "[::1]", 5) != 0 &&
	    strncasecmp(host, "localhost", 9) != 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unsetenv(names[i]);
}

int
conf_load(struct cli *c, const char *url, const char *token_file, struct err *e)
{
	const char *env_url = getenv("TAKT_URL"), *env_token = getenv("TAKT_TOKEN");
	size_t n;

	if (url || (env_url && *env_url))
		c->url = xstrdup(url ? url : env_url);
	if (token_file && read_token_file(c, token_file, e) < 0)
		return -(int)e->code;
	if (!c->token && env_token && *env_token &&
	    take_token(c, env_token, strlen(env_token), "TAKT_TOKEN", e) < 0)
		return -(int)e->code;
	/* A token of our own file is for our own daemon: not sent to a URL that was given. */
	if (!c->url && read_client_file(c, e) < 0)
		return -(int)e->code;
	if (!c->url) {
		err_set(e, ERR_INVALID, "%s/client.json has no \"url\"", c->state);
		return err_hint(e, "Start `takt dev` again, or give --url and --token-file.");
	}
	if (strncmp(c->url, "http://", 7) != 0 && strncmp(c->url, "https://", 8) != 0) {
		err_set(e, ERR_INVALID, "'%.100s' is not a URL of a daemon", c->url);
		err_field(e, "--url");
		return err_hint(e, "Give something like http://127.0.0.1:7420.");
	}
	for (n = strlen(c->url); n && c->url[n - 1] == '/'; n--)
		c->url[n - 1] = 0;
	forget_proxies(c->url);
	return 0;
}
