// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The unit's input: one JSON document in a memfd that only this process reads. Whatever jansson
 * allocates while it is parsed is wiped when freed; the values live on in locked memory.
 */
#include "executor/host_priv.h"

#include <malloc.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/jsonx.h"

#include "base/banned.h"

static const struct json_limits input_limits = {HOST_INPUT_MAX, 34, 100000};

static void
wiping_free(void *p)
{
	if (!p)
		return;
	sodium_memzero(p, malloc_usable_size(p));
	free(p);
}

static takt_str
keep_text(const json_t *j)
{
	char *s = json_is_object(j) ? json_text(j) : NULL;

	return (takt_str){s, s ? strlen(s) : 0};
}

static int
keep_secret(struct takt_ctx *ctx, const char *name, const char *value, struct err *e)
{
	struct host_secret *s = &ctx->secrets[ctx->secrets_n];
	size_t n = strlen(value);

	if (ctx->secrets_n == HOST_SECRETS_MAX || strlen(name) >= sizeof(s->name))
		return err_set(
		    e, ERR_TOO_BIG, "credential member '%.32s' is one too many or too long", name);
	s->value = sodium_malloc(n + 1);
	if (!s->value)
		return err_set(e, ERR_NOMEM, "no locked memory for a secret of %zu bytes", n);
	memcpy(s->value, value, n + 1);
	memcpy(s->name, name, strlen(name) + 1);
	s->n = n;
	ctx->secrets_n++;
	return 0;
}

static int
take_input(struct takt_ctx *ctx, const json_t *j, struct err *e)
{
	json_t *secrets = json_object_get(j, "secret"), *v;
	const char *name;
	int r;

	ctx->identity = keep_text(json_object_get(j, "identity"));
	ctx->target = keep_text(json_object_get(j, "target"));
	ctx->params = keep_text(json_object_get(j, "params"));
	ctx->host_key = json_incref(json_object_get(j, "host_key"));
	if (!ctx->identity.p || !ctx->params.p)
		return err_set(e, ERR_INVALID, "input has no identity or params object");
	json_object_foreach(secrets, name, v)
	{
		if (!json_is_string(v))
			continue;
		r = keep_secret(ctx, name, json_string_value(v), e);
		if (r < 0)
			return r;
	}
	return 0;
}

int
host_input_read(struct takt_ctx *ctx, struct err *e)
{
	int fd = ctx->setup->input_fd, r = -ERR_INVALID;
	struct stat st;
	size_t n;
	char *text;
	json_t *j;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "input");
	if (st.st_size <= 0 || st.st_size > HOST_INPUT_MAX)
		return err_set(e, ERR_TOO_BIG, "input has %lld bytes, 1 to %u are allowed",
		    (long long)st.st_size, HOST_INPUT_MAX);
	n = (size_t)st.st_size;
	/* Wiped like all that jansson makes of it. The memfd itself is no better hidden. */
	text = xmalloc(n);
	json_set_alloc_funcs(malloc, wiping_free);
	if (pread(fd, text, n, 0) != (ssize_t)n)
		err_sys(e, "input");
	else {
		j = json_parse(text, n, &input_limits, e);
		if (j)
			r = take_input(ctx, j, e);
		json_decref(j);
	}
	wiping_free(text);
	close(fd);
	return r;
}

void
host_input_wipe(struct takt_ctx *ctx)
{
	for (size_t i = 0; i < ctx->secrets_n; i++)
		sodium_free(ctx->secrets[i].value);
	ctx->secrets_n = 0;
}

const char *
host_secret(struct takt_ctx *ctx, const char *name, size_t *n)
{
	for (size_t i = 0; i < ctx->secrets_n; i++) {
		if (strcmp(ctx->secrets[i].name, name) != 0)
			continue;
		if (n)
			*n = ctx->secrets[i].n;
		return ctx->secrets[i].value;
	}
	if (n)
		*n = 0;
	return NULL;
}
