// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * devprobe FILE: one session of the device library without daemon, executor or database. FILE is
 * JSON {platform_dirs:[…],target:{…},secret:{…},host_key:{policy,known:[…]},deadline_ms?,
 * cancel_after_ms?,commands:[…]|backup:true} (secrets in a file, not in argv); prints one
 * JSON object {rc,code,message,hint,learned:[…],outputs:[…],exact,normalised,log:[…],ms}. For tests.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/jsonx.h"
#include "sdk/device/device.h"

#include "base/banned.h"

struct probe {
	json_t *in, *out;
	int64_t deadline; /* monotonic ms; 0: none */
	int cancel_fd;
};

static const char *
on_secret(void *arg, const char *name, size_t *n)
{
	struct probe *p = arg;
	const char *v = json_get_str(json_object_get(p->in, "secret"), name, NULL);
	*n = v ? strlen(v) : 0;
	return v;
}

static int64_t
on_deadline(void *arg)
{
	struct probe *p = arg;
	int64_t left = p->deadline - clock_monotonic_ms();
	return p->deadline ? (left > 0 ? left : 0) : -1;
}

static int
on_cancel_fd(void *arg)
{
	return ((struct probe *)arg)->cancel_fd;
}

static void
on_log(void *arg, int32_t level, const char *line)
{
	struct probe *p = arg;
	_cleanup_free_ char *text = xasprintf("%d %s", level, line);
	json_array_append_new(json_object_get(p->out, "log"), json_string(text));
}

static json_t *
text(takt_str s)
{
	json_t *j = json_stringn(s.p ? s.p : "", s.n);
	return j ? j : json_string("(not UTF-8)");
}

static takt_rc
on_fail(void *arg, const takt_err *e)
{
	struct probe *p = arg;
	json_object_set_new(p->out, "code", text(e->code));
	json_object_set_new(p->out, "message", text(e->message));
	json_object_set_new(p->out, "hint", text(e->hint));
	json_object_set_new(p->out, "breaker_key", text(e->breaker_key));
	return e->rc;
}

static void
on_learned(void *arg, const char *type, const char *key, const char *fingerprint)
{
	struct probe *p = arg;
	json_array_append_new(
	    json_object_get(p->out, "learned"), json_pack("{s:s, s:s, s:s}", "key_type", type,
						    "public_key", key, "fingerprint", fingerprint));
}

static takt_rc
run_commands(struct probe *p, const takt_ssh_1 *ssh, takt_ssh *s)
{
	json_t *outputs = json_object_get(p->out, "outputs"), *line;
	size_t i;
	json_array_foreach(json_object_get(p->in, "commands"), i, line)
	{
		takt_str out, in = {json_string_value(line), json_string_length(line)};
		takt_rc rc =
		    ssh->command(s, in, (uint32_t)json_get_int(p->in, "timeout_ms", 0), &out);
		if (rc != TAKT_OK)
			return rc;
		json_array_append_new(outputs, text(out));
	}
	return TAKT_OK;
}

static takt_rc
run_backup(struct probe *p, const takt_ssh_1 *ssh, takt_ssh *s)
{
	takt_ssh_backup b = {.struct_size = sizeof(b)};
	takt_rc rc = ssh->backup(s, &b);
	if (rc != TAKT_OK)
		return rc;
	json_object_set_new(p->out, "exact", text(b.exact));
	json_object_set_new(p->out, "normalised", text(b.normalised));
	json_object_set_new(p->out, "duration_us", json_integer(b.duration_us));
	return TAKT_OK;
}

static takt_rc
run(struct probe *p)
{
	const takt_ssh_1 *ssh = device_ssh_extension();
	takt_ssh *s = NULL;
	takt_rc rc = ssh->open((takt_ctx *)p, &s);
	if (rc == TAKT_OK)
		rc = run_commands(p, ssh, s);
	if (rc == TAKT_OK && json_get_bool(p->in, "backup", 0))
		rc = run_backup(p, ssh, s);
	ssh->close(s);
	return rc;
}

static int
cancel_after(int64_t ms)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct itimerspec t = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
	if (ms > 0)
		timerfd_settime(fd, 0, &t, NULL);
	return fd;
}

static size_t
read_known(json_t *known, struct device_known_key *out, size_t max)
{
	json_t *k;
	size_t i, n = 0;
	json_array_foreach(known, i, k)
	{
		if (n < max)
			out[n++] = (struct device_known_key){
			    json_get_str(k, "key_type", ""), json_get_str(k, "public_key", "")};
	}
	return n;
}

static int
load_platforms(json_t *in, struct err *e)
{
	const char *dirs[9] = {NULL};
	json_t *d;
	size_t i;
	json_array_foreach(json_object_get(in, "platform_dirs"), i, d)
	{
		if (i < 8)
			dirs[i] = json_string_value(d);
	}
	return device_platforms_load(dirs, e);
}

static takt_rc
probe(struct probe *p)
{
	struct device_known_key known[16];
	json_t *hk = json_object_get(p->in, "host_key");
	_cleanup_free_ char *target = json_text(json_object_get(p->in, "target"));
	struct device_host host = {
	    .arg = p,
	    .target_json = target,
	    .is_strict = strcmp(json_get_str(hk, "policy", "tofu"), "strict") == 0,
	    .known = known,
	    .known_n = read_known(json_object_get(hk, "known"), known, ARRAY_LEN(known)),
	    .secret = on_secret,
	    .deadline_ms = on_deadline,
	    .cancel_fd = on_cancel_fd,
	    .log = on_log,
	    .fail = on_fail,
	    .host_key_learned = on_learned,
	};
	device_bind((takt_ctx *)p, &host);
	takt_rc rc = run(p);
	device_bind(NULL, NULL);
	return rc;
}

int
main(int argc, char **argv)
{
	_cleanup_buf_ struct buf b = {0};
	struct err e = ERR_INIT;
	struct probe p = {0};
	char line[800];
	signal(SIGPIPE, SIG_IGN);
	if (argc != 2 || io_read_file(argv[1], 1 << 20, &b, &e) ||
	    !(p.in = json_parse(b.p, b.n, &json_limits_request, &e)) || load_platforms(p.in, &e)) {
		fprintf(stderr, "devprobe: %s\n",
		    argc == 2 ? err_text(&e, line, sizeof(line)) : "usage: devprobe FILE");
		return 2;
	}
	int64_t from = clock_monotonic_ms(), deadline = json_get_int(p.in, "deadline_ms", 0);
	p.deadline = deadline ? from + deadline : 0;
	p.cancel_fd = cancel_after(json_get_int(p.in, "cancel_after_ms", 0));
	p.out = json_pack("{s:[], s:[], s:[]}", "learned", "outputs", "log");
	takt_rc rc = probe(&p);
	json_object_set_new(p.out, "rc", json_integer(rc));
	json_object_set_new(p.out, "ms", json_integer(clock_monotonic_ms() - from));
	json_dumpf(p.out, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
	putchar('\n');
	json_decref(p.in);
	json_decref(p.out);
	close(p.cancel_fd);
	return rc < 0;
}
