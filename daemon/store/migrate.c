// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Applies the embedded migrations, blocking: called by `taktd --migrate`, by the parent before it
 * starts the roles (auto_migrate) and by takt dev, as takt_owner.
 *
 * One session lock makes concurrent callers wait for each other; each migration and its row in
 * takt.schema_version are one transaction, so that an interrupted one leaves nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "base/log.h"

#include "daemon/store/store_priv.h"

#include "base/banned.h"

static void
cleanup_result(PGresult **res)
{
	PQclear(*res);
}
#define _cleanup_result_ _cleanup_(cleanup_result)

static void
cleanup_conn(PGconn **conn)
{
	PQfinish(*conn);
}
#define _cleanup_conn_ _cleanup_(cleanup_conn)

static int
failed(PGconn *conn, const PGresult *res, const char *what, struct err *e)
{
	char line[256];

	if (PQstatus(conn) == CONNECTION_BAD || !PQresultErrorField(res, PG_DIAG_SQLSTATE)) {
		store_first_line(PQerrorMessage(conn), line, sizeof(line));
		return err_set(e, ERR_TRANSIENT, "%s: %s", what, line);
	}
	store_error(res, e);
	return err_push(e, "%s", what);
}

/* Without parameters: the simple protocol, which takes a file of statements. */
static int
run(PGconn *conn, const char *sql, const char *what, struct err *e)
{
	_cleanup_result_ PGresult *res = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(res);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		return failed(conn, res, what, e);
	return 0;
}

static PGresult *
query(PGconn *conn, const char *sql, const char *what, struct err *e)
{
	PGresult *res = PQexec(conn, sql);

	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		return res;
	failed(conn, res, what, e);
	PQclear(res);
	return NULL;
}

static int
connect_owner(const char *conninfo, PGconn **out, struct err *e)
{
	const char *keys[] = {"dbname", "user", "application_name", "client_encoding",
	    "connect_timeout", "options", "target_session_attrs", NULL};
	const char *values[] = {conninfo, "takt_owner", "takt_migrate", "UTF8", "10",
	    "-c client_min_messages=warning -c timezone=UTC -c search_path=takt", "read-write",
	    NULL};
	PGconn *conn = PQconnectdbParams(keys, values, 1);
	char line[256];

	if (PQstatus(conn) == CONNECTION_OK) {
		*out = conn;
		return 0;
	}
	store_first_line(PQerrorMessage(conn), line, sizeof(line));
	PQfinish(conn);
	err_set(e, ERR_TRANSIENT, "%s", line);
	err_field(e, "db");
	return err_hint(e, "Start PostgreSQL, or correct `db` in the configuration.");
}

static int
last_known(void)
{
	int last = 0;

	for (const struct sql_migration *m = sql_migrations; m->number; m++)
		last = m->number;
	return last;
}

static int
applied_version(PGconn *conn, int *version, struct err *e)
{
	_cleanup_result_ PGresult *schema = NULL, *res = NULL;

	schema = query(conn,
	    "select to_regnamespace('takt') is not null as has_schema,"
	    " to_regclass('takt.schema_version') is not null as has_table",
	    "looking for the schema", e);
	if (!schema)
		return -(int)e->code;
	if (!store_bool(schema, 0, "has_schema")) {
		err_set(e, ERR_NOT_FOUND, "database '%s' has no schema takt", PQdb(conn));
		return err_hint(e, "Create it as sql/README.md says: create schema takt "
				   "authorization takt_owner.");
	}
	if (!store_bool(schema, 0, "has_table")) {
		*version = 0;
		return 0;
	}
	res = query(conn, "select coalesce(max(version), 0) as version from takt.schema_version",
	    "reading the version", e);
	if (!res)
		return -(int)e->code;
	*version = (int)store_int(res, 0, "version", 0);
	return 0;
}

static int
apply(PGconn *conn, const struct sql_migration *m, struct err *e)
{
	char what[120], number[16];
	const char *params[] = {number, m->name};
	PGresult *res;
	int rc;

	snprintf(what, sizeof(what), "migration %04d_%s", m->number, m->name);
	snprintf(number, sizeof(number), "%d", m->number);
	if ((rc = run(conn, "begin", what, e)) < 0 || (rc = run(conn, m->text, what, e)) < 0)
		return rc;
	res = PQexecParams(conn, "insert into takt.schema_version (version, name) values ($1, $2)",
	    2, NULL, params, NULL, NULL, 0);
	rc = PQresultStatus(res) == PGRES_COMMAND_OK ? 0 : failed(conn, res, what, e);
	PQclear(res);
	if (rc < 0 || (rc = run(conn, "commit", what, e)) < 0)
		return rc;
	log_info(LOG_STORE, "applied %s", what);
	return 0;
}

int
store_migrate(const char *conninfo, struct err *e)
{
	_cleanup_conn_ PGconn *conn = NULL;
	struct err mine = ERR_INIT;
	int rc, version = 0;

	if (!e)
		e = &mine;
	if ((rc = connect_owner(conninfo, &conn, e)) < 0 ||
	    (rc = run(conn, "select pg_advisory_lock(hashtextextended('takt.migrate', 0))",
		 "waiting for the lock", e)) < 0 ||
	    (rc = applied_version(conn, &version, e)) < 0)
		return rc;
	if (version > last_known()) {
		err_set(e, ERR_CONFLICT,
		    "the database has schema version %d, this program knows versions up to %d",
		    version, last_known());
		return err_hint(e,
		    "Install a Takt that knows version %d; going back is not supported.", version);
	}
	for (const struct sql_migration *m = sql_migrations; m->number; m++)
		if (m->number > version && (rc = apply(conn, m, e)) < 0)
			return rc;
	return run(conn,
	    "select takt.make_partitions((current_date - interval '1 month')::date, 6)",
	    "making partitions", e);
}
