// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * A plugin file: may it be loaded, what is it, load it. The checks need no plugin code; loading
 * runs the plugin's constructors and happens in a probe, a zygote or a plugin process only,
 * never in the executor's main process.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <takt/plugin.h>

#include "base/err.h"

#define LOADER_DIGEST_LEN 64
#define LOADER_FILE_MAX (256u << 20)

/*
 * Regular file, owner root or us, not writable by group or others; digest: SHA-256 in hex. Returns a
 * descriptor of that file, which is the one to load: the path may name another one by now.
 */
int loader_check_file(const char *path, char digest[LOADER_DIGEST_LEN + 1], struct err *e);
/* dlopen, find the entry and hold its header against this Takt; messages give both values. */
const takt_plugin_entry *loader_open(int fd, struct err *e);
/* The descriptor as the PLUGIN frame has it (name, version, abi, types), or NULL: what is wrong. */
json_t *loader_describe(const takt_plugin_entry *entry, struct err *e);
/* True if units of it are made for devices: they will want the session library. */
bool loader_has_devices(const takt_plugin_entry *entry);
/* The task type of that id; NULL if there is none. */
const takt_task_type *loader_type(const takt_plugin_entry *entry, const char *id);
