// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The feed reader: follows takt.event_batch of all organisations as the role takt_feed and hands each
 * new fact to the channels of its run's and its task's topic, in feed order, each exactly once.
 *
 * At the gateway's start it begins at the end; after a lost connection where it was.
 */
#pragma once

#include "daemon/gateway/cursor.h"

struct gateway;
struct feed;

/* Has the feed begun? A channel that joined before could miss what lies between. */
bool feed_has_begun(const struct feed *);

struct feed *feed_open(struct gateway *);
void feed_close(struct feed *);
