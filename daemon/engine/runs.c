// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* A hash table of runs; small, so a fixed number of chains is enough. */
#include "daemon/engine/runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/engine/engine.h"
#include "daemon/record/artifact.h"

#include "base/banned.h"

#define CHAINS 1024u

struct runs {
	struct run *chain[CHAINS];
};

static unsigned
chain_of(const char *id)
{
	uint32_t h = 2166136261u;

	for (; *id; id++)
		h = (h ^ (uint8_t)*id) * 16777619u;
	return h % CHAINS;
}

struct runs *
runs_new(void)
{
	return xcalloc(1, sizeof(struct runs));
}

void
unit_forget_secret(struct unit *u)
{
	if (u->sealed_hex)
		memset(u->sealed_hex, 0, strlen(u->sealed_hex));
	free(u->sealed_hex);
	u->sealed_hex = NULL;
}

static void
unit_fini(struct unit *u)
{
	unit_forget_secret(u);
	free(u->outcome.code);
	free(u->outcome.message);
	free(u->outcome.hint);
	free(u->outcome.snapshot_id);
	free(u->outcome.result);
	json_decref(u->last_result);
	artifacts_free(u->artifacts);
	free(u->device_id);
	free(u->device_name);
	free(u->address);
	free(u->platform);
	free(u->host_key);
	free(u->credential_id);
	free(u->username);
	json_decref(u->known);
}

void
run_free(struct run *r)
{
	for (unsigned i = 0; i < r->units_n; i++)
		unit_fini(&r->units[i]);
	free(r->units);
	free(r->task_type);
	free(r->cancel_reason);
	free(r->policy_key);
	free(r->empty_message);
	json_decref(r->policy);
	buf_fini(&r->items.text);
	free(r);
}

void
runs_clear(struct runs *t)
{
	for (unsigned i = 0; i < CHAINS; i++) {
		while (t->chain[i]) {
			struct run *r = t->chain[i];
			t->chain[i] = r->hash_next;
			run_free(r);
		}
	}
}

void
runs_free(struct runs *t)
{
	if (!t)
		return;
	runs_clear(t);
	free(t);
}

struct run *
runs_find(const struct runs *t, const char *id)
{
	for (struct run *r = t->chain[chain_of(id)]; r; r = r->hash_next)
		if (strcmp(r->id, id) == 0)
			return r;
	return NULL;
}

void
runs_remove(struct runs *t, struct run *r)
{
	struct run **p = &t->chain[chain_of(r->id)];

	while (*p != r)
		p = &(*p)->hash_next;
	*p = r->hash_next;
	run_free(r);
}

void
runs_add(struct runs *t, struct run *take_r)
{
	struct run *old = runs_find(t, take_r->id);
	struct run **head = &t->chain[chain_of(take_r->id)];

	if (old)
		runs_remove(t, old);
	take_r->hash_next = *head;
	*head = take_r;
}

void
runs_each(struct runs *t, void (*fn)(struct engine *, struct run *), struct engine *e)
{
	for (unsigned i = 0; i < CHAINS; i++) {
		for (struct run *r = t->chain[i], *next; r; r = next) {
			next = r->hash_next;
			fn(e, r);
		}
	}
}

void
runs_count(const struct runs *t, unsigned *busy, unsigned *pending)
{
	*busy = *pending = 0;
	for (unsigned i = 0; i < CHAINS; i++) {
		for (const struct run *r = t->chain[i]; r; r = r->hash_next) {
			for (unsigned n = 0; n < r->units_n; n++) {
				*pending += r->units[n].step == UNIT_PENDING;
				*busy += r->units[n].step == UNIT_SENT ||
					 r->units[n].step == UNIT_RUNNING;
			}
		}
	}
}

static int
by_no(const void *key, const void *unit)
{
	return *(const int *)key - ((const struct unit *)unit)->no;
}

struct unit *
run_unit(struct run *r, int no)
{
	return r->units_n ? bsearch(&no, r->units, r->units_n, sizeof(*r->units), by_no) : NULL;
}

void
unit_name(struct unit *u)
{
	snprintf(u->id, sizeof(u->id), "%s.%d.%d", u->run->id, u->run->attempt, u->no);
}

bool
unit_id_parse(const char *s, struct uuid *run, int *attempt, int *no)
{
	char id[UUID_LEN + 1];
	char *end;

	if (strlen(s) >= UNIT_ID_MAX || strlen(s) < UUID_LEN + 4 || s[UUID_LEN] != '.')
		return false;
	memcpy(id, s, UUID_LEN);
	id[UUID_LEN] = '\0';
	long a = strtol(s + UUID_LEN + 1, &end, 10);
	if (*end != '.' || a < 1 || a > 1000000 || !uuid_parse(id, run))
		return false;
	long n = strtol(end + 1, &end, 10);
	if (*end != '\0' || n < 0 || n > 1000000)
		return false;
	*attempt = (int)a;
	*no = (int)n;
	return true;
}

struct unit *
runs_find_unit(const struct runs *t, const char *unit)
{
	struct uuid id;
	int attempt, no;

	if (!unit_id_parse(unit, &id, &attempt, &no))
		return NULL;
	struct run *r = runs_find(t, id.s);
	return r && r->attempt == attempt ? run_unit(r, no) : NULL;
}
