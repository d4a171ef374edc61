// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The shipped calendars: files of calendar_dirs, put into the database when they say something new. */
#pragma once

struct engine;

/* A file that cannot be read is logged and its calendar stays as it is; so do all if a directory is not there. */
void calendars_publish(struct engine *);
