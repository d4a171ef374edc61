// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The probe: see probe.c. */
#pragma once

#define PROBE_REFUSED 2 /* exit status of a file that would not be loaded; the reason is printed */

/* Loads the plugin, prints its descriptor or the reason of refusal, ends the process. */
int probe_main(const char *path);
