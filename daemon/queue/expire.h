// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Queued runs whose start deadline is over end as expired. */
#pragma once

#include <stdbool.h>

struct engine;

/* JOB_EXPIRE */
bool expire_start(struct engine *);
