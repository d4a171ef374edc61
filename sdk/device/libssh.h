// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * libssh, loaded when it is needed: with it come libcrypto and Kerberos, half of all that a process
 * maps, which each fork of a unit without a device would copy. `L.ssh_connect(…)` is ssh_connect.
 * Loaded by device_load(), which every session calls first.
 */
#pragma once

#include <libssh/libssh.h>

struct libssh {
#define LIBSSH_CALL(name) __typeof__(name) *name;
#include "sdk/device/libssh.def"
#undef LIBSSH_CALL
};

extern struct libssh L;
