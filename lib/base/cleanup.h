// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Scope-bound ownership: a variable marked _cleanup_x_ is released when it goes out of scope;
 * take_ptr() and take_fd() hand the resource on. Used everywhere.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

static inline void
cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void
cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void
cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_fd_ _cleanup_(cleanup_fd)
#define _cleanup_file_ _cleanup_(cleanup_file)

#define take_ptr(pp)                          \
	({                                    \
		__typeof__(*(pp)) _t = *(pp); \
		*(pp) = NULL;                 \
		_t;                           \
	})

static inline int
take_fd(int *fd)
{
	int t = *fd;
	*fd = -1;
	return t;
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
