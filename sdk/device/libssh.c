// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See libssh.h. */
#include "sdk/device/libssh.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "sdk/device/device.h"

#include "base/banned.h"

#define SONAME "libssh.so.4"

struct libssh L;

static const struct {
	const char *name;
	size_t at;
} calls[] = {
#define LIBSSH_CALL(name) {#name, offsetof(struct libssh, name)},
#include "sdk/device/libssh.def"
#undef LIBSSH_CALL
};

int
device_load(struct err *e)
{
	static bool is_loaded;
	void *lib;

	if (is_loaded)
		return 0;
	lib = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return err_set(e, ERR_SYSTEM, "%s", dlerror());
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		void *p = dlsym(lib, calls[i].name);

		if (!p)
			return err_set(e, ERR_SYSTEM, "%s has no %s", SONAME, calls[i].name);
		memcpy((char *)&L + calls[i].at, &p, sizeof(p));
	}
	if (L.ssh_init() != SSH_OK)
		return err_set(e, ERR_SYSTEM, "libssh cannot start");
	is_loaded = true;
	return 0;
}
