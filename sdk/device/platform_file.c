// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Reads one platform file. Every field is a row of `fields`: its section, kind, limits and place
 * in struct platform; libconfuse does the syntax. A value is checked while its line is being read,
 * so that errors name the line; filling the structure afterwards cannot fail.
 */
#include "sdk/device/platform.h"

#include <confuse.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/io.h"

#include "base/banned.h"

#define MAX_LIST 64
#define MAX_BLOCKS 16

enum kind { TEXT, LINE, LINES, NAMES, PATTERNS, NUMBER, FLAG };

struct field {
	const char *section; /* "" for the top */
	const char *name;
	enum kind kind;
	size_t at;
	long min, max; /* TEXT and LINE: bytes; lists: members; NUMBER: value */
	const char *dflt;
};

#define AT(m) offsetof(struct platform, m)
static const struct field fields[] = {
    {"", "title", TEXT, AT(title), 1, 120, ""},
    {"evidence", "kind", TEXT, AT(evidence.kind), 1, 16, ""},
    {"evidence", "text", TEXT, AT(evidence.text), 1, 2000, ""},
    {"session", "prompt", PATTERNS, AT(session.prompt), 1, MAX_LIST, NULL},
    {"session", "pager", PATTERNS, AT(session.pager), 0, MAX_LIST, NULL},
    {"session", "pager_answer", TEXT, AT(session.pager_answer), 1, 8, " "},
    {"session", "setup", LINES, AT(session.setup), 0, MAX_LIST, NULL},
    {"session", "error", PATTERNS, AT(session.error), 0, MAX_LIST, NULL},
    {"session", "unprivileged", PATTERNS, AT(session.unprivileged), 0, MAX_LIST, NULL},
    {"session", "enable", LINE, AT(session.enable), 0, 80, ""},
    {"session", "enable_prompt", PATTERNS, AT(session.enable_prompt), 0, MAX_LIST, NULL},
    {"session", "logout", LINE, AT(session.logout), 0, 80, ""},
    {"session", "echo", FLAG, AT(session.echo), 0, 0, "true"},
    {"session", "width", NUMBER, AT(session.width), 80, 511, "511"},
    {"session", "connect_timeout_ms", NUMBER, AT(session.connect_timeout_ms), 50, 300000, "10000"},
    {"session", "login_timeout_ms", NUMBER, AT(session.login_timeout_ms), 50, 300000, "30000"},
    {"session", "command_timeout_ms", NUMBER, AT(session.command_timeout_ms), 50, 3600000, "60000"},
    {"session", "settle_ms", NUMBER, AT(session.settle_ms), 1, 10000, "30"},
    {"ssh", "kex", NAMES, AT(ssh.kex), 0, MAX_LIST, NULL},
    {"ssh", "host_keys", NAMES, AT(ssh.host_keys), 0, MAX_LIST, NULL},
    {"ssh", "public_keys", NAMES, AT(ssh.public_keys), 0, MAX_LIST, NULL},
    {"ssh", "ciphers", NAMES, AT(ssh.ciphers), 0, MAX_LIST, NULL},
    {"ssh", "macs", NAMES, AT(ssh.macs), 0, MAX_LIST, NULL},
    {"ssh", "rsa_min_bits", NUMBER, AT(ssh.rsa_min_bits), 768, 16384, "2048"},
    {"backup", "command", LINES, AT(backup.command), 1, MAX_LIST, NULL},
    {"backup", "heading", LINE, AT(backup.heading), 0, 120, ""},
    {"backup", "drop_head", PATTERNS, AT(backup.drop_head), 0, MAX_LIST, NULL},
    {"complete", "first_line", PATTERNS, AT(complete.first_line), 0, MAX_LIST, NULL},
    {"complete", "contains", PATTERNS, AT(complete.contains), 0, MAX_LIST, NULL},
    {"complete", "last_line", PATTERNS, AT(complete.last_line), 1, MAX_LIST, NULL},
    {"complete", "before_last", PATTERNS, AT(complete.before_last), 0, MAX_LIST, NULL},
    {"complete", "banner", PATTERNS, AT(complete.banner), 0, MAX_LIST, NULL},
    {"complete", "cut_off", PATTERNS, AT(complete.cut_off), 0, MAX_LIST, NULL},
    {"complete", "twice", FLAG, AT(complete.twice), 0, 0, "true"},
    {"complete", "min_lines", NUMBER, AT(complete.min_lines), 1, 1000000, "2"},
    {"complete", "min_size_b", NUMBER, AT(complete.min_size_b), 1, 16777216, "16"},
    {"normalise", "drop", PATTERNS, AT(normalise.drop), 0, MAX_LIST, NULL},
    {"normalise", "redact_rest", PATTERNS, AT(normalise.redact_rest), 0, MAX_LIST, NULL},
    {"normalise", "redact_word", PATTERNS, AT(normalise.redact_word), 0, MAX_LIST, NULL},
    {"normalise", "redact_begin", PATTERNS, AT(normalise.redact_begin), 0, MAX_LIST, NULL},
    {"normalise", "redact_end", PATTERNS, AT(normalise.redact_end), 0, MAX_LIST, NULL},
};

