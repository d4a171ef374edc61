// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * How a keeper and an executor that did not start it find each other and prove who they are, by the
 * unit's nonce, which stands in a file that only our uid can read. The socket's name is abstract: it
 * needs no inode, no room on the disk, and ends with its keeper. Who may not read the file can see
 * the name and connect, and is turned away by uid and for want of a proof.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* The keeper's socket; SOCK_SEQPACKET, non-blocking. Descriptor or a negative code. */
int meet_listen(const char *nonce, struct err *e);
/* To the keeper, if it listens; non-blocking. Descriptor or -1. */
int meet_connect(const char *nonce);

/* The proof of knowing the nonce: crypto_auth of "who:challenge" in hex. out: 65 bytes. */
void meet_proof(const char *nonce, const char *who, const char *challenge, char out[65]);
bool meet_proof_holds(const char *nonce, const char *who, const char *challenge, const char *mac);
