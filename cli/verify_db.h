// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * The connection of `takt verify`: straight to PostgreSQL as takt_auditor, one read-only snapshot.
 * Used by verify.c only.
 */
#pragma once

#include <libpq-fe.h>

#include "base/err.h"

#include "cli/cli.h"
#include "sql/sql.h"

/*
 * Connect and begin. db: a conninfo, or NULL: what the state directory's taktd.conf says, else the
 * system's. Refuses a schema that is not this program's and a role that does not see all rows.
 */
int verify_connect(PGconn **out, const struct cli *c, const char *db, struct err *e);
/* One statement; an error leaves the snapshot usable. Caller clears *out. */
int verify_query(
    PGconn *db, enum sql_id id, const char *const *values, PGresult **out, struct err *e);

static inline void
cleanup_pgconn(PGconn **p)
{
	PQfinish(*p);
}
static inline void
cleanup_pgresult(PGresult **p)
{
	PQclear(*p);
}
#define _cleanup_pgconn_ _cleanup_(cleanup_pgconn)
#define _cleanup_pgresult_ _cleanup_(cleanup_pgresult)
