# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Every operation of the contract with good and with bad input."""
import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import threading
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from gateway import Rig, uuid7  # noqa: E402
from pg import BUILD, wait_until  # noqa: E402

# As people submit them (spacing and order matter: the bytes come back unchanged).
NIGHTLY = b"""{
  "name": "Nightly Core Router Backup",
  "task_type": "backup",
  "cron_expression": "0 2 * * *",
  "timezone": "America/New_York",
  "enabled": true,
  "max_retries": 3,
  "retry_delay_seconds": 60,
  "timeout_seconds": 600,
  "parameters": {
    "type": "backup",
    "target_type": "device_group",
    "target_id": "a1b2c3d4-5678-9abc-def0-123456789abc",
    "destination": "config-snapshots/core-routers"
  }
}
"""
OTHERS = {
    "health_check": {"type": "health_check", "credential_id": "b2c3d4e5-6789-abcd-ef01-234567890bcd",
                     "checks": ["ping", "ssh", "snmp_sysname"]},
    "deployment": {"type": "deployment", "stack_instance_id": "c3d4e5f6-7890-bcde-f012-345678901cde"},
    "agent_task": {"type": "agent_task", "prompt": "Summarize the current health of all BGP peers."},
}


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        r.engine.start_answering()
        yield r


@pytest.fixture(scope="module")
def admin(rig):
    return rig.token("admin")


def audit(rig):
    return [(a, o) for a, o in rig.pg.sql("select action, object_id from takt.audit order by seq")]


