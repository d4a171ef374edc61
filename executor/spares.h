// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Files of units that are over, kept for units to come as `units/spare.<n>`. ext4 gives an inode that
 * was deleted to nobody for minutes and looks at all such on each creation: a node that makes and
 * deletes hundreds of files a second would do little else.
 */
#pragma once

#define SPARE_NAME_MAX 24

/* A file found at start: a spare one is taken note of. */
void spare_note(const char *name);
/* After all were found: so many that the first units need not wait for inodes either. */
void spare_stock(int units_fd);
/* Descriptor and name of a spare file, -1 if there is none. What it holds is the last unit's. */
int spare_take(int units_fd, char name[SPARE_NAME_MAX]);
/* The file of a finished unit, which no keeper writes to any more. */
void spare_put(int units_fd, const char *unit);
