// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* See unitfile.h. */
#include "executor/unitfile.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/jsonx.h"
#include "executor/spares.h"
#include "frame/frame.h"

#include "base/banned.h"

#define MARKS_AT (UNIT_KEEPER_AT + UNIT_KEEPER_B)
#define RESULT_AT 3080

static const struct json_limits meta_limits = {.size_b = UNIT_KEEPER_AT, .depth = 4, .tokens = 64};

bool
unit_id_valid(const char *s)
{
	char uuid[UUID_LEN + 1];
	size_t n = strlen(s), dots = 0, digits = 0;

	if (n < UUID_LEN + 4 || n > UNIT_ID_MAX)
		return false;
	memcpy(uuid, s, UUID_LEN);
	uuid[UUID_LEN] = 0;
	if (!uuid_valid(uuid) || s[UUID_LEN] != '.')
		return false;
	for (const char *p = s + UUID_LEN; *p; p++) {
		if (*p == '.') {
			if (dots && !digits)
				return false;
			dots++;
			digits = 0;
		} else if (isdigit((unsigned char)*p))
			digits++;
		else
			return false;
	}
	return dots == 2 && digits > 0;
}

/* The whole head, so that nothing is left of a spare file's unit. */
static int
write_head(int fd, const struct unit_meta *m, struct err *e)
{
	_cleanup_json_ json_t *j = json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:b}", "unit", m->unit,
	    "epoch", (json_int_t)m->epoch, "type", m->type, "tag", m->tag, "nonce", m->nonce,
	    "boot_id", m->boot_id, "is_killed_without_lease", m->is_killed_without_lease);
	_cleanup_free_ char *text = j ? json_text(j) : NULL;
	char head[UNIT_HEAD_B] = "";

	if (!text || strlen(text) >= UNIT_KEEPER_AT)
		return err_set(e, ERR_INVALID, "identity of unit %s is not UTF-8", m->unit);
	memcpy(head, text, strlen(text));
	if (pwrite(fd, head, sizeof(head), 0) != sizeof(head))
		return err_sys(e, "file of unit %s", m->unit);
	return 0;
}

int
unit_file_make(int units_fd, const struct unit_meta *m, struct err *e)
{
	char spare[SPARE_NAME_MAX];
	_cleanup_fd_ int fd = spare_take(units_fd, spare);

	if (fd >= 0) {
		if (write_head(fd, m, e) == 0 &&
		    renameat2(units_fd, spare, units_fd, m->unit, RENAME_NOREPLACE) == 0)
			return take_fd(&fd);
		unlinkat(units_fd, spare, 0);
		close(take_fd(&fd));
	}
	fd = openat(units_fd, m->unit, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, "file of unit %s", m->unit);
	if (write_head(fd, m, e) < 0) {
		unlinkat(units_fd, m->unit, 0);
		return -e->code;
	}
	return take_fd(&fd);
}

