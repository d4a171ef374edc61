# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Who may do what: every operation of the contract with every role, and with another organisation's token."""
import pathlib
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from gateway import Rig, uuid7  # noqa: E402
from pg import SOURCE  # noqa: E402

RANK = {"none": 0, "viewer": 1, "operator": 2, "admin": 3}
CONTRACT = yaml.safe_load((SOURCE / "openapi.yaml").read_text(encoding="utf-8"))


def resolve(node):
    if isinstance(node, dict) and "$ref" in node:
        target = CONTRACT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return resolve(target)
    return node


def operations():
    for path, item in CONTRACT["paths"].items():
        for method in ("get", "post", "put", "patch", "delete"):
            if method in item:
                op = item[method]
                body = resolve(op.get("requestBody", {})).get("content", {}).get("application/json", {})
                yield pytest.param(method.upper(), path, op["x-takt-role"], body.get("example", {} if body else None),
                                   id=op["operationId"])


# Bodies that pass the contract where it has no example.
BODIES = {"/devices/{id}": {"port": 2022}, "/groups/{id}": {"name": "renamed"}, "/credentials/{id}": {"name": "renamed"},
          "/tokens": {"name": "made", "role": "viewer"}}
OBJECTS = {"/schedules": "schedule", "/calendars": "calendar", "/tasks": "task", "/runs": "run", "/devices": "device", "/groups": "group", "/credentials": "credential",
           "/tokens": "token", "/snapshots": "snapshot"}


class Objects(dict):
    """One object of each kind in an organisation."""

    def __init__(self, rig, org):
        admin = rig.token("admin", org)
        self["task"] = rig.task("mine", org)
        self["run"] = rig.engine.run(self["task"])
        self["credential"] = self._made(rig.post("/credentials", admin, {"name": "c", "username": "u", "password": "p"}))
        self["device"] = self._made(rig.post("/devices", admin, {"name": "d", "address": "192.0.2.1", "platform": "frr"}))
        self["group"] = self._made(rig.post("/groups", admin, {"name": "g", "devices": ["d"]}))
        self["token"] = self._made(rig.post("/tokens", admin, {"name": "t", "role": "viewer"}))
        self["schedule"], self["calendar"] = f"shared-of-{org}", f"days-of-{org}"
        self._made(rig.post("/schedules", admin, {"name": self["schedule"], "schedule": {"cron": "0 2 * * *"}}), "name")
        self._made(rig.request("PUT", f"/calendars/{self['calendar']}", admin, json={"days": [{"date": "2027-01-01"}]}), "name")
        self["snapshot"] = f"snap-20261122-020000-{org}"
        with rig.engine.lock:
            rig.engine.c.execute("insert into takt.snapshot values (%s, %s, %s, 'd', %s, 1, 0, now(), '', 1, 'k', 'h', 's', 'n')",
                                 (self["snapshot"], rig.orgs[org], self["device"], self["run"]))
            rig.engine.c.execute("insert into takt.host_key values (%s, %s, 'ssh-ed25519', 'AAAA', 'SHA256:x', now(), 'x')",
                                 (self["device"], rig.orgs[org]))
            rig.engine.c.commit()

    @staticmethod
    def _made(r, key="id"):
        assert r.status_code == 201, r.text
        return r.json()[key]

    def path(self, template):
        kind = next((v for k, v in OBJECTS.items() if template.startswith(k + "/")), None)
        if kind in ("schedule", "calendar"):
            return template.replace("{name}", self[kind]).replace("{date}", "2027-01-01")
        return template.replace("{id}", self[kind]).replace("{device_id}", self["device"]) if kind else template


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        r.engine.seal_key(b"\x09" + b"\0" * 31)
        r.org("other")
        r.engine.start_answering()
        r.default = Objects(r, "default")
        r.other = Objects(r, "other")
        yield r


def call(rig, method, path, token, body):
    return rig.request(method, path, token, headers={"If-Match": "*"}, **({} if body is None else {"json": body}))


def counts(rig):
    """Rows of everything that an operation can change."""
    return [rig.pg.sql(f"select count(*), md5(string_agg(t::text, '' order by t::text)) from takt.{t} t")[0]
            for t in ("task", "task_revision", "schedule", "device", "device_group", "group_member", "credential", "token",
                      "host_key", "command", "audit", "run", "shared_schedule", "schedule_calendar", "calendar", "calendar_day")]


@pytest.mark.parametrize("method,path,role,body", operations())
def test_too_small_a_role_changes_nothing(rig, method, path, role, body):
    path_, body = rig.default.path(path), BODIES.get(path, body) if method not in ("GET", "DELETE") else None
    before = counts(rig)
    for who, rank in RANK.items():
        if rank >= RANK[role]:
            continue
        r = call(rig, method, path_, None if who == "none" else rig.token(who), body)
        assert r.status_code == (401 if who == "none" else 403), (who, r.status_code, r.text)
        assert r.headers["Content-Type"] == "application/problem+json"
    bad = call(rig, method, path_, "takt_" + "A" * 43, body)
    assert (bad.status_code == 401) == (role != "none")
    assert counts(rig) == before