/* Of one block, in struct platform_block. */
static const struct field block_fields[] = {
    {"block", "begin", PATTERNS, offsetof(struct platform_block, begin), 1, MAX_LIST, NULL},
    {"block", "end", PATTERNS, offsetof(struct platform_block, end), 1, MAX_LIST, NULL},
};

static const char *const sections[] = {
    "evidence", "session", "ssh", "backup", "complete", "normalise"};

/* libconfuse's callbacks carry no argument of ours; one file is read at a time. */
static struct {
	const char *path;
	const char *text; /* of the file, for the line that cannot be read */
	struct err *e;
	bool is_bad;
} reading;

static void
full_name(const struct field *f, char *buf, size_t n)
{
	snprintf(buf, n, "%s%s%s", f->section, *f->section ? "." : "", f->name);
}

static int
refuse(int line, const char *field, const char *hint, const char *what, const char *value)
{
	if (!reading.is_bad) {
		err_set(reading.e, ERR_INVALID, "%s:%d: %s: %s '%.100s'", reading.path, line, field,
		    what, value);
		err_field(reading.e, "%s", field);
		err_hint(reading.e, "%s", hint);
	}
	reading.is_bad = true;
	return -1;
}

static int
refuse_number(int line, const struct field *f, const char *what, long value)
{
	char name[64], text[32], hint[96];
	full_name(f, name, sizeof(name));
	snprintf(text, sizeof(text), "%ld", value);
	snprintf(hint, sizeof(hint), "Allowed are %ld to %ld.", f->min, f->max);
	return refuse(line, name, hint, what, text);
}

static bool
is_line(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 32 || *s == 127)
			return false;
	return true;
}

static bool
is_algorithm(const char *s)
{
	return *s && strlen(s) <= 80 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-@.") == strlen(s);
}

static int
check_text(int line, const struct field *f, const char *s, bool in_list)
{
	char name[64];
	full_name(f, name, sizeof(name));
	long n = (long)strlen(s), max = in_list ? 400 : f->max;
	if (n > max || (!in_list && n < f->min))
		return refuse_number(line, f, "bad length", n);
	if (f->kind == LINE || f->kind == LINES) {
		if (!is_line(s))
			return refuse(line, name, "Give one line without control characters.",
			    "not a line", s);
	} else if (f->kind == NAMES && !is_algorithm(s)) {
		return refuse(line, name, "Give names as SSH writes them, e.g. 'ssh-rsa'.",
		    "not an algorithm", s);
	} else if (f->kind == PATTERNS) {
		_cleanup_pattern_ struct pattern *p = NULL;
		struct err e = ERR_INIT;
		if (pattern_new(s, &p, &e))
			return refuse(line, name, e.hint, e.message, s);
	}
	return 0;
}

