// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Reads TZif bytes, versions 1 to 4 (RFC 9636). Every count is checked against the bytes that are
 * there before anything is read by it. Files that count leap seconds ("right/") are refused: their
 * instants are not those of POSIX time.
 */
#include <string.h>

#include "base/buf.h"

#include "when/zone_priv.h"

#include "base/banned.h"

#define HEADER_B 44
/* RFC 9636 has nothing before -2^59; as much to the other side keeps all sums in range. */
#define TIME_MAX (INT64_C(1) << 59)

struct header {
	unsigned char version;
	uint32_t isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt;
};

struct input {
	const unsigned char *p;
	size_t n;
};

static uint64_t
big_endian(const unsigned char *p, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

static int
read_header(struct input *in, struct header *h, struct err *e)
{
	uint32_t *counts[] = {
	    &h->isutcnt, &h->isstdcnt, &h->leapcnt, &h->timecnt, &h->typecnt, &h->charcnt};

	if (in->n < HEADER_B || memcmp(in->p, "TZif", 4) != 0)
		return err_set(e, ERR_INVALID, "not a TZif file");
	h->version = in->p[4];
	if (h->version != 0 && h->version < '2')
		return err_set(e, ERR_INVALID, "TZif version byte %u is unknown", h->version);
	for (size_t i = 0; i < 6; i++)
		*counts[i] = (uint32_t)big_endian(in->p + 20 + 4 * i, 4);
	in->p += HEADER_B;
	in->n -= HEADER_B;
	return 0;
}

/* 64-bit arithmetic on 32-bit counts cannot overflow. */
static uint64_t
block_size(const struct header *h, unsigned time_b)
{
	return (uint64_t)h->timecnt * (time_b + 1) + (uint64_t)h->typecnt * 6 + h->charcnt +
	       (uint64_t)h->leapcnt * (time_b + 4) + h->isstdcnt + h->isutcnt;
}

static int
check_counts(const struct header *h, size_t have, unsigned time_b, struct err *e)
{
	if (block_size(h, time_b) > have)
		return err_set(e, ERR_INVALID,
		    "TZif file is cut short: its header asks for %llu bytes, %zu are there",
		    (unsigned long long)block_size(h, time_b), have);
	if (h->typecnt < 1 || h->typecnt > ZONE_TYPES_MAX)
		return err_set(
		    e, ERR_INVALID, "TZif file has %u time types, 1 to 256 are legal", h->typecnt);
	if (h->charcnt < 1 || h->charcnt > ZONE_TYPES_MAX)
		return err_set(e, ERR_INVALID,
		    "TZif file has %u abbreviation bytes, 1 to 256 are taken", h->charcnt);
	if ((h->isutcnt && h->isutcnt != h->typecnt) || (h->isstdcnt && h->isstdcnt != h->typecnt))
		return err_set(e, ERR_INVALID,
		    "TZif file has %u and %u indicators for %u time types", h->isutcnt, h->isstdcnt,
		    h->typecnt);
	if (h->leapcnt)
		return err_set(
		    e, ERR_INVALID, "TZif file counts leap seconds, which Takt's clock does not");
	return 0;
}

static int
read_transitions(
    const unsigned char *p, const struct header *h, unsigned time_b, struct zone *z, struct err *e)
{
	const unsigned char *index = p + (size_t)h->timecnt * time_b;

	z->when = xcalloc(h->timecnt + 1, sizeof(*z->when));
	z->type = xcalloc(h->timecnt + 1, sizeof(*z->type));
	z->count = h->timecnt;
	for (size_t i = 0; i < h->timecnt; i++) {
		uint64_t raw = big_endian(p + i * time_b, (int)time_b);

		z->when[i] = time_b == 4 ? (int64_t)(int32_t)(uint32_t)raw : (int64_t)raw;
		z->type[i] = index[i];
		if (z->when[i] < -TIME_MAX || z->when[i] > TIME_MAX)
			return err_set(e, ERR_INVALID, "TZif transition %zu is out of range", i);
		if (i && z->when[i] <= z->when[i - 1])
			return err_set(e, ERR_INVALID,
			    "TZif transition %zu is not later than the one before", i);
		if (index[i] >= h->typecnt)
			return err_set(e, ERR_INVALID, "TZif transition %zu leads to type %u of %u",
			    i, index[i], h->typecnt);
	}
	return 0;
}

static int
read_types(const unsigned char *p, const struct header *h, struct zone *z, struct err *e)
{
	const unsigned char *chars = p + (size_t)h->typecnt * 6;

	memcpy(z->abbrevs, chars, h->charcnt);
	z->type_count = h->typecnt;
	for (size_t i = 0; i < h->typecnt; i++, p += 6) {
		struct zone_type t = {(int32_t)(uint32_t)big_endian(p, 4), p[4] == 1, p[5]};

		if (t.off < ZONE_OFF_MIN || t.off > ZONE_OFF_MAX || p[4] > 1)
			return err_set(e, ERR_INVALID,
			    "TZif time type %zu has offset %d and DST flag %u", i, t.off, p[4]);
		if (t.abbrev >= h->charcnt || !memchr(chars + t.abbrev, 0, h->charcnt - t.abbrev))
			return err_set(e, ERR_INVALID,
			    "TZif abbreviation of time type %zu is outside of the file", i);
		z->types[i] = t;
	}
	return 0;
}

static int
read_footer(struct input in, struct zone *z, struct err *e)
{
	const unsigned char *end = NULL;

	if (in.n && in.p[0] == '\n')
		end = memchr(in.p + 1, '\n', in.n - 1);
	if (!end)
		return err_set(e, ERR_INVALID, "TZif file has no footer");
	if (end == in.p + 1)
		return 0;
	z->has_rule = true;
	return tzrule_parse((const char *)in.p + 1, (size_t)(end - in.p - 1), &z->rule, e);
}

int
tzif_parse(const unsigned char *p, size_t n, struct zone *z, struct err *e)
{
	struct input in = {p, n};
	unsigned time_b = 4;
	struct header h;
	int r = read_header(&in, &h, e);

	if (r == 0 && h.version) {
		/* The first block is for readers of version 1: step over it to the 64-bit one. */
		uint64_t skip = block_size(&h, 4);

		if (skip > in.n)
			return err_set(e, ERR_INVALID, "TZif file is cut short in its first block");
		in.p += skip;
		in.n -= skip;
		time_b = 8;
		r = read_header(&in, &h, e);
	}
	if (r < 0 || (r = check_counts(&h, in.n, time_b, e)) < 0)
		return r;
	if ((r = read_transitions(in.p, &h, time_b, z, e)) < 0 ||
	    (r = read_types(in.p + (size_t)h.timecnt * (time_b + 1), &h, z, e)) < 0)
		return r;
	in.n -= block_size(&h, time_b);
	in.p += block_size(&h, time_b);
	return time_b == 8 ? read_footer(in, z, e) : 0;
}