@pytest.mark.parametrize("method,path,role,body", [p for p in operations() if p.values[2] != "none"])
def test_who_may_not_learns_nothing_of_what_is_wrong(rig, method, path, role, body):
    """Role first: a request that breaks the contract is told so only to those who might have sent a right one."""
    for who, rank in RANK.items():
        r = rig.request(method, rig.default.path(path) + "?nonsense=1", None if who == "none" else rig.token(who),
                        **({} if body is None else {"json": []}))
        assert r.status_code == (401 if who == "none" else 403 if rank < RANK[role] else 400), (who, r.text)


def test_stranger_does_not_learn_task_types(rig):
    r = rig.post("/tasks", "takt_" + "B" * 43, {"name": "x", "task_type": "none_such"})
    assert r.status_code == 401 and "hello" not in r.text
    r = rig.post("/tasks", rig.token("viewer"), {"name": "x", "task_type": "none_such"})
    assert r.status_code == 403 and "hello" not in r.text
    assert "hello" in rig.post("/tasks", rig.token("admin"), {"name": "x", "task_type": "none_such"}).text


@pytest.mark.parametrize("method,path,role,body", [p for p in operations() if p.values[2] != "none"])
def test_another_organisation_sees_and_changes_nothing(rig, method, path, role, body):
    path_, body = rig.default.path(path), BODIES.get(path, body) if method not in ("GET", "DELETE") else None
    if (path_ == path or path == "/calendars/{name}" and method == "PUT") and method != "GET":
        return  # makes something new in the caller's own organisation
    before = counts(rig)
    r = call(rig, method, path_, rig.token("admin", "other"), body)
    mine = [v for v in rig.default.values()] + [rig.orgs["default"], "default-admin"]
    if path_ == path:
        assert r.status_code == 200
    elif path == "/tasks/{id}/runs":
        assert r.status_code == 200 and r.json()["items"] == []
    else:
        assert r.status_code == 404, r.text
        mine = [v for v in mine if v not in path_]
    assert not any(v in r.text for v in mine), r.text
    assert counts(rig) == before


def test_filters_do_not_reach_over(rig):
    admin = rig.token("admin", "other")
    d = rig.default
    for path in (f"/runs?task={d['task']}", f"/runs?device={d['device']}", f"/devices?group={d['group']}",
                 f"/snapshots?device={d['device']}", f"/snapshots?run={d['run']}"):
        assert rig.get(path, admin).json()["items"] == [], path


def test_references_do_not_reach_over(rig):
    admin = rig.token("admin", "other")
    d = rig.default
    r = rig.post("/devices", admin, {"name": "x", "address": "a", "platform": "frr", "credential_id": d["credential"]})
    assert r.status_code == 422
    assert rig.post("/groups", admin, {"name": "x", "devices": [d["device"]]}).status_code == 422
    assert call(rig, "PUT", f"/groups/{rig.other['group']}/members/{d['device']}", admin, None).status_code == 404
    r = rig.post("/tasks", admin, {"name": "x", "task_type": "backup",
                                   "parameters": {"target_type": "device", "target_id": d["device"]}})
    assert r.status_code == 201 and r.json()["warnings"], "another organisation's device must look like none"
    for name in ("task", "device", "group", "credential"):
        r = rig.post({"task": "/tasks", "device": "/devices", "group": "/groups", "credential": "/credentials"}[name], admin,
                     {"task": {"name": "n", "task_type": "hello"}, "device": {"name": "n", "address": "a", "platform": "frr"},
                      "group": {"name": "n"}, "credential": {"name": "n", "username": "u"}}[name] | {"id": d[name]})
        assert r.status_code == 409 and "mine" not in r.text


def test_idempotency_keys_are_per_organisation(rig):
    key = {"Idempotency-Key": "the same"}
    a = rig.post(f"/tasks/{rig.default['task']}/run", rig.token("admin"), headers=key)
    b = rig.post(f"/tasks/{rig.other['task']}/run", rig.token("admin", "other"), headers=key)
    assert a.status_code == b.status_code == 201 and a.json()["id"] != b.json()["id"]


@pytest.mark.parametrize("method,path,role,body", [p for p in operations() if p.values[0] == "GET"])
def test_reading_is_allowed_and_never_fails(rig, method, path, role, body):
    r = call(rig, method, rig.default.path(path), rig.token("admin"), body)
    assert r.status_code == 200 or path == "/snapshots/{id}/content", r.text  # that one has no real body here


def test_expired_and_revoked_tokens(rig):
    rig.org("third")
    token = rig.token("viewer", "third")
    assert rig.get("/whoami", token).status_code == 200
    rig.pg.sql("update takt.token set expires_at = now() where actor = 'third-viewer'")
    assert rig.get("/whoami", token).status_code == 401
    token = rig.token("admin", "third")
    rig.pg.sql("update takt.token set revoked_at = now() where actor = 'third-admin'")
    assert rig.get("/tasks", token).status_code == 401
    assert rig.get(f"/tasks/{uuid7()}", token).status_code == 401