def send(rig, method, path, data, **headers):
    return rig.request(method, path, rig.token("admin"), data=data,
                       headers={"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}})


# Tasks --------------------------------------------------------------------------------------------

def test_nightly_backup_unchanged(rig, admin):
    r = send(rig, "POST", "/tasks", NIGHTLY)
    assert r.status_code == 201, r.text
    task = r.json()
    assert task["revision"] == 1 and r.headers["ETag"] == '"1"'
    assert task["target"] == {"type": "device_group", "id": "a1b2c3d4-5678-9abc-def0-123456789abc"}
    assert "type" not in task["parameters"] and task["parameters"]["destination"] == "config-snapshots/core-routers"
    assert [w["pointer"] for w in task["warnings"]] == ["/parameters/target_id"]
    assert task["next_run_at"][11:16] in ("06:00", "07:00")
    got = rig.get(f"/tasks/{task['id']}/source", admin)
    assert got.content == NIGHTLY and got.headers["Content-Type"] == "application/json"
    assert rig.pg.sql("select kind, expr, zone, enabled, next_due_at is not null from takt.schedule where id = %s",
                      (task["id"],)) == [("cron", "0 2 * * *", "America/New_York", True, True)]
    assert ("task.create", task["id"]) in audit(rig)
    again = send(rig, "POST", "/tasks", NIGHTLY)
    assert again.status_code == 409 and again.json()["errors"][0]["pointer"] == "/name"


@pytest.mark.parametrize("kind", OTHERS)
def test_types_without_a_plugin(rig, kind):
    for name in (kind, "".join(p.title() for p in kind.split("_"))):
        r = send(rig, "POST", "/tasks", json.dumps({"name": kind, "task_type": name, "cron_expression": "*/15 * * * *",
                                                    "timezone": "UTC", "parameters": OTHERS[kind]}))
        assert r.status_code == 422
        assert r.json()["errors"][0]["pointer"] == "/task_type"
        assert "no loaded plugin offers task type" in r.json()["detail"] and "backup, hello" in r.json()["errors"][0]["hint"]


def test_types_become_known_when_the_engine_says_so(rig):
    schema = {"type": "object", "additionalProperties": False, "required": ["prompt"],
              "properties": {"prompt": {"type": "string", "minLength": 1}}}
    rig.engine.plugins([{"id": "agent_task", "version": "1.0", "title": "", "summary": "", "targets": "none", "caps": [],
                         "params_schema": schema, "default_timeout_s": 300, "default_max_retries": 2,
                         "default_retry_delay_s": 60, "recovery": "fail"}], "agent.so")
    body = {"name": "Morning Network Health Summary", "task_type": "AgentTask", "cron_expression": "0 7 * * 1-5",
            "timezone": "America/Chicago", "parameters": OTHERS["agent_task"]}
    wait_until(lambda: rig.post("/tasks:check", rig.token("viewer"), body).status_code == 200, what="the new type")
    r = rig.post("/tasks", rig.token("operator"), body)
    assert r.status_code == 201 and r.json()["task_type"] == "agent_task" and r.json()["max_retries"] == 2
    rig.engine.plugins([], "agent.so")
    wait_until(lambda: rig.post("/tasks:check", rig.token("viewer"), body).status_code == 422, what="the type to go")
    # what is there stays readable, and can be stopped
    off = rig.post(f"/tasks/{r.json()['id']}/disable", rig.token("operator"))
    assert off.status_code == 200 and off.json()["enabled"] is False and off.json()["next_run_at"] is None


HELLO = {"name": "defaults", "task_type": "hello"}
BAD = [
    ({"bogus": 1}, "/bogus"),
    ({"name": ""}, "/name"),
    ({"name": "x" * 201}, "/name"),
    ({"name": None}, "/name"),
    ({"name": 5}, "/name"),
    ({"id": "not-a-uuid"}, "/id"),
    ({"task_type": ""}, "/task_type"),
    ({"cron_expression": "0 25 * * *"}, "/cron_expression"),
    ({"cron_expression": "0 0 0 0 * * *"}, "/cron_expression"),
    ({"cron_expression": ""}, "/cron_expression"),
    ({"cron_expression": "x" * 300}, "/cron_expression"),
    ({"timezone": "Mars/Olympus"}, "/timezone"),
    ({"timezone": "../../etc/passwd"}, "/timezone"),
    ({"enabled": "yes"}, "/enabled"),
    ({"max_retries": -1}, "/max_retries"),
    ({"max_retries": 101}, "/max_retries"),
    ({"max_retries": 1.5}, "/max_retries"),
    ({"retry_delay_seconds": 86401}, "/retry_delay_seconds"),
    ({"timeout_seconds": 0}, "/timeout_seconds"),
    ({"timeout_seconds": 604801}, "/timeout_seconds"),
    ({"dst_gap": "maybe"}, "/dst_gap"),
    ({"dst_fold": "third"}, "/dst_fold"),
    ({"overlap": "never"}, "/overlap"),
    ({"parameters": []}, "/parameters"),
    ({"parameters": {"type": "backup"}}, "/parameters/type"),
    ({"parameters": {"count": 0}}, "/parameters/count"),
    ({"parameters": {"wrong": 0}}, "/parameters/wrong"),
    ({"task_type": "backup"}, "/parameters/target_type"),
    ({"task_type": "backup", "parameters": {"target_type": "device", "target_id": "x"}}, "/parameters/target_id"),
    ({"task_type": "backup", "parameters": {"target_type": "all", "target_id": str(uuid.UUID(int=1))}}, "/parameters/target_type"),
]


@pytest.mark.parametrize("change,pointer", BAD)
def test_bad_definitions_name_the_field(rig, change, pointer):
    body = {"name": "bad", "task_type": "hello", **change}
    for path in ("/tasks", "/tasks:check"):
        r = rig.post(path, rig.token("admin"), body)
        assert r.status_code == 422, r.text
        error = r.json()["errors"][0]
        # a member that is missing is told at the object that lacks it
        assert error["pointer"] in (pointer, pointer.rsplit("/", 1)[0]), r.text
        assert error["detail"] and error.get("hint")


def test_defaults_and_reading(rig, admin):
    r = rig.post("/tasks", admin, HELLO)
    assert r.status_code == 201
    task = r.json()
    expected = {"description": "", "cron_expression": None, "timezone": "UTC", "enabled": True, "max_retries": 2,
                "retry_delay_seconds": 5, "timeout_seconds": 60, "dst_gap": "run_at_gap_end", "dst_fold": "first",
                "overlap": "queue", "parameters": {}, "target": None, "next_run_at": None, "warnings": []}
    assert {k: task[k] for k in expected} == expected
    got = rig.get(f"/tasks/{task['id']}", rig.token("viewer"))
    assert got.headers["ETag"] == '"1"'
    assert got.json() == {k: v for k, v in task.items() if k != "warnings"}
    assert rig.get(f"/tasks/{uuid7()}", admin).status_code == 404
    assert rig.get("/tasks/xyz", admin).status_code == 400
    assert rig.get("/tasks?name=defaults", admin).json()["items"][0]["id"] == task["id"]
    assert rig.get("/tasks?enabled=false&name=defaults", admin).json()["items"] == []
    for query in ("limit=0", "limit=501", "limit=x", "bogus=1", "limit=1&limit=2", "enabled=1", "limit", "=x"):
        assert rig.get(f"/tasks?{query}", admin).status_code == 400, query


def test_own_id(rig, admin):
    mine = "A1B2C3D4-5678-9ABC-DEF0-1234567890AA"
    r = rig.post("/tasks", admin, {**HELLO, "name": "own id", "id": mine})
    assert r.status_code == 201 and r.json()["id"] == mine.lower()
    r = rig.post("/tasks", admin, {**HELLO, "name": "own id 2", "id": mine})
    assert r.status_code == 409 and r.json()["errors"][0]["pointer"] == "/id"


def test_put_patch_if_match(rig, admin):
    task = rig.task("revised", cron_expression="0 2 * * *")
    body = json.dumps({"name": "revised", "task_type": "hello", "cron_expression": "0 3 * * *"})
    assert send(rig, "PUT", f"/tasks/{task}", body).status_code == 428
    assert send(rig, "PATCH", f"/tasks/{task}", '{"enabled":false}').status_code == 428
    assert send(rig, "PUT", f"/tasks/{task}", body, If_Match='"7"').status_code == 412
    r = send(rig, "PUT", f"/tasks/{task}", body, If_Match='"1"')
    assert r.status_code == 200 and r.headers["ETag"] == '"2"' and r.json()["next_run_at"][11:16] == "03:00"
    assert send(rig, "PUT", f"/tasks/{task}", body, If_Match='"1"').status_code == 412
    assert send(rig, "PUT", f"/tasks/{uuid7()}", body, If_Match="*").status_code == 404
    r = send(rig, "PATCH", f"/tasks/{task}", '{"cron_expression":null,"parameters":{"message":"hi"}}', If_Match="*")
    assert r.status_code == 200 and r.json()["revision"] == 3
    assert r.json()["cron_expression"] is None and r.json()["parameters"] == {"message": "hi"} and r.json()["next_run_at"] is None
    r = rig.request("PATCH", f"/tasks/{task}", admin, data='{"parameters":{"message":null,"count":2}}',
                    headers={"If-Match": '"3"', "Content-Type": "application/merge-patch+json"})
    assert r.status_code == 200 and r.json()["parameters"] == {"count": 2}
    for patch, pointer in (('{"bogus":1}', "/bogus"), ('{"max_retries":1000}', "/max_retries"), ('{"name":null}', ""),
                           ('{"id":"%s"}' % uuid7(), "/id"), ('{"parameters":{"count":99}}', "/parameters/count")):
        r = send(rig, "PATCH", f"/tasks/{task}", patch, If_Match="*")
        assert r.status_code == 422 and r.json()["errors"][0]["pointer"] in (pointer, "/name"), r.text
    assert rig.get(f"/tasks/{task}", admin).json()["revision"] == 4
    assert rig.get(f"/tasks/{task}/source?revision=2", admin).text == body
    assert rig.get(f"/tasks/{task}/source?revision=99", admin).status_code == 404
    assert json.loads(rig.get(f"/tasks/{task}/source", admin).text)["parameters"] == {"count": 2}
    assert [a for a, o in audit(rig) if o == task] == ["task.create"] + ["task.update"] * 3


def test_concurrent_patches_lose_nothing(rig, admin):
    task = rig.task("contended")
    results = []

    def patch(i):
        results.append(send(rig, "PATCH", f"/tasks/{task}", json.dumps({"description": str(i)}), If_Match='"1"').status_code)
    threads = [threading.Thread(target=patch, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    # a loser is told by 412, or by 409 if it had read the same revision
    assert results.count(200) == 1 and set(results) <= {200, 409, 412}
    assert rig.get(f"/tasks/{task}", admin).json()["revision"] == 2


def test_enable_disable_preview_check(rig, admin):
    task = rig.task("switched", cron_expression="30 1 * * *", timezone="Europe/Berlin")
    r = rig.post(f"/tasks/{task}/disable", rig.token("operator"))
    assert r.status_code == 200 and r.json()["enabled"] is False and r.json()["next_run_at"] is None
    assert rig.pg.sql("select enabled, next_due_at from takt.schedule where id = %s", (task,)) == [(False, None)]
    r = rig.post(f"/tasks/{task}/enable", rig.token("operator"))
    assert r.json()["enabled"] is True and r.json()["next_run_at"]
    assert rig.post(f"/tasks/{uuid7()}/enable", admin).status_code == 404
    r = rig.get(f"/tasks/{task}/preview?count=3", rig.token("viewer"))
    assert r.status_code == 200 and len(r.json()["next"]) == 3 and r.json()["timezone"] == "Europe/Berlin"
    assert all(t.split("T")[1].startswith("01:30:00") and t.split()[1] in ("CET", "CEST") for t in r.json()["local"])
    assert rig.get(f"/tasks/{task}/preview?count=101", admin).status_code == 400
    r = send(rig, "POST", "/tasks:check?count=2", NIGHTLY)
    assert r.status_code == 200 and len(r.json()["next"]) == 2 and r.json()["definition"]["task_type"] == "backup"
    assert r.json()["warnings"] and "source" not in r.json()
    never = rig.post("/tasks:check", admin, {"name": "n", "task_type": "hello", "cron_expression": "0 0 30 2 *"})
    assert never.status_code == 422 or never.json()["next"] == []


def test_delete(rig, admin):
    task = rig.task("deleted")
    run = rig.engine.run(task)
    r = rig.request("DELETE", f"/tasks/{task}", admin)
    assert r.status_code == 409 and run in r.json()["detail"]
    rig.engine.finish(run)
    assert rig.request("DELETE", f"/tasks/{task}", admin, headers={"If-Match": '"9"'}).status_code == 412
    r = rig.request("DELETE", f"/tasks/{task}", admin)
    assert r.status_code == 204 and r.content == b""
    assert rig.get(f"/tasks/{task}", admin).status_code == 404
    assert rig.request("DELETE", f"/tasks/{task}", admin).status_code == 404
    assert rig.get(f"/runs/{run}", admin).json()["task_name"] == "deleted"
    assert ("task.delete", task) in audit(rig)


def test_pages_by_key(rig, admin):
    for i in range(7):
        rig.task(f"page {i}")
    seen, cursor = [], ""
    while True:
        r = rig.get(f"/tasks?limit=3{cursor}", admin).json()
        seen += [t["name"] for t in r["items"]]
        if not r["next_cursor"]:
            break
        cursor = f"&cursor={r['next_cursor']}"
    assert seen == sorted(seen) and len(seen) == len(set(seen)) and sum(n.startswith("page ") for n in seen) == 7


# Runs ---------------------------------------------------------------------------------------------

def test_run_create_and_read(rig, admin):
    task = rig.task("runs")
    r = rig.post(f"/tasks/{task}/run", rig.token("operator"))
    assert r.status_code == 201
    run = r.json()["id"]
    assert rig.post(f"/tasks/{uuid7()}/run", admin).status_code == 404
    assert rig.post(f"/tasks/{task}/run", admin, {"x": 1}).status_code == 422
    got = rig.get(f"/runs/{run}", admin).json()
    assert got["state"] == "queued" and got["actor"] == "default-operator" and got["last_event"] == 1
    assert rig.get(f"/runs/{got['code'].lower()}", admin).json()["id"] == run
    rig.engine.events(run, [{"type": "task_dispatched"}, {"type": "task_started"}, {"type": "progress"}])
    for path in (f"/runs/{run}/timeline", f"/tasks/{task}/timeline", f"/tasks/{run}/timeline", f"/tasks/{got['code']}/timeline"):
        timeline = rig.get(path, admin).json()
        assert [e["seq"] for e in timeline["items"]] == [1, 2, 3, 4] and timeline["run"]["id"] == run
    page = rig.get(f"/runs/{run}/timeline?since=1&limit=2", admin).json()
    assert [e["seq"] for e in page["items"]] == [2, 3] and page["next_since"] == 3
    page = rig.get(f"/runs/{run}/timeline?since=3&limit=2", admin).json()
    assert [e["seq"] for e in page["items"]] == [4] and page["next_since"] is None
    rig.engine.finish(run)
    done = rig.get(f"/runs/{run}", admin).json()
    assert done["state"] == "completed" and done["last_event"] == 5 and done["duration_ms"] is not None
    for path in ("timeline", "attempts", "units", "log"):
        assert rig.get(f"/runs/{uuid7()}/{path}", admin).status_code == 404
        assert rig.get(f"/runs/{run}/{path}", admin).status_code == 200


def test_run_lists(rig, admin):
    task = rig.task("listed")
    runs = [rig.engine.run(task) for _ in range(6)]
    rig.engine.finish(runs[0])
    rig.engine.finish(runs[1], "failed")
    newest = rig.get(f"/tasks/{task}/runs?limit=4", admin).json()
    assert [r["id"] for r in newest["items"]] == sorted(runs, reverse=True)[:4]
    rest = rig.get(f"/tasks/{task}/runs?limit=4&cursor={newest['next_cursor']}", admin).json()
    assert [r["id"] for r in rest["items"]] == sorted(runs, reverse=True)[4:] and rest["next_cursor"] is None

    def ids(query):
        return {r["id"] for r in rig.get(f"/runs?task={task}&limit=100{query}", admin).json()["items"]}
    assert ids("&status=failed") == {runs[1]} and ids("&status=completed,failed") == set(runs[:2])
    assert ids("&status=live") == set(runs[2:]) == ids("&status=queued") and ids("") == set(runs)
    assert rig.get("/runs?status=done", admin).status_code == 400
    assert rig.get("/runs?task=x", admin).status_code == 400


def test_idempotency(rig, admin):
    task, other = rig.task("idem"), rig.task("idem 2")
    key = {"Idempotency-Key": "k-1"}
    first = rig.post(f"/tasks/{task}/run", admin, headers=key)
    again = rig.post(f"/tasks/{task}/run", admin, headers=key)
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    r = rig.post(f"/tasks/{other}/run", admin, headers=key)
    assert r.status_code == 422 and r.json()["code"] == "idempotency_key"
    assert rig.post(f"/tasks/{task}/run", admin, headers={"Idempotency-Key": "x" * 201}).status_code == 400
    assert len(rig.get(f"/tasks/{task}/runs", admin).json()["items"]) == 1
    results = []
    threads = [threading.Thread(target=lambda: results.append(
        rig.post(f"/tasks/{task}/run", admin, headers={"Idempotency-Key": "k-2"}))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {r.status_code for r in results} <= {201, 202} and len({r.json().get("id") or r.json()["run_id"] for r in results}) == 1
    assert len(rig.get(f"/tasks/{task}/runs", admin).json()["items"]) == 2


def test_cancel(rig, admin):
    task = rig.task("cancelled")
    run = rig.engine.run(task)
    rig.engine.state(run, "dispatched", attempt=1, epoch=1)
    rig.engine.state(run, "running")
    rig.engine.state(run, "cancelling")
    assert rig.post(f"/runs/{run}/cancel", admin, {"reason": 5}).status_code == 422
    r = rig.post(f"/runs/{run}/cancel", rig.token("operator"), {"reason": "window moved"})
    assert r.status_code == 200 and r.json() == {"id": run, "state": "cancelled"}
    assert rig.pg.sql("select body ->> 'reason', actor from takt.command where run_id = %s", (run,)) == \
        [("window moved", "default-operator")]
    r = rig.post(f"/runs/{run}/cancel", admin)
    assert r.status_code == 409 and r.json()["detail"] == "the run has finished" and r.headers["Content-Type"].startswith("application/problem")
    assert rig.post(f"/runs/{uuid7()}/cancel", admin).status_code == 404
    assert rig.post(f"/runs/{task}/cancel", admin).json()["code"] == "no_live_run"
    live = [rig.engine.run(task) for _ in range(2)]
    r = rig.post(f"/runs/{task}/cancel", admin)
    assert r.status_code == 409 and all(x in r.json()["detail"] for x in live)


def test_accepted_when_the_engine_is_silent():
    with Rig() as rig:
        task = rig.task()
        r = rig.post(f"/tasks/{task}/run", rig.token("admin"), headers={"Idempotency-Key": "later"})
        assert r.status_code == 202 and set(r.json()) == {"command_id", "run_id"}
        assert rig.engine.answer_one()
        again = rig.post(f"/tasks/{task}/run", rig.token("admin"), headers={"Idempotency-Key": "later"})
        assert again.status_code == 201 and again.json()["id"] == r.json()["run_id"]


def zstd(text):
    return subprocess.run(["/usr/bin/zstd", "-q", "-c"], input=text.encode(), capture_output=True, check=True).stdout


def add_unit(rig, run, no, name, chunks):
    """A unit of attempt 1 with output; chunks are (offset, text)."""
    org = rig.orgs["default"]
    with rig.engine.lock:
        c = rig.engine.c
        c.execute("insert into takt.unit_row (run_id, attempt, no, org_id, epoch, device_name, state) values (%s, 1, %s, %s, 1, %s, "
                  "'passed')", (run, no, org, name))
        for off, text in chunks:
            c.execute("insert into takt.output values (%s, 1, %s, %s, %s, %s, now(), %s)",
                      (run, no, off, org, len(text.encode()), zstd(text)))
        c.commit()


@pytest.mark.skipif(not pathlib.Path("/usr/bin/zstd").exists(), reason="the zstd program is not installed")
def test_log(rig, admin):
    task = rig.task("logged")
    run = rig.engine.run(task)
    assert rig.get(f"/runs/{run}/log", admin).text == ""
    add_unit(rig, run, 0, "core-1", [(0, "hello\n"), (6, "wörld\n"), (100, "after a hole")])
    add_unit(rig, run, 1, "core-2", [(0, "second\n")])
    r = rig.get(f"/runs/{run}/log", admin)
    assert r.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert r.text == ("=== attempt 1, unit 0, device core-1\nhello\nwörld\n=== 87 bytes were not kept\nafter a hole\n"
                      "=== attempt 1, unit 1, device core-2\nsecond\n")
    assert rig.get(f"/runs/{run}/log?unit=1", admin).text == "=== attempt 1, unit 1, device core-2\nsecond\n"
    assert rig.get(f"/runs/{run}/log?attempt=2", admin).text == ""
    units = rig.get(f"/runs/{run}/units", admin).json()["items"]
    assert [(u["no"], u["device_name"], u["state"]) for u in units] == [(0, "core-1", "passed"), (1, "core-2", "passed")]
    assert rig.get(f"/runs/{run}/units?attempt=2", admin).json()["items"] == []
    big = rig.engine.run(task)
    add_unit(rig, big, 0, "core-1", [(i * 48000, f"{i:05d}" * 9600) for i in range(100)])
    text = rig.get(f"/runs/{big}/log", admin).text
    head, more = text.rsplit("\n=== there is more: ask with ", 1)
    rest = rig.get(f"/runs/{big}/log?{more.strip()}", admin).text
    assert (head + rest.split("\n", 1)[1]).split("\n", 1)[1] == "".join(f"{i:05d}" * 9600 for i in range(100))


@pytest.mark.skipif(not pathlib.Path("/usr/bin/zstd").exists(), reason="the zstd program is not installed")
def test_snapshots(rig, admin):
    task, device = rig.task("snapped"), uuid7()
    org = rig.orgs["default"]
    for i in range(3):
        run = rig.engine.run(task)
        with rig.engine.lock:
            rig.engine.c.execute("insert into takt.snapshot values (%s, %s, %s, 'core-1', %s, 1, 0, now(), 'd', 5, 'k', %s, %s, %s)",
                                 (f"snap-20261122-02000{i}-core-1", org, device, run, b"h", b"sealed", zstd(f"hostname core-{i}\n")))
            rig.engine.c.commit()
    page = rig.get(f"/snapshots?device={device}&limit=2", admin).json()
    assert [s["id"] for s in page["items"]] == ["snap-20261122-020002-core-1", "snap-20261122-020001-core-1"]
    rest = rig.get(f"/snapshots?device={device}&limit=2&cursor={page['next_cursor']}", admin).json()
    assert [s["id"] for s in rest["items"]] == ["snap-20261122-020000-core-1"] and rest["next_cursor"] is None
    assert rig.get(f"/snapshots?run={run}", admin).json()["items"][0]["run_id"] == run
    one = rig.get("/snapshots/snap-20261122-020000-core-1", admin).json()
    assert one["device_name"] == "core-1" and "exact" not in one
    assert rig.get("/snapshots/snap-20261122-020000-core-1/content", admin).text == "hostname core-0\n"
    assert rig.get("/snapshots/none", admin).status_code == 404
    assert rig.get("/snapshots/none/content", admin).status_code == 404


# Inventory ----------------------------------------------------------------------------------------

def test_credentials_are_sealed(rig, admin):
    secret = "correct horse battery staple"
    body = {"name": "lab", "username": "takt", "password": secret, "enable": "en-" + secret}
    r = rig.post("/credentials", admin, body)
    assert r.status_code == 503 and "no engine has published its key" in r.json()["detail"]
    public, private = keypair()
    rig.engine.seal_key(public)
    r = rig.post("/credentials", admin, body)
    assert r.status_code == 201, r.text
    c = r.json()
    assert c["members"] == ["password", "enable"] and c["version"] == 1 and secret not in r.text
    sealed = rig.pg.sql("select sealed from takt.credential where id = %s", (c["id"],))[0][0]
    assert secret.encode() not in bytes(sealed)
    assert json.loads(unseal(public, private, bytes(sealed))) == {
        "org": rig.orgs["default"], "id": c["id"], "version": 1, "secret": {"password": secret, "enable": "en-" + secret}}
    # a rename keeps the seal; a new secret replaces all members under the next version
    r = send(rig, "PATCH", f"/credentials/{c['id']}", '{"name":"lab 2"}')
    assert r.status_code == 200 and r.json()["version"] == 1 and r.json()["members"] == ["password", "enable"]
    assert bytes(rig.pg.sql("select sealed from takt.credential where id = %s", (c["id"],))[0][0]) == bytes(sealed)
    r = send(rig, "PATCH", f"/credentials/{c['id']}", json.dumps({"private_key": "PEM\n", "passphrase": "p"}))
    assert r.status_code == 200 and r.json()["version"] == 2 and r.json()["members"] == ["private_key", "passphrase"]
    sealed = rig.pg.sql("select sealed from takt.credential where id = %s", (c["id"],))[0][0]
    assert json.loads(unseal(public, private, bytes(sealed)))["secret"] == {"private_key": "PEM\n", "passphrase": "p"}
    for bad, pointer in (({"name": "x", "username": "u", "passphrase": "p"}, "/passphrase"),
                         ({"name": "x", "username": "u", "token": "t"}, "/token"), ({"name": "x"}, ""),
                         ({"name": "x", "username": "u", "password": ""}, "/password")):
        r = rig.post("/credentials", admin, bad)
        assert r.status_code == 422 and r.json()["errors"][0]["pointer"] in (pointer, "", "/username"), r.text
    long = "s3cret" * 1000
    r = rig.post("/credentials", admin, {"name": "x", "username": "u", "password": long})
    assert r.status_code == 422 and "s3cret" not in r.text
    assert rig.post("/credentials", admin, {"name": "lab 2", "username": "u"}).status_code == 409
    listing = rig.get("/credentials", rig.token("viewer"))
    assert [x["name"] for x in listing.json()["items"]] == ["lab 2"] and "sealed" not in listing.text
    assert rig.get(f"/credentials/{c['id']}", admin).json()["name"] == "lab 2"
    everything = rig.log_text() + json.dumps(rig.pg.sql("select detail from takt.audit"))
    assert secret not in everything and "s3crets3cret" not in everything
    device = rig.post("/devices", admin, {"name": "uses-it", "address": "192.0.2.9", "platform": "frr", "credential": "lab 2"}).json()
    assert device["credential_id"] == c["id"]
    r = rig.request("DELETE", f"/credentials/{c['id']}", admin)
    assert r.status_code == 409 and "uses-it" in r.json()["detail"]
    assert send(rig, "PATCH", f"/devices/{device['id']}", '{"credential_id":null}').json()["credential"] is None
    assert rig.request("DELETE", f"/credentials/{c['id']}", admin).status_code == 204
    assert rig.request("DELETE", f"/credentials/{c['id']}", admin).status_code == 404


def sodium():
    import ctypes
    import ctypes.util
    lib = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
    lib.sodium_init()
    return lib


def keypair():
    import ctypes
    public, private = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    sodium().crypto_box_keypair(public, private)
    return public.raw, private.raw


def unseal(public, private, sealed):
    import ctypes
    out = ctypes.create_string_buffer(len(sealed) - 48)
    assert sodium().crypto_box_seal_open(out, sealed, ctypes.c_ulonglong(len(sealed)), public, private) == 0
    return out.raw


def test_device_name_has_no_slash(rig, admin):
    """A snapshot's id is made of it and stands in a path."""
    r = rig.post("/devices", admin, {"name": "a/b", "address": "192.0.2.8", "platform": "frr"})
    assert r.status_code == 422 and r.json()["errors"][0]["pointer"] == "/name", r.text
    d = rig.post("/devices", admin, {"name": "a-b", "address": "192.0.2.8", "platform": "frr"}).json()["id"]
    assert rig.request("PATCH", f"/devices/{d}", admin, json={"name": "a/b"}).status_code == 422
    assert rig.request("DELETE", f"/devices/{d}", admin).status_code == 204


def test_devices(rig, admin):
    body = {"name": "core-1", "address": "192.0.2.1", "platform": "frr", "groups": ["core", "edge"]}
    r = rig.post("/devices", admin, body)
    assert r.status_code == 201, r.text
    d = r.json()
    assert d["port"] == 22 and d["host_key"] == "tofu" and d["groups"] == ["core", "edge"] and d["credential"] is None
    assert rig.post("/devices", admin, body).json()["errors"][0]["pointer"] == "/name"
    for change, pointer in (({"platform": "ios9"}, "/platform"), ({"port": 0}, "/port"), ({"port": 65536}, "/port"),
                            ({"address": "a b"}, "/address"), ({"address": "-oProxyCommand=x;"}, "/address"), ({"host_key": "off"}, "/host_key"),
                            ({"credential": "nope"}, "/credential"), ({"credential_id": uuid7()}, "/credential_id"),
                            ({"x": 1}, "/x"), ({"groups": [""]}, "/groups")):
        r = rig.post("/devices", admin, {**body, "name": "bad", **change})
        assert r.status_code == 422 and r.json()["errors"][0]["pointer"].startswith(pointer), r.text
    r = send(rig, "PATCH", f"/devices/{d['id']}", '{"port":2222,"name":"core-1.lab","host_key":"strict"}')
    assert r.status_code == 200 and (r.json()["port"], r.json()["name"], r.json()["host_key"]) == (2222, "core-1.lab", "strict")
    assert send(rig, "PATCH", f"/devices/{d['id']}", "{}").status_code == 422
    assert send(rig, "PATCH", f"/devices/{uuid7()}", '{"port":1}').status_code == 404
    assert rig.get(f"/devices/{d['id']}", admin).json() == r.json()
    core = rig.get("/groups?name=core", admin).json()["items"][0]["id"]
    assert [x["id"] for x in rig.get(f"/devices?group={core}", admin).json()["items"]] == [d["id"]]
    with rig.engine.lock:
        rig.engine.c.execute("insert into takt.host_key values (%s, %s, 'ssh-ed25519', 'AAAA', 'SHA256:x', now(), 'tofu run 1')",
                             (d["id"], rig.orgs["default"]))
        rig.engine.c.commit()
    keys = rig.get(f"/devices/{d['id']}/host-keys", admin).json()["items"]
    assert [k["fingerprint"] for k in keys] == ["SHA256:x"]
    assert rig.request("DELETE", f"/devices/{d['id']}/host-keys", admin).status_code == 204
    assert rig.get(f"/devices/{d['id']}/host-keys", admin).json()["items"] == []
    assert rig.request("DELETE", f"/devices/{uuid7()}/host-keys", admin).status_code == 404
    assert rig.get(f"/devices/{uuid7()}/host-keys", admin).status_code == 404
    assert rig.request("DELETE", f"/devices/{d['id']}", admin).status_code == 204
    assert rig.request("DELETE", f"/devices/{d['id']}", admin).status_code == 404
    assert [a for a, o in audit(rig) if o == d["id"]] == ["device.create", "device.update", "host_key.forget", "device.delete"]


def test_groups(rig, admin):
    ids = [rig.post("/devices", admin, {"name": f"m{i}", "address": f"192.0.2.{i + 10}", "platform": "frr"}).json()["id"] for i in range(3)]
    mine = "a1b2c3d4-5678-9abc-def0-123456789abc"
    r = rig.post("/groups", admin, {"id": mine, "name": "core routers", "devices": ["m0", ids[1]]})
    assert r.status_code == 201 and [d["name"] for d in r.json()["devices"]] == ["m0", "m1"] and r.json()["id"] == mine
    assert rig.post("/groups", admin, {"name": "core routers"}).json()["errors"][0]["pointer"] == "/name"
    assert rig.post("/groups", admin, {"name": "x", "id": mine}).json()["errors"][0]["pointer"] == "/id"
    r = rig.post("/groups", admin, {"name": "x", "devices": ["m0", "nope"]})
    assert r.status_code == 422 and r.json()["errors"][0]["pointer"] == "/devices/1"
    assert rig.get("/groups?name=x", admin).json()["items"] == []
    assert rig.request("PUT", f"/groups/{mine}/members/{ids[2]}", admin).status_code == 204
    assert rig.request("PUT", f"/groups/{mine}/members/{ids[2]}", admin).status_code == 204
    assert rig.request("DELETE", f"/groups/{mine}/members/{ids[0]}", admin).status_code == 204
    assert [d["name"] for d in rig.get(f"/groups/{mine}", admin).json()["devices"]] == ["m1", "m2"]
    assert rig.request("PUT", f"/groups/{mine}/members/{uuid7()}", admin).status_code == 404
    assert rig.request("PUT", f"/groups/{uuid7()}/members/{ids[0]}", admin).status_code == 404
    r = send(rig, "PATCH", f"/groups/{mine}", '{"name":"core","devices":["m0"]}')
    assert r.status_code in (200, 409)
    r = send(rig, "PATCH", f"/groups/{mine}", '{"name":"all core","devices":["m0"]}')
    assert r.status_code == 200 and [d["name"] for d in r.json()["devices"]] == ["m0"]
    assert send(rig, "PATCH", f"/groups/{mine}", '{"devices":["nope"]}').status_code == 422
    assert [d["name"] for d in rig.get(f"/groups/{mine}", admin).json()["devices"]] == ["m0"]
    assert rig.request("DELETE", f"/groups/{mine}", admin).status_code == 204
    assert rig.request("DELETE", f"/groups/{mine}", admin).status_code == 404
    assert rig.get(f"/devices/{ids[0]}", admin).json()["groups"] == []


# Administration -----------------------------------------------------------------------------------

def test_tokens(rig, admin):
    r = rig.post("/tokens", admin, {"name": "laptop", "actor": "maria", "role": "operator"})
    assert r.status_code == 201
    text = r.json()["token"]
    assert len(text) == 48 and text.startswith("takt_")
    assert bytes(rig.pg.sql("select hash from takt.token where id = %s", (r.json()["id"],))[0][0]) == \
        hashlib.sha256(text.encode()).digest()
    assert rig.get("/whoami", text).json() == {"actor": "maria", "role": "operator", "org": "default", "token": "laptop"}
    assert text not in rig.get("/tokens", admin).text and "hash" not in rig.get("/tokens", admin).text
    assert rig.post("/tokens", admin, {"name": "laptop", "role": "viewer"}).status_code == 409
    for bad, pointer in (({"name": "x", "role": "root"}, "/role"), ({"role": "viewer"}, ""), ({"name": "x", "role": "viewer", "hash": "1"}, "/hash"),
                         ({"name": "x", "role": "viewer", "expires_at": "tomorrow"}, "/expires_at"),
                         ({"name": "x", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at")):
        r2 = rig.post("/tokens", admin, bad)
        assert r2.status_code == 422 and r2.json()["errors"][0]["pointer"] in (pointer, "/name"), r2.text
    assert rig.request("DELETE", f"/tokens/{r.json()['id']}", admin).status_code == 204
    assert rig.get("/whoami", text).status_code == 401
    assert rig.request("DELETE", f"/tokens/{r.json()['id']}", admin).status_code == 204
    assert rig.request("DELETE", f"/tokens/{uuid7()}", admin).status_code == 404
    assert text not in rig.log_text()


def test_lists_of_the_installation(rig):
    viewer = rig.token("viewer")
    assert [p["name"] for p in rig.get("/platforms", viewer).json()["items"]] == ["frr"]
    assert {t["id"] for t in rig.get("/task-types", viewer).json()["items"]} >= {"hello", "backup"}
    plugins = rig.get("/plugins", viewer).json()["items"]
    assert plugins[0]["node"] == "node-1" and {"hello", "backup"} <= {t for p in plugins for t in p["task_types"]}
    node = rig.get("/nodes", viewer).json()["items"][0]
    assert node["name"] == "node-1" and node["up"] is True


def test_nodes_are_drained_by_name_and_by_id(rig, admin):
    node = rig.get("/nodes", admin).json()["items"][0]
    assert (node["state"], node["running"]) == ("up", 0)
    for role in ("viewer", "operator"):
        assert rig.post("/nodes/node-1/drain", rig.token(role)).status_code == 403
    for name in ("no-such", "018f0000-0000-7000-8000-000000000000"):
        assert rig.post(f"/nodes/{name}/drain", admin).status_code == 404
    assert rig.post("/nodes/node-1/drain", admin).json()["state"] == "drained"
    assert rig.get("/nodes", rig.token("viewer")).json()["items"][0]["state"] == "drained"
    assert rig.post(f"/nodes/{node['id']}/resume", admin).json()["state"] == "up"
    actions = [(i["action"], i["object_id"]) for i in rig.get("/audit?limit=2", admin).json()["items"]]
    assert actions == [("node.resume", node["id"]), ("node.drain", node["id"])]


def test_a_node_with_runs_of_anybody_is_draining(rig, admin):
    node = rig.get("/nodes", admin).json()["items"][0]
    run = rig.engine.run(rig.task("drained"))
    with rig.pg.connect("takt_owner") as c:
        c.execute("update takt.live set node_id = %s where run_id = %s", (node["id"], run))
    drained = rig.post("/nodes/node-1/drain", admin).json()
    assert (drained["state"], drained["running"]) == ("draining", 1)
    with rig.pg.connect("takt_owner") as c:
        c.execute("update takt.live set node_id = null where run_id = %s", (run,))
    assert rig.get("/nodes", admin).json()["items"][0]["state"] == "drained"
    rig.post("/nodes/node-1/resume", admin)


def test_two_nodes_of_one_name_are_told_apart_by_id(rig, admin):
    with rig.pg.connect("takt_owner") as c:
        c.execute("insert into takt.node (id, name) select gen_random_uuid(), 'twin' from generate_series(1, 2)")
    ids = [n["id"] for n in rig.get("/nodes", admin).json()["items"] if n["name"] == "twin"]
    answer = rig.post("/nodes/twin/drain", admin)
    assert answer.status_code == 409 and all(i in answer.json()["detail"] for i in ids)
    assert rig.post(f"/nodes/{ids[0]}/drain", admin).json()["state"] == "dead"


def test_audit_pages(rig, admin):
    rig.task("audited")
    page = rig.get("/audit?limit=2", admin).json()
    assert page["items"][0]["action"] == "task.create" and page["items"][0]["actor"] == "default-admin"
    rest = rig.get(f"/audit?limit=500&cursor={page['next_cursor']}", admin).json()
    seqs = [i["seq"] for i in page["items"] + rest["items"]]
    assert seqs == list(range(seqs[0], 0, -1))


def test_statements_cannot_be_injected(rig, admin):
    evil = "'; drop table takt.task cascade; --"
    assert rig.post("/tasks", admin, {"name": evil, "task_type": "hello"}).status_code == 201
    assert rig.get("/tasks", admin, params={"name": evil}).json()["items"][0]["name"] == evil
    assert rig.get(f"/runs/{evil.replace(' ', '%20')}", admin).status_code == 404
    assert rig.get("/snapshots/%27%20or%201=1", admin).status_code == 404
    assert base64.b64encode(rig.get("/tasks", admin, params={"cursor": evil}).content)


def test_hold_and_release(rig, admin):
    task = rig.task("kept")
    run, other = rig.engine.run(task), rig.engine.run(task)
    assert rig.get(f"/runs/{run}", admin).json()["hold"] is None
    assert rig.post(f"/runs/{run}/hold", admin, {}).status_code == 422
    assert rig.post(f"/runs/{uuid7()}/hold", admin, {"reason": "r"}).status_code == 404
    held = rig.post(f"/runs/{run}/hold", admin, {"reason": "incident 4711"})
    assert held.status_code == 200 and held.json()["reason"] == "incident 4711" and held.json()["actor"] == "default-admin"
    assert rig.get(f"/runs/{run}", rig.token("viewer")).json()["hold"] == held.json()
    code = rig.get(f"/runs/{run}", admin).json()["code"]
    assert rig.post(f"/runs/{code.lower()}/hold", admin, {"reason": "also for the auditor"}).json()["run_id"] == run
    assert rig.request("DELETE", f"/runs/{other}/hold", admin).status_code == 409
    assert rig.request("DELETE", f"/runs/{run}/hold", rig.token("operator")).status_code == 403
    assert rig.request("DELETE", f"/runs/{run}/hold", admin).status_code == 204
    assert rig.request("DELETE", f"/runs/{run}/hold", admin).status_code == 409
    assert rig.get(f"/runs/{run}", admin).json()["hold"] is None
    audit = [(a["action"], a["detail"]) for a in rig.get("/audit", admin).json()["items"] if a["object_id"] == run][:3]
    assert audit == [("run.release", {"was": "also for the auditor"}), ("run.hold", {"reason": "also for the auditor"}),
                     ("run.hold", {"reason": "incident 4711"})]


def test_runs_by_time(rig, admin):
    task = rig.task("timed")
    run = rig.engine.run(task)
    past, future = "2020-01-01T00:00:00Z", "2099-12-31T23:59:59.5Z"

    def ids(**query):
        r = rig.get("/runs", admin, params={"task": task, **query})
        assert r.status_code == 200, r.text
        return [x["id"] for x in r.json()["items"]]
    assert ids(**{"from": past}) == ids(to=future) == ids(**{"from": past, "to": future}) == [run]
    assert ids(**{"from": future}) == ids(to=past) == ids(**{"from": future, "to": past}) == []
    assert ids(**{"from": "2020-01-01T00:00:00+14:00"}) == [run]
    for bad in ("yesterday", "2020-01-01", "2020-01-01T00:00:00"):
        assert rig.get("/runs", admin, params={"from": bad}).status_code == 400, bad
    r = rig.get("/runs", admin, params={"to": "2020-13-01T00:00:00Z"})
    assert r.status_code == 422 and r.json()["errors"][0]["pointer"] == "/to"
