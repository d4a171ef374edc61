// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * Roles, database and schema on a new server, then the organisation `default` and the token that
 * client.json holds; see dev_priv.h. Says exactly what is missing when it may not make it.
 */
#include "cli/dev_priv.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#include "base/banned.h"

static const char *const roles[] = {
    "takt_owner", "takt_engine", "takt_gateway", "takt_feed", "takt_auditor"};

static void
add_pair(struct buf *b, const char *key, const char *value)
{
	buf_addf(b, "%s%s='", b->n ? " " : "", key);
	for (; *value; value++)
		buf_addf(b, "%s%c", *value == '\'' || *value == '\\' ? "\\" : "", *value);
	buf_addc(b, '\'');
}

char *
dev_db_conninfo(const char *db, const char *dbname, const char *user, struct err *e)
{
	char *problem = NULL;
	PQconninfoOption *o = PQconninfoParse(db, &problem);
	_cleanup_buf_ struct buf b = {0};
	bool has_db = dbname != NULL;

	if (!o) {
		err_set(e, ERR_INVALID, "%s", problem ? problem : "not a connection string");
		err_field(e, "--db");
		err_hint(e, "Give something like 'host=/run/postgresql dbname=takt'.");
		PQfreemem(problem);
		return NULL;
	}
	for (PQconninfoOption *p = o; p->keyword; p++) {
		if (!p->val || strcmp(p->keyword, "password") == 0)
			continue;
		if (strcmp(p->keyword, "user") == 0 && (!user || *user))
			continue;
		if (strcmp(p->keyword, "dbname") == 0 && dbname)
			continue;
		has_db |= strcmp(p->keyword, "dbname") == 0;
		add_pair(&b, p->keyword, p->val);
	}
	if (dbname)
		add_pair(&b, "dbname", dbname);
	else if (!has_db)
		add_pair(&b, "dbname", "takt");
	if (user && *user)
		add_pair(&b, "user", user);
	PQconninfoFree(o);
	return buf_take(&b);
}

static int
connect_as(PGconn **out, const char *conninfo, struct err *e)
{
	_cleanup_free_ char *limited = xasprintf("connect_timeout=10 %s", conninfo);
	PGconn *c = PQconnectdb(limited);

	if (PQstatus(c) != CONNECTION_OK) {
		const char *m = PQerrorMessage(c);

		err_set(e, ERR_TRANSIENT, "%.*s", (int)strcspn(m, "\n"), m);
		PQfinish(c);
		return -ERR_TRANSIENT;
	}
	*out = c;
	return 0;
}

/* One statement; rows may be NULL. */
static int
run(PGconn *c, const char *sql, int n, const char *const *values, int *rows, struct err *e)
{
	PGresult *r = PQexecParams(c, sql, n, NULL, values, NULL, NULL, 0);
	ExecStatusType s = PQresultStatus(r);
	int rc = 0;

	if (s == PGRES_TUPLES_OK || s == PGRES_COMMAND_OK) {
		if (rows)
			*rows = PQntuples(r);
	} else {
		rc = err_set(e, ERR_DENIED, "%s",
		    PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY)
			? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY)
			: PQerrorMessage(c));
	}
	PQclear(r);
	return rc;
}

/* Run `create` unless `exists` finds the name; what may not be made goes to *missing. */
static int
ensure(PGconn *c, const char *exists, const char *name, const char *create, struct buf *missing,
    struct err *e)
{
	int rows = 0;

	if (run(c, exists, 1, &name, &rows, e) < 0)
		return -(int)e->code;
	if (rows)
		return 0;
	if (run(c, create, 0, NULL, NULL, e) < 0)
		buf_addf(missing, "  %s;\n", create);
	return 0;
}

static int
tell_missing(const struct buf *missing, const char *where, struct err *e)
{
	if (!missing->n)
		return 0;
	fprintf(stderr,
	    "takt dev: we may not make this ourselves; have an administrator run in "
	    "%s:\n%s",
	    where, missing->p);
	err_set(e, ERR_DENIED, "the server lacks what is listed above");
	err_field(e, "--db");
	return err_hint(e, "Run the statements and start again.");
}

static int
ensure_roles(PGconn *c, const char *dbname, struct err *e)
{
	_cleanup_buf_ struct buf missing = {0};
	_cleanup_free_ char *create_db = NULL;
	char *quoted = PQescapeIdentifier(c, dbname, strlen(dbname));

	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		_cleanup_free_ char *create = xasprintf("create role %s login", roles[i]);

		if (ensure(c, "select 1 from pg_roles where rolname = $1", roles[i], create,
			&missing, e) < 0)
			return -(int)e->code;
	}
	create_db = xasprintf("create database %s owner takt_owner", quoted);
	PQfreemem(quoted);
	if (ensure(c, "select 1 from pg_database where datname = $1", dbname, create_db, &missing,
		e) < 0)
		return -(int)e->code;
	return tell_missing(&missing, "any database of the server", e);
}