static const struct field *
field_find(const char *section, const char *name)
{
	if (strcmp(section, "block") == 0)
		return &block_fields[strcmp(name, "begin") != 0];
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (strcmp(fields[i].section, section) == 0 && strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

/* Called by libconfuse after each value. */
static int
check_value(cfg_t *cfg, cfg_opt_t *opt)
{
	bool is_top = strcmp(cfg->name, "root") == 0;
	const struct field *f = field_find(is_top ? "" : cfg->name, opt->name);
	unsigned n = cfg_opt_size(opt);
	if (!f || f->kind == FLAG)
		return 0;
	if (f->kind == NUMBER) {
		long v = cfg_opt_getnint(opt, 0);
		return v < f->min || v > f->max ? refuse_number(cfg->line, f, "out of range", v)
						: 0;
	}
	bool is_list = f->kind == LINES || f->kind == NAMES || f->kind == PATTERNS;
	if (is_list && n > MAX_LIST)
		return refuse_number(cfg->line, f, "too many members", n);
	for (unsigned i = 0; i < n; i++)
		if (check_text(cfg->line, f, cfg_opt_getnstr(opt, i), is_list))
			return -1;
	return 0;
}

/* Line `no` (from 1) of the file, without its indent. */
static void
copy_line(int no, char *out, size_t n)
{
	const char *p = reading.text, *nl;
	while (--no > 0 && (nl = strchr(p, '\n')))
		p = nl + 1;
	p += strspn(p, " \t");
	snprintf(out, n, "%.*s", (int)strcspn(p, "\n"), p);
}

static void
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char what[160], line[80];
	int n = vsnprintf(what, sizeof(what) - 4, fmt, ap);
	memcpy(what + (n < (int)sizeof(what) - 4 ? n : (int)sizeof(what) - 5), " in", 4);
	copy_line(cfg->line, line, sizeof(line));
	refuse(
	    cfg->line, "syntax", "See conf/README.md for the fields and their form.", what, line);
}

/* Past a quoted text or a comment that begins at p; p itself if none does. */
static const char *
skip_opaque(const char *p)
{
	if (*p == '\'' || *p == '"') {
		const char *q = p + 1;
		while (*q && *q != *p)
			q += *q == '\\' && q[1] ? 2 : 1;
		return *q ? q + 1 : q;
	}
	if (*p == '#' || (p[0] == '/' && p[1] == '/'))
		return p + strcspn(p, "\n");
	if (p[0] == '/' && p[1] == '*') {
		const char *q = strstr(p + 2, "*/");
		return q ? q + 2 : p + strlen(p);
	}
	return p;
}

/* libconfuse takes the end of the file for the end of a section: half a file would pass. */
static int
check_closed(void)
{
	int depth = 0, line = 1, last = 1;
	for (const char *p = reading.text; *p;) {
		const char *q = skip_opaque(p);
		if (q == p) {
			depth += (*p == '{') - (*p == '}');
			last = *p == '{' ? line : last;
			q++;
		}
		for (; p < q; p++)
			line += *p == '\n';
	}
	return depth > 0 ? refuse(last, "syntax", "Close it with }.", "is not closed:", "{") : 0;
}

static cfg_opt_t
option(const struct field *f)
{
	if (f->kind == NUMBER)
		return (cfg_opt_t)CFG_INT(f->name, strtol(f->dflt, NULL, 10), CFGF_NONE);
	if (f->kind == FLAG)
		return (cfg_opt_t)CFG_BOOL(f->name, f->dflt[0] == 't', CFGF_NONE);
	if (f->kind == TEXT || f->kind == LINE)
		return (cfg_opt_t)CFG_STR(f->name, f->dflt, CFGF_NONE);
	return (cfg_opt_t)CFG_STR_LIST(f->name, 0, CFGF_NONE);
}

#define MAX_OPTS (ARRAY_LEN(fields) + 1)
struct schema {
	cfg_opt_t top[ARRAY_LEN(sections) + 3];
	cfg_opt_t of[ARRAY_LEN(sections)][MAX_OPTS];
	cfg_opt_t block[ARRAY_LEN(block_fields) + 1];
};

static void
schema_build(struct schema *s)
{
	const cfg_opt_t end = CFG_END();
	for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
		size_t n = 0;
		for (size_t k = 0; k < ARRAY_LEN(fields); k++)
			if (strcmp(fields[k].section, sections[i]) == 0)
				s->of[i][n++] = option(&fields[k]);
		s->of[i][n] = end;
		s->top[i] = (cfg_opt_t)CFG_SEC(sections[i], s->of[i], CFGF_NONE);
	}
	for (size_t k = 0; k < ARRAY_LEN(block_fields); k++)
		s->block[k] = option(&block_fields[k]);
	s->block[ARRAY_LEN(block_fields)] = end;
	size_t n = ARRAY_LEN(sections);
	s->top[n++] = option(&fields[0]);
	s->top[n++] = (cfg_opt_t)CFG_SEC("block", s->block, CFGF_MULTI | CFGF_TITLE);
	s->top[n] = end;
}

