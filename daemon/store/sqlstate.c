// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* What PostgreSQL's SQLSTATEs mean to Takt. Called by store.c for each failed statement. */
#include "daemon/store/store_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/banned.h"

/* The longest prefix that fits comes first; TK is Takt's own class, raised by the schema's triggers. */
static const struct {
	const char *prefix;
	enum err_code code;
} sqlstates[] = {
    {"23505", ERR_CONFLICT},  /* unique_violation */
    {"23P01", ERR_CONFLICT},  /* exclusion_violation */
    {"25006", ERR_TRANSIENT}, /* read only: a standby, or a server that is being demoted */
    {"42501", ERR_DENIED}, {"55P03", ERR_TRANSIENT}, /* lock_timeout */
    {"P0002", ERR_NOT_FOUND},                        /* no_data_found */
    {"08", ERR_TRANSIENT},                           /* connection */
    {"40", ERR_TRANSIENT},                           /* serialization, deadlock */
    {"53", ERR_TRANSIENT},                           /* out of something: disk, connections */
    {"57", ERR_TRANSIENT},                           /* shutdown, statement_timeout */
    {"58", ERR_TRANSIENT},                           /* the server's I/O */
    {"TK", ERR_CONFLICT}, {"22", ERR_INVALID}, {"23", ERR_INVALID},
    {"P0", ERR_INVALID}, /* raise exception without a code of its own */
};

static enum err_code
code_of(const char *sqlstate)
{
	if (!sqlstate)
		return ERR_TRANSIENT; /* made by libpq itself: the connection */
	for (size_t i = 0; i < ARRAY_LEN(sqlstates); i++)
		if (!strncmp(sqlstate, sqlstates[i].prefix, strlen(sqlstates[i].prefix)))
			return sqlstates[i].code;
	return ERR_BUG; /* a statement of ours does not fit the schema */
}

void
store_first_line(const char *text, char *out, size_t n)
{
	snprintf(out, n, "%.*s", (int)strcspn(text, "\n"), text);
}

void
store_error(const PGresult *res, struct err *e)
{
	const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	char line[sizeof(e->message)];

	store_first_line(message ? message : PQresultErrorMessage(res), line, sizeof(line));
	err_set(e, code_of(sqlstate), "%s", line);
	err_field(e, "%s", sqlstate ? sqlstate : "");
	err_hint(e, "%s", hint ? hint : detail ? detail : "");
}
