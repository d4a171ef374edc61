// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The chain over committed events (takt.event_link): about once a second, when something is new,
 * what is behind this node's last link gets one; now and then the same for nodes that are gone.
 * Writes no events, so it takes no turn at the gate; `takt verify` checks what it made.
 */
#pragma once

struct engine;

void event_link_init(struct engine *);
void event_link_fini(struct engine *);