static cfg_t *
cfg_open(struct schema *s)
{
	schema_build(s);
	cfg_t *cfg = cfg_init(s->top, CFGF_NONE);
	char path[80];
	if (!cfg)
		abort();
	cfg_set_error_function(cfg, on_error);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		snprintf(path, sizeof(path), "%s%s%s", fields[i].section,
		    *fields[i].section ? "|" : "", fields[i].name);
		cfg_set_validate_func(cfg, path, check_value);
	}
	cfg_set_validate_func(cfg, "block|begin", check_value);
	cfg_set_validate_func(cfg, "block|end", check_value);
	return cfg;
}

static void
fill_list(const struct field *f, cfg_opt_t *opt, void *at)
{
	size_t n = cfg_opt_size(opt);
	if (f->kind == PATTERNS) {
		struct pattern_list *l = at;
		l->v = xcalloc(n, sizeof(*l->v));
		for (size_t i = 0; i < n; i++)
			if (pattern_new(cfg_opt_getnstr(opt, (unsigned)i), &l->v[l->n], NULL) == 0)
				l->n++;
		return;
	}
	struct str_list *l = at;
	l->v = xcalloc(n, sizeof(*l->v));
	for (; l->n < n; l->n++)
		l->v[l->n] = xstrdup(cfg_opt_getnstr(opt, (unsigned)l->n));
}

static void
fill(const struct field *f, cfg_t *sec, void *base)
{
	void *at = (char *)base + f->at;
	cfg_opt_t *opt = cfg_getopt(sec, f->name);
	if (f->kind == NUMBER)
		*(int *)at = (int)cfg_opt_getnint(opt, 0);
	else if (f->kind == FLAG)
		*(bool *)at = cfg_opt_getnbool(opt, 0);
	else if (f->kind == TEXT || f->kind == LINE)
		*(char **)at = xstrdup(cfg_opt_getnstr(opt, 0));
	else
		fill_list(f, opt, at);
}

/* A field that must be there and is not: no line to name but the file's first. */
static bool
is_missing(const struct field *f, cfg_t *sec)
{
	cfg_opt_t *opt = sec ? cfg_getopt(sec, f->name) : NULL;
	if (f->min < 1 || f->kind == NUMBER || f->kind == FLAG)
		return false;
	if (f->kind == TEXT || f->kind == LINE)
		return !opt || strlen(cfg_opt_getnstr(opt, 0)) == 0;
	return !opt || cfg_opt_size(opt) == 0;
}

static int
check_present(const struct field *f, cfg_t *sec)
{
	char name[64], hint[128];
	if (!is_missing(f, sec))
		return 0;
	full_name(f, name, sizeof(name));
	snprintf(hint, sizeof(hint), "Every platform file gives %s; see conf/README.md.", name);
	return refuse(sec && sec->line ? sec->line : 1, name, hint, "required, but", "(absent)");
}

static int
check_rest(const struct platform *p)
{
	static const char *const kinds[] = {"device", "transcript", "manual"};
	size_t i = 0;
	while (i < ARRAY_LEN(kinds) && strcmp(kinds[i], p->evidence.kind) != 0)
		i++;
	if (i == ARRAY_LEN(kinds))
		return refuse(1, "evidence.kind", "Give \"device\", \"transcript\" or \"manual\".",
		    "unknown", p->evidence.kind);
	if (p->normalise.redact_begin.n != p->normalise.redact_end.n)
		return refuse(1, "normalise.redact_end",
		    "Give one redact_end for each redact_begin, in the same order.",
		    "does not pair with", "redact_begin");
	if (*p->session.enable && (!p->session.unprivileged.n || !p->session.enable_prompt.n))
		return refuse(1, "session.enable",
		    "Give session.unprivileged and session.enable_prompt as well.",
		    "is not enough:", p->session.enable);
	return 0;
}

