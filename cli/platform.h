// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* `takt platform check FILE`: local, needs no daemon. */
#pragma once

/* Validate a platform file and say so; 0, or 1 with file:line, field, value and remedy on stderr. */
int cli_platform_check(const char *file);
