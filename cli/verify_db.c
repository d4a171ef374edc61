// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Where the database is, and whether this connection sees the truth; see verify_db.h. */
#include "cli/verify_db.h"

#include <confuse.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"

#include "base/banned.h"

#define CONF_MAX 65536

/* Everything is read once, and nobody waits: hash and sort in memory, notice Ctrl-C. */
#define SETTINGS                                                                                  \
	"-c search_path=takt -c timezone=UTC -c jit=off -c work_mem=64MB -c statement_timeout=0 " \
	"-c client_connection_check_interval=1s -c plan_cache_mode=force_custom_plan"

static char *
conf_db(const char *path, struct err *e)
{
	_cleanup_buf_ struct buf text = {0};
	cfg_opt_t opts[] = {CFG_STR("db", NULL, CFGF_NODEFAULT), CFG_END()};
	char *db = NULL;
	cfg_t *cfg;

	if (io_read_file(path, CONF_MAX, &text, e) < 0)
		return NULL;
	cfg = cfg_init(opts, CFGF_IGNORE_UNKNOWN);
	if (cfg && cfg_parse_buf(cfg, text.p) == CFG_SUCCESS && cfg_getstr(cfg, "db"))
		db = xstrdup(cfg_getstr(cfg, "db"));
	else
		err_set(e, ERR_INVALID, "%s does not say where the database is", path);
	cfg_free(cfg);
	return db;
}

static char *
default_db(const struct cli *c, struct err *e)
{
	_cleanup_free_ char *own = xasprintf("%s/taktd.conf", c->state);
	const char *paths[] = {own, TAKT_SYSCONFDIR "/takt/taktd.conf"};

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (access(paths[i], F_OK) < 0)
			continue;
		char *db = conf_db(paths[i], e);
		if (!db)
			err_hint(e, "Give --db, such as --db 'host=/run/postgresql dbname=takt'.");
		return db;
	}
	err_set(
	    e, ERR_NOT_FOUND, "no database is known: neither %s nor %s is there", own, paths[1]);
	err_hint(e, "Give --db, such as --db 'host=/run/postgresql dbname=takt', or --state.");
	return NULL;
}

/* What --db says, without what does not belong into arguments that everybody can read. */
static int
check_conninfo(const char *db, struct err *e)
{
	char *problem = NULL;
	PQconninfoOption *options = PQconninfoParse(db, &problem);
	bool has_password = false;

	if (!options) {
		err_set(e, ERR_INVALID, "%.*s", problem ? (int)strcspn(problem, "\n") : 20,
		    problem ? problem : "no connection string");
		PQfreemem(problem);
		err_field(e, "--db");
		return err_hint(e, "Give something like 'host=/run/postgresql dbname=takt'.");
	}
	for (PQconninfoOption *o = options; o->keyword; o++)
		has_password |= strcmp(o->keyword, "password") == 0 && o->val && *o->val;
	PQconninfoFree(options);
	if (!has_password)
		return 0;
	err_set(e, ERR_INVALID, "it holds a password, and arguments can be read by everybody");
	err_field(e, "--db");
	return err_hint(e, "Put the password into ~/.pgpass.");
}

static int
tell_error(PGconn *db, const PGresult *r, struct err *e)
{
	const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *text = primary ? primary : PQerrorMessage(db);

	err_set(e, ERR_TRANSIENT, "%.*s", (int)strcspn(text, "\n"), text);
	if (state && strcmp(state, "42501") == 0)
		return err_hint(e, "Connect as takt_auditor, which may read everything.");
	return -(int)e->code;
}

static int
command(PGconn *db, const char *text, struct err *e)
{
	_cleanup_pgresult_ PGresult *r = PQexec(db, text);

	return PQresultStatus(r) == PGRES_COMMAND_OK ? 0 : tell_error(db, r, e);
}

int
verify_query(PGconn *db, enum sql_id id, const char *const *values, PGresult **out, struct err *e)
{
	const struct sql_statement *s = &sql_statements[id];
	PGresult *r;

	if (command(db, "savepoint statement", e) < 0)
		return -(int)e->code;
	r = PQexecParams(db, s->text, s->n_params, NULL, values, NULL, NULL, 0);
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		tell_error(db, r, e);
		PQclear(r);
		command(db, "rollback to savepoint statement", NULL);
		return -(int)e->code;
	}
	*out = r;
	return 0;
}

static int
check_schema(PGconn *db, struct err *e)
{
	_cleanup_pgresult_ PGresult *r = NULL;
	int ours = 0, theirs;

	for (const struct sql_migration *m = sql_migrations; m->number; m++)
		ours = m->number;
	if (verify_query(db, SQL_VERIFY_ABOUT, NULL, &r, e) < 0) {
		err_push(e, "no schema of Takt that we can read");
		return e->hint[0] ? -(int)e->code
				  : err_hint(e, "Give the database that taktd uses.");
	}
	theirs = (int)strtol(PQgetvalue(r, 0, 0), NULL, 10);
	if (theirs != ours) {
		err_set(e, ERR_CONFLICT, "the schema is version %d, this program needs %d", theirs,
		    ours);
		return err_hint(e, theirs < ours ? "Let this version's taktd migrate it (taktd "
						   "--migrate), or verify it with its own takt."
						 : "Use the takt that belongs to the newer taktd.");
	}
	if (strcmp(PQgetvalue(r, 0, 2), "t") == 0)
		return 0;
	err_set(e, ERR_DENIED, "the role %s does not see all rows", PQgetvalue(r, 0, 1));
	return err_hint(e, "Connect as takt_auditor: leave user= out of --db.");
}

int
verify_connect(PGconn **out, const struct cli *c, const char *db, struct err *e)
{
	_cleanup_free_ char *found = NULL;
	_cleanup_pgconn_ PGconn *conn = NULL;

	if (db ? check_conninfo(db, e) < 0 : !(db = found = default_db(c, e)))
		return -(int)e->code;
	/* Later ones win: the role is a default, the settings are not. */
	const char *const keys[] = {
	    "user", "connect_timeout", "dbname", "options", "application_name", NULL};
	const char *const values[] = {"takt_auditor", "10", db, SETTINGS, "takt verify", NULL};
	conn = PQconnectdbParams(keys, values, 1);
	if (PQstatus(conn) != CONNECTION_OK) {
		tell_error(conn, NULL, e);
		err_push(e, "no connection to the database");
		return err_hint(e, "Is it running, and may this user be takt_auditor in "
				   "pg_hba.conf and pg_ident.conf?");
	}
	if (command(conn, "begin isolation level repeatable read read only", e) < 0 ||
	    check_schema(conn, e) < 0)
		return -(int)e->code;
	*out = take_ptr(&conn);
	return 0;
}