static int
ensure_schema(PGconn *c, struct err *e)
{
	_cleanup_buf_ struct buf missing = {0};

	if (ensure(c, "select 1 from pg_namespace where nspname = $1", "takt",
		"create schema takt authorization takt_owner", &missing, e) < 0)
		return -(int)e->code;
	return tell_missing(&missing, "Takt's database", e);
}

/* Each program connects as a role of its own: say which cannot. */
static int
check_roles(const struct dev *d, struct err *e)
{
	for (size_t i = 0; i + 1 < ARRAY_LEN(roles); i++) {
		_cleanup_free_ char *s = dev_db_conninfo(d->conninfo, NULL, roles[i], e);
		PGconn *c;

		if (connect_as(&c, s, e) < 0) {
			err_push(e, "connecting as %s", roles[i]);
			return err_hint(e,
			    "Let this user be %s in pg_hba.conf and pg_ident.conf "
			    "(peer authentication with a map).",
			    roles[i]);
		}
		PQfinish(c);
	}
	return 0;
}

static char *
database_name(const char *conninfo)
{
	PQconninfoOption *o = PQconninfoParse(conninfo, NULL);
	char *name = NULL;

	for (PQconninfoOption *p = o; p && p->keyword; p++)
		if (strcmp(p->keyword, "dbname") == 0 && p->val)
			name = xstrdup(p->val);
	PQconninfoFree(o);
	return name ? name : xstrdup("takt");
}

int
dev_db_prepare(struct dev *d, struct err *e)
{
	const char *user = d->db ? "" : "postgres"; /* "": as --db says */
	_cleanup_free_ char *admin = NULL, *target = NULL, *name = NULL;
	PGconn *c;
	int rc;

	if (d->db && !(d->conninfo = dev_db_conninfo(d->db, NULL, NULL, e)))
		return -(int)e->code;
	admin = dev_db_conninfo(d->db ? d->db : d->conninfo, "postgres", user, e);
	target = dev_db_conninfo(d->db ? d->db : d->conninfo, NULL, user, e);
	if (!admin || !target)
		return -(int)e->code;
	name = database_name(d->conninfo);
	if (connect_as(&c, admin, e) < 0)
		return err_field(e, "%s", d->db ? "--db" : "postgres");
	rc = ensure_roles(c, name, e);
	PQfinish(c);
	if (rc < 0)
		return rc;
	if (connect_as(&c, target, e) < 0)
		return err_field(e, "%s", d->db ? "--db" : "postgres");
	rc = ensure_schema(c, e);
	PQfinish(c);
	return rc < 0 ? rc : check_roles(d, e);
}

static void
hash_hex(const char *token, char out[65])
{
	unsigned char h[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(h, (const unsigned char *)token, strlen(token));
	sodium_bin2hex(out, 65, h, sizeof(h));
}

static char *
new_token(void)
{
	unsigned char raw[32];
	char text[64];

	randombytes_buf(raw, sizeof(raw));
	sodium_bin2base64(
	    text, sizeof(text), raw, sizeof(raw), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	return xasprintf("takt_%s", text);
}

static const char sql_org[] =
    "insert into takt.org (name) values ('default') on conflict (name) do nothing";
static const char sql_alive[] =
    "select 1 from takt.token where hash = decode($1, 'hex') and role = 'admin'"
    " and revoked_at is null and (expires_at is null or expires_at > now())";
static const char sql_token[] =
    "with t as (insert into takt.token (org_id, name, actor, role, hash)"
    " select id, 'takt dev ' || to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US'), 'admin',"
    " 'admin', decode($1, 'hex') from takt.org where name = 'default' returning *)"
    " select takt.audit_add(t.org_id, 'takt dev', 'token.create', 'token', t.id::text,"
    " jsonb_build_object('name', t.name, 'role', t.role)) from t";

int
dev_db_token(struct dev *d, struct err *e)
{
	_cleanup_free_ char *owner = dev_db_conninfo(d->conninfo, NULL, "takt_owner", e);
	const char *values[1];
	char hex[65];
	PGconn *c;
	int rows = 0, rc;

	if (sodium_init() < 0)
		return err_set(e, ERR_SYSTEM, "libsodium does not start");
	if (!owner || connect_as(&c, owner, e) < 0)
		return -(int)e->code;
	rc = run(c, sql_org, 0, NULL, NULL, e);
	d->token = dev_old_token(d);
	values[0] = hex;
	if (!rc && d->token) {
		hash_hex(d->token, hex);
		rc = run(c, sql_alive, 1, values, &rows, e);
	}
	if (!rc && !rows) {
		free(d->token);
		d->token = new_token();
		hash_hex(d->token, hex);
		rc = run(c, sql_token, 1, values, NULL, e);
	}
	PQfinish(c);
	return rc;
}
