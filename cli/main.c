// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* `takt`: finds the command, where the daemon is, and runs it. See command.h. */
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/jsonx.h"
#include "base/log.h"

#include "cli/command.h"

#include "base/banned.h"

int
cli_fail(const struct err *e)
{
	static const enum cli_exit codes[] = {
	    [ERR_INVALID] = CLI_REFUSED,
	    [ERR_NOT_FOUND] = CLI_MISSING,
	    [ERR_CONFLICT] = CLI_REFUSED,
	    [ERR_DENIED] = CLI_DENIED,
	    [ERR_TOO_BIG] = CLI_REFUSED,
	    [ERR_BUG] = CLI_SERVER,
	};
	char text[800];
	int code = (size_t)e->code < ARRAY_LEN(codes) ? (int)codes[e->code] : CLI_SERVER;

	fprintf(stderr, "takt: %s\n", err_text(e, text, sizeof(text)));
	return code ? code : CLI_SERVER;
}

int
cli_refuse(const char *field, const char *hint, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "takt: %s%s%s%s%s%s\n", field ? field : "", field && *field ? ": " : "",
	    text, hint ? " (" : "", hint ? hint : "", hint ? ")" : "");
	return CLI_REFUSED;
}

static int
set_output(struct cli *c, const json_t *global)
{
	const char *format = json_get_str(global, "output", "table");
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (strcmp(format, "json") != 0 && strcmp(format, "table") != 0)
		return cli_refuse(
		    "--output", "Give table or json.", "'%.40s' is no output format", format);
	c->is_json = strcmp(format, "json") == 0;
	c->is_tty = isatty(STDOUT_FILENO);
	c->has_color = c->is_tty && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
	return CLI_OK;
}

static int
run(const struct args *a, const json_t *global)
{
	const char *state = json_get_str(global, "state", NULL);
	struct cli c = {0};
	struct err e = ERR_INIT;
	int code = set_output(&c, global);

	c.state = state ? xstrdup(state) : conf_default_state();
	if (!code && !a->cmd->is_local &&
	    conf_load(&c, json_get_str(global, "url", NULL),
		json_get_str(global, "token-file", NULL), &e) < 0 &&
	    !(a->cmd->is_url_optional && e.code == ERR_NOT_FOUND))
		code = cli_fail(&e) == CLI_MISSING ? CLI_SERVER : CLI_REFUSED;
	if (!code)
		code = a->cmd->run(&c, a);
	if (fflush(stdout) != 0 && !code)
		code = CLI_SERVER;
	free(c.url);
	free(c.token);
	free(c.state);
	return code;
}

int
main(int argc, char **argv)
{
	_cleanup_json_ json_t *global = NULL;
	struct args a = {0};
	int code = CLI_OK;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_DFL);
	log_init("takt", LOG_WARN, LOG_TEXT);
	if (command_parse(argc, argv, &a, &global, &code))
		code = run(&a, global);
	json_decref(a.opt);
	return code;
}