int
unit_file_open(int units_fd, const char *unit)
{
	return openat(units_fd, unit, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
}

/* The JSON object at p, up to the first NUL. */
static json_t *
part_parse(const char *p, size_t max)
{
	size_t n = strnlen(p, max);

	return n ? json_parse(p, n, &meta_limits, NULL) : NULL;
}

static void
copy_text(char *out, size_t n, const json_t *j, const char *key)
{
	snprintf(out, n, "%s", json_get_str(j, key, ""));
}

int
unit_meta_read(int fd, struct unit_meta *out, struct err *e)
{
	_cleanup_json_ json_t *j = NULL, *keeper = NULL;
	struct unit_meta m = {0};
	char head[UNIT_HEAD_B];

	if (pread(fd, head, sizeof(head), 0) != sizeof(head))
		return err_set(e, ERR_INVALID, "unit's file has no head");
	j = part_parse(head, UNIT_KEEPER_AT);
	keeper = part_parse(head + UNIT_KEEPER_AT, UNIT_KEEPER_B);
	if (!json_is_object(j))
		return err_set(e, ERR_INVALID, "unit's identity is not a JSON object");
	copy_text(m.unit, sizeof(m.unit), j, "unit");
	copy_text(m.type, sizeof(m.type), j, "type");
	copy_text(m.tag, sizeof(m.tag), j, "tag");
	copy_text(m.nonce, sizeof(m.nonce), j, "nonce");
	copy_text(m.boot_id, sizeof(m.boot_id), j, "boot_id");
	m.epoch = json_get_int(j, "epoch", 0);
	m.is_killed_without_lease = json_get_bool(j, "is_killed_without_lease", 0);
	m.keeper_pid = (pid_t)json_get_int(keeper, "keeper_pid", 0);
	m.keeper_start = (uint64_t)json_get_int(keeper, "keeper_start", 0);
	if (strlen(m.tag) != UNIT_TAG_LEN || strlen(m.nonce) != UNIT_NONCE_LEN)
		return err_set(e, ERR_INVALID, "unit's identity has no tag or nonce");
	*out = m;
	return 0;
}

int
unit_keeper_write(int fd, pid_t pid, uint64_t start, struct err *e)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "{\"keeper_pid\":%d,\"keeper_start\":%llu}", (int)pid,
	    (unsigned long long)start);

	if (pwrite(fd, text, (size_t)n, UNIT_KEEPER_AT) != n)
		return err_sys(e, "unit's file");
	return 0;
}

static int
set_lock(int fd, short type, bool is_to_wait)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_len = UNIT_HEAD_B};
	int r;

	do
		r = fcntl(fd, is_to_wait ? F_SETLKW : F_SETLK, &l);
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EACCES)
		errno = EAGAIN;
	return r;
}

int
unit_lock(int fd, bool is_to_wait)
{
	return set_lock(fd, F_WRLCK, is_to_wait);
}

void
unit_unlock(int fd)
{
	set_lock(fd, F_UNLCK, false);
}

int
unit_mark(int fd, enum unit_mark mark)
{
	return pwrite(fd, "y", 1, MARKS_AT + (off_t)mark) == 1 ? 0 : -1;
}

bool
unit_is_marked(int fd, enum unit_mark mark)
{
	char c = 0;

	return pread(fd, &c, 1, MARKS_AT + (off_t)mark) == 1 && c == 'y';
}

int
unit_claim(int fd, struct err *e)
{
	char c;

	/* A file without a head was claimed for all we know. */
	if (pread(fd, &c, 1, MARKS_AT + (off_t)UNIT_CLAIMED) != 1)
		return err_set(e, ERR_INVALID, "unit's file has no head");
	if (c == 'y')
		return 0;
	return unit_mark(fd, UNIT_CLAIMED) == 0 ? 1 : err_sys(e, "claim");
}

int
unit_result_place(int fd, uint64_t at)
{
	uint64_t le = htole64(at);

	return pwrite(fd, &le, sizeof(le), RESULT_AT) == sizeof(le) ? 0 : -1;
}

/* 0: there is none. */
static uint64_t
result_at(int fd)
{
	uint64_t le = 0;

	return pread(fd, &le, sizeof(le), RESULT_AT) == sizeof(le) ? le64toh(le) : 0;
}

uint64_t
unit_journal_b(int fd)
{
	uint64_t end = result_at(fd);
	struct stat st;

	if (!end && fstat(fd, &st) == 0)
		end = (uint64_t)st.st_size;
	return end > UNIT_HEAD_B ? end - UNIT_HEAD_B : 0;
}

bool
unit_result_is_whole(int fd)
{
	_cleanup_frame_ struct frame f = {0};
	uint64_t at = result_at(fd);
	_cleanup_free_ unsigned char *raw = at >= UNIT_HEAD_B ? malloc(FRAME_MAX) : NULL;
	ssize_t n = raw ? pread(fd, raw, FRAME_MAX, (off_t)at) : -1;

	return n > 0 && frame_decode(raw, (size_t)n, &f, NULL) == 0 && f.type == FRAME_J_RESULT &&
	       f.off == at - UNIT_HEAD_B;
}