static int
fill_blocks(struct platform *p, cfg_t *cfg)
{
	size_t n = cfg_size(cfg, "block");
	if (n > MAX_BLOCKS)
		return refuse(1, "block",
		    "At most 16 blocks; a block may begin by several patterns.", "too many",
		    "block");
	p->block = xcalloc(n, sizeof(*p->block));
	for (; p->block_n < n; p->block_n++) {
		cfg_t *sec = cfg_getnsec(cfg, "block", (unsigned)p->block_n);
		struct platform_block *b = &p->block[p->block_n];
		b->title = xstrdup(cfg_title(sec));
		for (size_t k = 0; k < ARRAY_LEN(block_fields); k++)
			fill(&block_fields[k], sec, b);
		for (size_t k = 0; k < ARRAY_LEN(block_fields); k++)
			if (check_present(&block_fields[k], sec)) {
				p->block_n++;
				return -1;
			}
	}
	return 0;
}

static int
fill_platform(struct platform *p, cfg_t *cfg)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		cfg_t *sec = *fields[i].section ? cfg_getsec(cfg, fields[i].section) : cfg;
		if (check_present(&fields[i], sec))
			return -1;
		fill(&fields[i], sec, p);
	}
	int rc = fill_blocks(p, cfg);
	return rc ? rc : check_rest(p);
}

static int
set_name(struct platform *p, const char *path)
{
	const char *base = strrchr(path, '/');
	base = base ? base + 1 : path;
	size_t n = strspn(base, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	if (n == 0 || n > 32 || strcmp(base + n, ".conf") != 0)
		return refuse(1, "name",
		    "Name the file like 'frr.conf': a-z, 0-9, _ and -, at most 32.",
		    "the platform is named by its file, and that is", base);
	p->name = xasprintf("%.*s", (int)n, base);
	p->file = xstrdup(path);
	return 0;
}

static void
set_digest(struct platform *p, const struct buf *b)
{
	unsigned char h[crypto_hash_sha256_BYTES];
	crypto_hash_sha256(h, (const unsigned char *)b->p, b->n);
	sodium_bin2hex(p->digest, sizeof(p->digest), h, sizeof(h));
}

int
platform_read(const char *path, struct platform **out, struct err *e)
{
	_cleanup_buf_ struct buf b = {0};
	struct err own = ERR_INIT;
	struct schema schema;
	_cleanup_platform_ struct platform *p = xcalloc(1, sizeof(*p));
	e = e ? e : &own;
	int rc = io_read_file(path, PLATFORM_FILE_MAX_B, &b, e);
	if (rc)
		return rc;
	buf_add(&b, "", 0);
	reading = (typeof(reading)){.path = path, .text = b.p, .e = e};
	if (memchr(b.p, 0, b.n))
		return refuse(
			   1, "syntax", "A platform file is text.", "cannot be read:", "NUL byte"),
		       -ERR_INVALID;
	if (set_name(p, path))
		return -ERR_INVALID;
	cfg_t *cfg = cfg_open(&schema);
	rc = cfg_parse_buf(cfg, b.p);
	if (rc == CFG_SUCCESS && !reading.is_bad && check_closed() == 0)
		fill_platform(p, cfg);
	else if (!reading.is_bad)
		refuse(cfg->line, "syntax", "See conf/README.md.", "cannot be read:", "the file");
	cfg_free(cfg);
	if (reading.is_bad)
		return -ERR_INVALID;
	set_digest(p, &b);
	*out = take_ptr(&p);
	return 0;
}

static void
free_lines(struct str_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

static void
free_patterns(struct pattern_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		pattern_free(l->v[i]);
	free(l->v);
}

static void
free_field(const struct field *f, void *base)
{
	void *at = (char *)base + f->at;
	if (f->kind == TEXT || f->kind == LINE)
		free(*(char **)at);
	else if (f->kind == PATTERNS)
		free_patterns(at);
	else if (f->kind == LINES || f->kind == NAMES)
		free_lines(at);
}

void
platform_free(struct platform *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		free_field(&fields[i], p);
	for (size_t i = 0; i < p->block_n; i++) {
		for (size_t k = 0; k < ARRAY_LEN(block_fields); k++)
			free_field(&block_fields[k], &p->block[i]);
		free(p->block[i].title);
	}
	free(p->block);
	free(p->name);
	free(p->file);
	free(p);
}
