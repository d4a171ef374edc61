// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Where the files that came with Takt are: installed, in a build tree, or beside the program. */
#pragma once

/* The directory of the running program; caller frees. */
char *places_own_dir(void);
/* A directory of conf/, such as "calendars.d": beside our binary, else of the source tree, else
 * installed. Caller frees. */
char *places_data_dir(const char *name);
