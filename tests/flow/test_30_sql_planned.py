# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Every statement file is planned against the real schema by the role that sends it: names, types and permissions hold."""
import importlib.machinery
import importlib.util
import pathlib
import re
import sys

import psycopg
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from pg import Pg  # noqa: E402

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("embed_sql", str(ROOT / "tools/embed-sql"))
embed = importlib.util.module_from_spec(importlib.util.spec_from_loader("embed_sql", loader))
loader.exec_module(embed)
STATEMENTS = list(embed.statements(str(ROOT / "sql")))


def role_of(name):
    folder, file = name.split("/")
    # commandAnswer and loadCatalog wake the gateway's feed connection, which reads them itself.
    if file.startswith("feed") and folder == "api":
        return "takt_feed"
    return {"engine": "takt_engine", "api": "takt_gateway", "verify": "takt_auditor"}[folder]


@pytest.fixture(scope="module")
def connections():
    with Pg() as pg:
        pg.migrate()
        open_connections = {}
        for role in ("takt_engine", "takt_gateway", "takt_feed", "takt_auditor"):
            c = open_connections[role] = pg.connect(role)
            c.execute("set search_path = takt")  # as daemon/store connects
            c.execute("set plan_cache_mode = force_generic_plan")
            c.execute("set jit = off")
        yield open_connections
        for c in open_connections.values():
            c.close()


@pytest.mark.parametrize("name,text,n", [s[1:] for s in STATEMENTS], ids=[s[1] for s in STATEMENTS])
def test_planned(connections, name, text, n):
    c = connections[role_of(name)]
    try:
        with c.transaction(force_rollback=True):
            c.execute(f"prepare s as {text}")
            nulls = f"({', '.join(['null'] * n)})" if n else ""
            plan = "\n".join(row[0] for row in c.execute(f"explain execute s{nulls}"))
            c.execute("deallocate s")
    except psycopg.Error as e:
        pytest.fail(f"sql/{name}.sql as {role_of(name)}: {e}")
    assert plan


@pytest.mark.parametrize("name,text,n", [s[1:] for s in STATEMENTS], ids=[s[1] for s in STATEMENTS])
def test_parameters_are_numbered_without_gaps(name, text, n):
    used = {int(x) for x in re.findall(r"\$(\d+)", text)}
    assert used == set(range(1, n + 1)), f"sql/{name}.sql skips a parameter"


def test_there_are_statements_of_every_folder():
    assert {s[1].split("/")[0] for s in STATEMENTS} == {"engine", "api", "verify"}
