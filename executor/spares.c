// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See spares.h. Their numbers are a stack: the last one put is the warmest. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "executor/spares.h"
#include "executor/unitfile.h"

#include "base/cleanup.h"

#include "base/banned.h"

/* What is settled at once (20 s of it) finds room at 400 units/s; a block of 4 KiB each. */
#define SPARES_MAX 8192
#define SPARES_AT_START 64
#define PREFIX "spare."

static unsigned spares[SPARES_MAX], spares_n, next_no = 1;

static void
name_of(char name[SPARE_NAME_MAX], unsigned no)
{
	snprintf(name, SPARE_NAME_MAX, PREFIX "%u", no);
}

void
spare_note(const char *name)
{
	unsigned long no;
	char *end;

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
		return;
	no = strtoul(name + strlen(PREFIX), &end, 10);
	if (*end || no == 0 || no >= UINT32_MAX || spares_n == SPARES_MAX)
		return;
	spares[spares_n++] = (unsigned)no;
	if (no >= next_no)
		next_no = (unsigned)no + 1;
}

void
spare_stock(int units_fd)
{
	char name[SPARE_NAME_MAX];

	while (spares_n < SPARES_AT_START) {
		name_of(name, next_no);
		_cleanup_fd_ int fd = openat(
		    units_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return;
		spares[spares_n++] = next_no++;
	}
}

int
spare_take(int units_fd, char name[SPARE_NAME_MAX])
{
	int fd;

	if (!spares_n)
		return -1;
	name_of(name, spares[--spares_n]);
	fd = openat(units_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	/* Its frames are gone already, unless an executor ended while it put it here. */
	if (fd >= 0 && lseek(fd, 0, SEEK_END) > UNIT_HEAD_B && ftruncate(fd, UNIT_HEAD_B) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void
spare_put(int units_fd, const char *unit)
{
	_cleanup_fd_ int fd = spares_n < SPARES_MAX ? unit_file_open(units_fd, unit) : -1;
	char name[SPARE_NAME_MAX];

	name_of(name, next_no);
	if (fd < 0 || renameat(units_fd, unit, units_fd, name) < 0) {
		unlinkat(units_fd, unit, 0);
		return;
	}
	if (ftruncate(fd, UNIT_HEAD_B) < 0)
		unlinkat(units_fd, name, 0);
	else
		spares[spares_n++] = next_no++;
}
