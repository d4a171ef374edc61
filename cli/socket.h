// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* One WebSocket client connection on libwebsockets; follow.c speaks Phoenix Channels over it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct socket;

struct socket_hooks {
	void (*on_open)(void *arg);
	void (*on_text)(void *arg, const char *p, size_t n); /* one whole message */
	void (*on_beat)(void *arg);                          /* each 25 s while open */
	void *arg;
};

/* base_url: http(s)://host:port; token may be NULL. NULL and *e for a bad URL. */
struct socket *socket_new(const char *base_url, const char *path, const char *token,
    const struct socket_hooks *hooks, struct err *e);
void socket_free(struct socket *s);
/* Begin connecting; false if that failed at once. */
bool socket_connect(struct socket *s);
/* Connecting or open. */
bool socket_is_up(const struct socket *s);
/* Queue a text message; copied. */
void socket_send(struct socket *s, const char *text);
/* Wait for something to happen and call the hooks. */
void socket_service(struct socket *s);
