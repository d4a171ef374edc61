// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * "takt.ssh/1": lends the unit to the device library (sdk/device), which knows nothing of frames
 * and keepers. Bound when a plugin first asks for the extension.
 */
#include <string.h>

#include "base/buf.h"
#include "base/jsonx.h"
#include "executor/host_priv.h"
#include "frame/frame.h"
#include "sdk/device/device.h"

#include "base/banned.h"

#define KNOWN_MAX 32

static struct device_known_key known[KNOWN_MAX];

static const char *
device_secret(void *arg, const char *name, size_t *n)
{
	return host_secret(arg, name, n);
}

static int64_t
device_deadline_ms(void *arg)
{
	return host_vtable.deadline_ms(arg);
}

static int
device_cancel_fd(void *arg)
{
	return host_vtable.cancel_fd(arg);
}

static void
device_log(void *arg, int32_t level, const char *line)
{
	host_vtable.log(arg, level, (takt_str){line, strlen(line)});
}

static takt_rc
device_fail(void *arg, const takt_err *e)
{
	return host_vtable.fail(arg, e);
}

static void
device_host_key_learned(
    void *arg, const char *key_type, const char *public_key, const char *fingerprint)
{
	const struct takt_ctx *ctx = arg;
	_cleanup_json_ json_t *j = json_pack("{s:s, s:s, s:s}", "key_type", key_type, "public_key",
	    public_key, "fingerprint", fingerprint);

	if (j)
		frame_send(ctx->setup->frame_fd, FRAME_P_HOST_KEY, 0, j, NULL, 0, -1, NULL);
}

static size_t
read_known(const json_t *host_key)
{
	const json_t *v;
	size_t i, n = 0;

	json_array_foreach(json_object_get(host_key, "known"), i, v)
	{
		if (n == KNOWN_MAX)
			break;
		known[n].key_type = json_get_str(v, "key_type", "");
		known[n].public_key = json_get_str(v, "public_key", "");
		n++;
	}
	return n;
}

const void *
host_device_extension(struct takt_ctx *ctx)
{
	static struct device_host host;
	static bool is_bound;

	pthread_mutex_lock(&ctx->lock);
	if (!is_bound) {
		host = (struct device_host){.arg = ctx,
		    .target_json = ctx->target.p,
		    /* Anything but an explicit "tofu" is strict. */
		    .is_strict =
			strcmp(json_get_str(ctx->host_key, "policy", "strict"), "tofu") != 0,
		    .known = known,
		    .known_n = read_known(ctx->host_key),
		    .secret = device_secret,
		    .deadline_ms = device_deadline_ms,
		    .cancel_fd = device_cancel_fd,
		    .log = device_log,
		    .fail = device_fail,
		    .host_key_learned = device_host_key_learned};
		device_bind(ctx, &host);
		is_bound = true;
	}
	pthread_mutex_unlock(&ctx->lock);
	return device_ssh_extension();
}
