// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Counted from the first answer's arrival to the last question's sending: never too long. */
#include "daemon/engine/sighting.h"

#include "base/banned.h"

static bool
goes_on(const struct sighting *s, int64_t beat, int64_t asked_ms, int64_t answered_ms)
{
	return s->is_seen && beat == s->beat && asked_ms >= s->asked_ms &&
	       answered_ms >= asked_ms && answered_ms - s->asked_ms <= SIGHTING_GAP_MS;
}

bool
sighting_is_dead(struct sighting *s, int64_t beat, int64_t asked_ms, int64_t answered_ms)
{
	if (!goes_on(s, beat, asked_ms, answered_ms))
		*s = (struct sighting){.is_seen = true, .beat = beat, .first_ms = answered_ms};
	s->asked_ms = asked_ms;
	return asked_ms - s->first_ms >= SIGHTING_DEAD_MS;
}
