// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Is a configuration whole? The rules of a platform's section `complete` on one text; pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "sdk/device/platform.h"

/* True if text holds all rules; else why says in words which one does not (no text of the device
 * but its line number is given: a configuration holds secrets). */
bool complete_check(const struct platform *p, const char *text, size_t n, char *why, size_t why_n);
