# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A private scratch PostgreSQL cluster for the flow tests.

    with Pg() as pg:                 # initdb, start, roles, database and schema takt
        pg.migrate()                 # apply sql/migrations with Takt's own migrator
        pg.sql("select 1", role="takt_engine")
        pg.kill9(); pg.start()

Unix socket only, in a short directory of its own. Started as root the server runs as `postgres`,
else as the caller. Authentication is `peer` with a map, as in production: root and the server's
user may be any role, `nobody` only the gateway's two. It dies with the process that made it.
"""
import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg

ROLES = ("takt_owner", "takt_engine", "takt_gateway", "takt_feed", "takt_auditor")
BUILD = pathlib.Path(os.environ.get("TAKT_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
SOURCE = pathlib.Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def bindir():
    """Where initdb and postgres are."""
    try:
        found = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        found = ""
    if found and os.path.exists(f"{found}/initdb"):
        return found
    return sorted(str(p) for p in pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]


def wait_until(condition, limit_s=30, what="condition"):
    """Poll until condition() is true; returns its value."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s} s for {what}")
        time.sleep(0.02)


class Pg:
    def __init__(self, durable=False, settings=None, dbname="takt", env=None):
        """env: more environment of the server."""
        self.env = {**os.environ, **env} if env else None
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.dbname = dbname
        self.bindir = bindir()
        self.root = tempfile.mkdtemp(prefix="tpg-", dir="/tmp")
        self.host = self.root  # the socket's directory
        self.data = f"{self.root}/data"
        self.log = f"{self.root}/log"
        self.process = None
        os.chmod(self.root, 0o755)
        if os.geteuid() == 0:
            shutil.chown(self.root, "postgres", "postgres")
        try:
            self._initdb(durable, settings or {})
            self.start()
            self._make_database()
        except BaseException:
            self.close()
            raise

    @property
    def conninfo(self):
        """As taktd.conf's `db`: without a user."""
        return f"host={self.host} dbname={self.dbname}"

    def dsn(self, role):
        return f"{self.conninfo} user={role}"

    def connect(self, role="postgres", **kw):
        kw.setdefault("autocommit", True)
        return psycopg.connect(self.dsn(role), **kw)

    def sql(self, text, params=None, role="postgres"):
        """Run one statement in a connection of its own; rows, or None."""
        with self.connect(role) as c:
            cursor = c.execute(text, params)
            return cursor.fetchall() if cursor.description else None

    def _as_server(self):
        return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

    def _initdb(self, durable, settings):
        subprocess.run([f"{self.bindir}/initdb", "-D", self.data, "-U", "postgres", "-A", "peer", "-E", "UTF8",
                        "--locale=C.UTF-8", "--no-sync", "--no-instructions"], check=True, stdout=subprocess.DEVNULL,
                       cwd="/", **self._as_server())
        values = {"listen_addresses": "", "unix_socket_directories": self.root, "max_connections": "60",
                  "shared_buffers": "64MB", "fsync": "on" if durable else "off", "log_min_messages": "warning",
                  "client_connection_check_interval": "1s", "max_wal_size": "256MB", **settings}
        with open(f"{self.data}/postgresql.conf", "a", encoding="utf-8") as f:
            f.writelines(f"{k} = '{v}'\n" for k, v in values.items())
        with open(f"{self.data}/pg_hba.conf", "w", encoding="utf-8") as f:
            f.write("local all all peer map=takt\n")
        with open(f"{self.data}/pg_ident.conf", "w", encoding="utf-8") as f:
            for os_user in {self.user, pwd.getpwuid(os.geteuid()).pw_name}:
                f.writelines(f"takt {os_user} {role}\n" for role in ("postgres", *ROLES))
            f.write("takt nobody takt_gateway\ntakt nobody takt_feed\n")

    def _make_database(self):
        with self.connect_to("postgres") as c:
            for role in ROLES:
                c.execute(f"create role {role} login")
            c.execute(f"create database {self.dbname} owner takt_owner")
        with self.connect() as c:
            c.execute("create schema takt authorization takt_owner")
            c.execute(f"revoke all on database {self.dbname} from public")
            c.execute(f"grant connect on database {self.dbname} to {', '.join(ROLES)}")
            c.execute("revoke all on schema public from public")

    def connect_to(self, dbname, role="postgres"):
        return psycopg.connect(f"host={self.host} dbname={dbname} user={role}", autocommit=True)

    def start(self):
        """Start and wait until it answers. After a kill -9 the dead server's children may take a moment."""
        end = time.monotonic() + 60
        while True:
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    [f"{self.bindir}/postgres", "-D", self.data], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                    cwd="/", start_new_session=True, env=self.env,
                    preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT), **self._as_server())
            while self.process.poll() is None:
                try:
                    self.connect_to("postgres").close()
                    return self
                except psycopg.OperationalError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.05)
            if time.monotonic() > end:
                raise RuntimeError("PostgreSQL does not start:\n" + open(self.log, encoding="utf-8").read()[-2000:])
            time.sleep(0.1)

    def _end(self, sig):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(60)
        self.process = None

    def stop(self):
        """An orderly stop: clients are thrown out, a checkpoint is made."""
        self._end(signal.SIGINT)

    def kill9(self):
        """The postmaster dies at once; its children notice by themselves."""
        self._end(signal.SIGKILL)

    def restart(self):
        self.stop()
        return self.start()

    def migrate(self):
        """Takt's own migrator, through tests/lib/migrate."""
        subprocess.run([str(BUILD / "tests/lib/migrate"), self.conninfo], check=True)
        return self

    def close(self):
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
