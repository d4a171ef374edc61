// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Return codes of units and their classes; the table is rc.def. Used by keeper, engine and CLI. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum rc_class {
#define RC(name, number, retryable) RC_##name,
#include "task/rc.def"
#undef RC
	RC_CLASS_COUNT
};

/*
 * The class of any number a plugin may return. A number that is not in the table gets the class of
 * its hundred (-100..-199 transient, -200..-299 permanent, -300..-399 cancelled); anything else is internal.
 */
enum rc_class rc_class_of(int32_t rc);
int32_t rc_number(enum rc_class c);
const char *rc_class_name(enum rc_class c);
/* -1 if s is not the name of a class. */
int rc_class_parse(const char *s);
/* True if another attempt may pass. */
bool rc_is_retryable(enum rc_class c);
/* True for passed and skipped. */
bool rc_is_success(enum rc_class c);
