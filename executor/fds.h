// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Descriptors across a fork without exec, where CLOEXEC does not help. Used by keeper and child. */
#pragma once

#include <stddef.h>

/* Close every descriptor above 2 that is not in keep. */
void fds_close_others(const int *keep, size_t n);
