// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * From claimed runs to the executor: starts units as slots are free, passes their secrets by
 * memfd, stops them, and hands what comes back to record. Called by the engine's loop and hooks.
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"

struct engine;
struct err;
struct frame;
struct run;
struct unit;

/* Start what waits for a slot, end what waited too long. Safe to call at any time. */
void dispatch_start(struct engine *);
/* The same, and slots that are still free are for new runs. */
void dispatch_pump(struct engine *);
/* The run went to cancelling by a committed command. */
void dispatch_cancel(struct engine *, const char *run_id, const char *reason);
/* (Re)read a unit's journal, from where the database has it. */
void dispatch_attach(struct engine *, struct unit *);

/* HELLO to the executor. */
void dispatch_hello(struct engine *);
/* Any frame from the executor. */
void dispatch_frame(struct engine *, const struct frame *);

/* What a unit needs: as text if nothing in it is secret and the executor takes that, else in a memfd. */
struct start_input {
	struct buf text;
	int fd;
};

#define START_INPUT_INIT \
	{                \
		.fd = -1 \
	}

/* Secrets are opened here. Negative: *e says why. */
int start_input(struct engine *, struct unit *, struct start_input *, struct err *err);
void start_input_fini(struct start_input *);
