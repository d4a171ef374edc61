// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A platform: how to talk to one network operating system, read from a file in conf/platforms.d
 * (the format is in conf/README.md). A loaded platform has been validated in full and never
 * changes; patterns are compiled. Used by the session library, `takt platform check`, the engine.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "sdk/device/pattern.h"

#define PLATFORM_FILE_MAX_B 65536

struct str_list {
	char **v;
	size_t n;
};

/* Lines that must be paired, e.g. "router bgp" … "exit". */
struct platform_block {
	char *title;
	struct pattern_list begin;
	struct pattern_list end;
};

struct platform {
	char *name; /* file name without .conf */
	char *file;
	char digest[65]; /* SHA-256 of the file, hex */
	char *title;
	struct {
		char *kind; /* device, transcript, manual */
		char *text;
	} evidence;
	struct {
		struct pattern_list prompt; /* a whole last line */
		struct pattern_list pager;
		char *pager_answer;
		struct str_list setup;
		struct pattern_list error;
		struct pattern_list unprivileged; /* a prompt that calls for `enable` */
		char *enable;
		struct pattern_list enable_prompt;
		char *logout;
		bool echo;
		int width;
		int connect_timeout_ms, login_timeout_ms, command_timeout_ms, settle_ms;
	} session;
	struct {
		struct str_list kex, host_keys, public_keys, ciphers,
		    macs; /* added to the defaults */
		int rsa_min_bits;
	} ssh;
	struct {
		struct str_list command;
		char *
		    heading; /* line before each command's output, %s = the command; may be empty */
		struct pattern_list drop_head;
	} backup;
	struct {
		struct pattern_list first_line, contains, last_line, before_last, banner, cut_off;
		bool twice;
		int min_lines, min_size_b;
	} complete;
	struct platform_block *block;
	size_t block_n;
	struct {
		struct pattern_list drop, redact_rest, redact_word, redact_begin, redact_end;
	} normalise;
};

/* Read and validate one file; *e names file:line, field, value and remedy. */
int platform_read(const char *path, struct platform **out, struct err *e);
void platform_free(struct platform *p);

/* A loaded platform (device_platforms_load), or NULL. */
const struct platform *platform_find(const char *name);
/* "frr, linux" for messages. */
const char *platform_names(char *buf, size_t n);

static inline void
cleanup_platform(struct platform **p)
{
	platform_free(*p);
}
#define _cleanup_platform_ _cleanup_(cleanup_platform)
