// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Clocks. Timeouts use MONOTONIC, leases BOOTTIME (a suspend counts), and the database's clock
 * decides what is due; REALTIME is for stamps that people read.
 */
#pragma once

#include <stdint.h>

int64_t clock_realtime_us(void);
int64_t clock_monotonic_ms(void);
int64_t clock_boottime_ms(void);

/* "2026-11-22T14:00:01.123Z" from microseconds since the epoch; buf of at least 32 bytes. Returns buf. */
const char *clock_rfc3339_us(int64_t us, char buf[32]);
