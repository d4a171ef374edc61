# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Every command of `takt` against a running Takt, with what it prints, and its exit code for bad input."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from dev import BACKUP, BUILD, HELLO, Dev, wait_until  # noqa: E402

SEED = ROOT / "tests/data/nightly-backup.json"
GROUP = "a1b2c3d4-5678-9abc-def0-123456789abc"
NIGHTLY = "Nightly Core Router Backup"


@pytest.fixture(scope="module")
def dev():
    with Dev(plugin_dirs=[HELLO, BACKUP]) as d:
        yield d.ready("hello", "backup")


def task(dev, name, **more):
    body = dict({"name": name, "task_type": "hello", "parameters": {"name": "world"}}, **more)
    return dev.json("task", "create", "-", input=json.dumps(body))


# --- service

def test_health(dev):
    assert "ok" in dev.ok("health")
    assert dev.json("health")["database"] is True


def test_environment_flags_and_client_file_find_the_daemon(dev, tmp_path):
    f = tmp_path / "token"
    f.write_text(dev.token + "\n")
    bare = {k: v for k, v in os.environ.items() if not k.startswith("TAKT_")}
    run = lambda args, **env: subprocess.run([BUILD / "takt", *args, "task", "list"], capture_output=True, text=True,  # noqa: E731
                                             env=dict(bare, **env), timeout=60).returncode
    assert run([], TAKT_STATE=str(dev.state)) == 0
    assert run([], TAKT_URL=dev.url, TAKT_TOKEN=dev.token) == 0
    assert run(["--url", dev.url, "--token-file", str(f)]) == 0
    assert run(["--url", dev.url + "/", "--token-file", str(f)]) == 0
    assert run(["--url", dev.url]) == 4
    assert run([], TAKT_URL=dev.url, TAKT_TOKEN="takt_" + "A" * 43) == 4


def test_plugin_list(dev):
    plugins = dev.json("plugin", "list")
    assert {p["name"] for p in plugins if p["status"] == "loaded"} == {"hello", "backup"}
    table = dev.ok("plugin", "list")
    assert "REASON" in table and "hello.so" in table


def test_nodes(dev):
    node, = dev.json("node", "list")
    assert node["state"] == "up" and "STATE" in dev.ok("node", "list")
    created = task(dev, "while-draining", parameters={"name": "x"})
    assert dev.json("node", "drain", node["name"], "--wait")["state"] == "drained"
    run = dev.json("api", "POST", f"/tasks/{created['id']}/run")
    assert dev.json("node", "list")[0]["running"] == 0
    assert dev.json("run", "show", run["id"])["state"] == "queued"
    assert dev.json("node", "resume", node["id"])["state"] == "up"
    wait_until(lambda: dev.json("run", "show", run["id"])["state"] == "completed", 30, "the run after resume")
    assert dev.takt("node", "drain", "no-such").returncode == 3
    assert dev.takt("node", "drain").returncode == 2


def test_platform_list(dev):
    wait_until(lambda: {"frr", "linux"} <= {p["name"] for p in dev.json("platform", "list")}, 30, "platforms")
    assert "frr" in dev.ok("platform", "list")


def test_api(dev, tmp_path):
    assert json.loads(dev.ok("api", "get", "/whoami"))["role"] == "admin"
    p = dev.takt("api", "GET", "/no-such")
    assert p.returncode == 3
    assert dev.takt("api", "GET", "tasks").returncode == 2
    body = tmp_path / "b"
    body.write_text('{"name": "from-api"}')
    assert json.loads(dev.ok("api", "POST", "/groups", "--data", body))["name"] == "from-api"
    assert "openapi: 3.1.0" in dev.ok("api", "GET", "/openapi.yaml")


# --- tokens

def test_tokens(dev, tmp_path):
    p = dev.takt("token", "create", "laptop", "--role", "viewer", "--actor", "maria")
    assert p.returncode == 0 and re.fullmatch(r"takt_[A-Za-z0-9_-]{43}\n", p.stdout), p
    viewer = tmp_path / "viewer"
    viewer.write_text(p.stdout)
    assert p.stdout.strip() not in dev.ok("token", "list") + json.dumps(dev.json("token", "list"))
    assert "maria" in dev.ok("token", "list")
    as_viewer = lambda *a, **k: dev.takt("--token-file", viewer, *a, **k)  # noqa: E731
    # --state names the daemon; the token is the file's.
    assert as_viewer("task", "list").returncode == 0
    assert as_viewer("token", "list").returncode == 4
    assert as_viewer("task", "create", "-", input='{"name":"x","task_type":"hello","parameters":{}}').returncode == 4
    assert dev.takt("token", "create", "laptop", "--role", "viewer").returncode == 2
    assert dev.takt("token", "create", "x", "--role", "king").returncode == 2
    p = dev.takt("token", "create", "x")
    assert p.returncode == 2 and "--role" in p.stderr
    assert dev.takt("token", "create", "y", "--role", "viewer", "--expires", "soon").returncode == 2
    dev.ok("token", "delete", "laptop")
    assert as_viewer("task", "list").returncode == 4
    assert dev.takt("token", "delete", "nobody's").returncode == 3


# --- inventory

def test_credentials(dev, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    out = dev.ok("credential", "create", "lab", "--username", "admin", "--password-file", secret)
    assert "password" in out and "correct horse" not in out
    dev.ok("credential", "create", "lab2", "--username", "admin", "--password-file", "-", input="another\n")
    assert "correct" not in json.dumps(dev.json("credential", "list"))
    assert dev.json("credential", "show", "lab")["members"] == ["password"]
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    dev.ok("credential", "update", "lab", "--key-file", key)
    assert dev.json("credential", "show", "lab")["members"] == ["private_key"]
    dev.ok("credential", "update", "lab2", "--name", "lab3")
    dev.ok("credential", "delete", "lab3")
    assert dev.takt("credential", "show", "lab3").returncode == 3
    empty = tmp_path / "empty"
    empty.write_text("")
    for args, code in ((["create", "e", "--username", "u", "--password-file", empty], 2),
                       (["create", "e", "--username", "u", "--password-file", tmp_path / "none"], 2),
                       (["create", "lab", "--username", "u", "--password-file", secret], 2),
                       (["create", "e", "--password-file", secret], 2)):
        p = dev.takt("credential", *args)
        assert p.returncode == code and p.stderr, (args, p)
    assert "name" in dev.takt("credential", "create", "lab", "--username", "u", "--password-file", secret).stderr


def test_a_secret_is_asked_for_without_echo(dev):
    import pty
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(BUILD / "takt", ["takt", "--state", str(dev.state), "credential", "create", "typed", "--username", "u"],
                  dev.env(TERM="dumb"))
    shown = b""
    while b"password: " not in shown:
        shown += os.read(fd, 1000)
    os.write(fd, b"hunter2-typed\n")
    try:
        while chunk := os.read(fd, 1000):
            shown += chunk
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    assert b"hunter2-typed" not in shown
    assert dev.json("credential", "show", "typed")["members"] == ["password"]


def on_terminal(dev, *args):
    """What `takt` writes when a terminal is looking on."""
    import pty
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(BUILD / "takt", ["takt", "--state", str(dev.state), *args], dev.env(TERM="xterm"))
    shown = b""
    try:
        while chunk := os.read(fd, 1000):
            shown += chunk
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    return shown


def test_names_cannot_speak_to_the_terminal(dev):
    name = "evil\x1b]0;title\x07\x9b31m\x7f\u202eé\nforged"
    made = dev.json("api", "POST", "/devices", "--data", "-",
                    input=json.dumps({"name": name, "address": "192.0.2.7", "platform": "frr"}))
    try:
        for args in (("device", "list"), ("device", "show", made["id"]), ("-o", "json", "device", "list")):
            shown = on_terminal(dev, *args)
            assert b"evil" in shown and "é".encode() in shown, shown
            text = re.sub(rb"\x1b\[[0-9;]*m", b"", shown) if "json" not in args else shown  # colours are ours
            for bad in (b"\x1b]", b"\x07", b"\xc2\x9b", b"\x7f", "\u202e".encode()):
                assert bad not in text, (args, bad, shown)
        assert name in [d["name"] for d in dev.json("device", "list")]
        run = task(dev, "told")
        run = dev.json("task", "run", run["id"])["id"]
        dev.ok("run", "follow", run)
        assert b"task_completed" in on_terminal(dev, "run", "timeline", run)
    finally:
        dev.ok("device", "delete", made["id"])


def test_devices_and_groups(dev, tmp_path):
    dev.ok("credential", "create", "dc", "--username", "admin", "--password-file", "-", input="x\n")
    dev.ok("device", "create", "r1", "--address", "192.0.2.1", "--platform", "frr", "--credential", "dc", "--port", "2201")
    doc = tmp_path / "r2.json"
    doc.write_text(json.dumps({"name": "r2", "address": "192.0.2.2", "platform": "linux"}))
    dev.ok("device", "create", "--file", doc, "--host-key", "strict", "--group", "made-by-device")
    r2 = dev.json("device", "show", "r2")
    assert r2["host_key"] == "strict" and r2["groups"] == ["made-by-device"]
    assert dev.json("device", "show", "r1")["port"] == 2201
    dev.ok("device", "update", "r1", "--port", "22", "--address", "192.0.2.9")
    assert dev.json("device", "show", r2["id"])["name"] == "r2"
    assert [d["name"] for d in dev.json("device", "list")] == ["r1", "r2"]
    assert "192.0.2.9" in dev.ok("device", "list")
    assert dev.json("device", "host-keys", "r1") == []
    dev.ok("device", "host-keys", "r1", "--forget")
    dev.ok("group", "create", "core", "--id", GROUP, "--device", "r1")
    assert [d["name"] for d in dev.json("group", "show", "core")["devices"]] == ["r1"]
    dev.ok("group", "add", "core", "r2")
    assert len(dev.json("group", "show", GROUP)["devices"]) == 2
    dev.ok("group", "remove", "core", "r1", "r2")
    assert dev.json("group", "show", "core")["devices"] == []
    dev.ok("group", "update", "core", "--name", "core2", "--device", "r1")
    assert "core2" in dev.ok("group", "list")
    for args, code, word in ((["device", "create", "r1", "--address", "x", "--platform", "frr"], 2, "name"),
                             (["device", "create", "r3", "--address", "x", "--platform", "vax"], 2, "platform"),
                             (["device", "create", "r3", "--address", "a b", "--platform", "frr"], 2, "address"),
                             (["device", "create", "r3", "--address", "x", "--platform", "frr", "--port", "99999"], 2, "port"),
                             (["device", "create", "r3", "--address", "x", "--platform", "frr", "--port", "ssh"], 2, "port"),
                             (["device", "update", "r1"], 2, "nothing"), (["device", "show", "r9"], 3, "r9"),
                             (["group", "add", "core2", "r9"], 3, "r9"), (["group", "show", "none"], 3, "none"),
                             (["credential", "delete", "dc"], 2, "")):
        p = dev.takt(*args)
        assert p.returncode == code and word in p.stderr, (args, p)
    dev.ok("group", "delete", "core2")
    dev.ok("device", "delete", "r1")
    dev.ok("device", "delete", "r2")
    dev.ok("credential", "delete", "dc")
    assert dev.takt("device", "show", "r1").returncode == 3


def test_long_lists_are_fetched_page_by_page(dev):
    for i in range(205):
        assert dev.api("POST", "/groups", {"name": f"page-{i:03}"})[0] == 201
    names = [g["name"] for g in dev.json("group", "list")]
    assert sum(n.startswith("page-") for n in names) == 205
    assert len(dev.json("group", "list", "--limit", "3")) == 3


# --- tasks

def test_the_seeds_document_unchanged(dev):
    p = dev.takt("task", "create", SEED)
    assert p.returncode == 0, p
    assert "warning" in p.stderr and GROUP in p.stderr
    assert dev.takt("task", "show", NIGHTLY, "--source", input=b"").stdout == SEED.read_bytes()
    shown = dev.ok("task", "show", NIGHTLY)
    assert "America/New_York" in shown and re.search(r"next run +\d{4}-\d\d-\d\d 0[67]:00:00Z +\d{4}-\d\d-\d\d 02:00:00 E[SD]T", shown)
    lines = dev.ok("task", "next", NIGHTLY).splitlines()
    assert len(lines) == 5 and all(re.search(r"0[67]:00:00Z +.* 02:00:00 E[SD]T$", x) for x in lines)
    expected = dev.ok("cron", "next", "0 2 * * *", "--tz", "America/New_York", "--count", "7").split()
    assert [x[:19] for x in dev.json("task", "next", NIGHTLY, "--count", "7")["next"]] == [x[:19] for x in expected]
    assert "02:00:00" in dev.ok("task", "list")


def test_task_life(dev, tmp_path):
    t = task(dev, "life", cron_expression="0 3 * * *")
    doc = tmp_path / "t.json"
    doc.write_text('{ "name": "life",\n\n "task_type": "hello", "cron_expression":"30 3 * * *", "parameters": {"name":"you"} }\n')
    dev.ok("task", "update", "life", doc)
    assert dev.json("task", "show", t["id"])["revision"] == 2
    assert dev.takt("task", "show", "life", "--source", input=b"").stdout == doc.read_bytes()
    dev.ok("task", "disable", "life")
    assert dev.json("task", "show", "life")["enabled"] is False
    assert "disabled" in dev.takt("task", "next", "life").stderr
    dev.ok("task", "enable", "life")
    assert dev.json("task", "show", "life")["enabled"] is True
    assert dev.json("task", "list", "--type", "hello") and dev.json("task", "list", "--type", "none") == []
    dev.ok("task", "delete", "life")
    assert dev.takt("task", "show", "life").returncode == 3


def test_task_check_keeps_nothing(dev):
    p = dev.takt("task", "check", SEED.with_name("nightly-backup.json"))
    assert p.returncode == 0 and "accepted" in p.stdout and len(p.stdout.splitlines()) == 6
    dev.ok("task", "check", "-", input='{"name":"never-kept","task_type":"hello","parameters":{"name":"x"}}')
    assert dev.takt("task", "show", "never-kept").returncode == 3


@pytest.mark.parametrize("body,field", [
    ("not json", ""), ("[]", ""), ('{"name":"a","name":"b"}', "name"), ('{"task_type":"hello","parameters":{}}', "name"),
    ('{"name":"bad","task_type":"nothing","parameters":{}}', "task_type"),
    ('{"name":"bad","task_type":"hello","parameters":{"nope":1}}', "nope"),
    ('{"name":"bad","task_type":"hello","parameters":{"name":"x"},"cron_expression":"61 * * * *"}', "cron_expression"),
    ('{"name":"bad","task_type":"hello","parameters":{"name":"x"},"timezone":"Mars/Base"}', "timezone"),
    ('{"name":"bad","task_type":"hello","parameters":{"name":"x"},"max_retries":-1}', "max_retries"),
    ('{"name":"bad","task_type":"hello","parameters":{"name":"x"},"colour":"red"}', "colour"),
])
def test_a_bad_definition_is_2_and_names_the_field(dev, body, field):
    before = dev.json("task", "list")
    for verb in ("check", "create"):
        p = dev.takt("task", verb, "-", input=body)
        assert p.returncode == 2 and p.stderr.startswith("takt: ") and field in p.stderr, p
    assert dev.json("task", "list") == before


def test_missing_files_and_tasks(dev, tmp_path):
    assert dev.takt("task", "create", tmp_path / "none.json").returncode == 2
    for verb in ("show", "enable", "disable", "delete", "run", "next"):
        assert dev.takt("task", verb, "no such task").returncode == 3
        assert dev.takt("task", verb, "00000000-0000-0000-0000-000000000000").returncode == 3


# --- runs

def test_run_follow_wait_log_timeline(dev):
    task(dev, "followed", parameters={"name": "follower"})
    p = dev.takt("task", "run", "followed", "--follow")
    assert p.returncode == 0, p
    types = re.findall(r"^\d\d:\d\d:\d\d +(\w+)", p.stdout, flags=re.M)
    assert types[0] == "task_created" and types[-1] == "task_completed", p.stdout
    assert re.search(r"^run \w{8} completed in ", p.stdout, flags=re.M)
    run = dev.json("run", "list", "--task", "followed")[0]
    log = dev.ok("run", "log", run["code"])
    words = [line for line in log.splitlines() if line and not line.startswith("===")]
    assert words and all(w in p.stdout for w in words), (log, p.stdout)
    whole = log.split("\n", 1)
    rest = dev.ok("run", "log", run["code"], "--attempt", "1", "--unit", "0", "--offset", "10").split("\n", 1)
    assert rest[0] == whole[0].rstrip() and rest[1] == whole[1][10:]
    timeline = dev.json("run", "timeline", run["id"])
    assert [e["seq"] for e in timeline] == list(range(1, len(timeline) + 1))
    assert [e["type"] for e in timeline if e["type"] != "output"] == types
    assert "task_completed" in dev.ok("run", "timeline", run["code"])
    assert "followed" in dev.ok("run", "show", run["code"])
    assert dev.json("task", "show", run["code"])["name"] == "followed"
    again = dev.takt("run", "follow", run["code"])
    assert again.returncode == 0 and "task_created" in again.stdout
    events = [json.loads(x) for x in dev.ok("run", "follow", run["id"], "-o", "json").splitlines() if x.startswith('{"')]
    assert [e["seq"] for e in events] == [e["seq"] for e in timeline]
    p = dev.takt("task", "run", "followed", "--wait")
    assert p.returncode == 0 and p.stdout.count("\n") == 1 and "completed" in p.stdout


def test_run_list_filters(dev):
    task(dev, "listed")
    key = ["--idempotency-key", "once-only"]
    first = dev.json("task", "run", "listed", *key)
    assert dev.json("task", "run", "listed", *key)["id"] == first["id"]
    wait_until(lambda: dev.json("run", "show", first["id"])["state"] == "completed", 60, "the run")
    for args in (["--task", "listed"], ["--task", "listed", "--status", "completed", "--status", "failed"],
                 ["--task", "listed", "--limit", "1"]):
        assert [r["id"] for r in dev.json("run", "list", *args)] == [first["id"]], args
    assert dev.json("run", "list", "--task", "listed", "--status", "live") == []
    for args, code in ((["--status", "sleeping"], 2), (["--limit", "0"], 2), (["--limit", "5x"], 2), (["--task", "none"], 3), (["--device", "none"], 3)):
        assert dev.takt("run", "list", *args).returncode == code, args
    for verb in ("show", "log", "timeline", "cancel", "follow"):
        assert dev.takt("run", verb, "ZZZZZZZZ").returncode == 3, verb


def test_a_failed_run_is_1(dev):
    """Its target does not exist: class parameters, not retried."""
    doc = dict(json.loads(SEED.read_text()), name="no target", cron_expression=None)
    doc["parameters"]["target_id"] = "00000000-0000-0000-0000-00000000dead"
    dev.ok("task", "create", "-", input=json.dumps(doc))
    p = dev.takt("task", "run", "no target", "--follow")
    assert p.returncode == 1 and "failed" in p.stdout, p
    assert dev.takt("task", "run", "no target", "--wait").returncode == 1


def test_snapshot_commands_without_any(dev):
    assert dev.json("snapshot", "list") == []
    assert "none" in dev.takt("snapshot", "list").stderr
    assert dev.takt("snapshot", "show", "snap-none").returncode == 3
    assert dev.takt("snapshot", "diff", "snap-a", "snap-b").returncode == 3
    dev.ok("device", "create", "lonely", "--address", "192.0.2.7", "--platform", "frr")
    p = dev.takt("snapshot", "diff", "lonely")
    assert p.returncode == 3 and "two are needed" in p.stderr
    assert dev.takt("snapshot", "list", "--device", "none").returncode == 3
    assert dev.takt("snapshot", "list", "--run", "ZZZZZZZZ").returncode == 3


def test_the_wire_is_quiet_about_a_stopped_daemon(dev):
    """A gateway that is gone is 5, and a follower outlives its restart."""
    task(dev, "outlives")
    dev.kill9("gateway")
    p = wait_until(lambda: (q := dev.takt("task", "run", "outlives", "--wait")).returncode == 0 and q, 60, "the restart")
    assert "completed" in p.stdout


def test_ctrl_c_of_a_follower_leaves_the_run_alone(dev):
    task(dev, "left alone")
    p = subprocess.Popen([BUILD / "takt", "--state", dev.state, "task", "run", "left alone", "--follow"],
                         stdout=subprocess.PIPE, text=True, env=dev.env())
    p.stdout.readline()
    p.send_signal(signal.SIGINT)
    p.wait(30)
    p.stdout.close()
    run = dev.json("run", "list", "--task", "left alone")[0]["id"]
    wait_until(lambda: dev.json("run", "show", run)["state"] == "completed", 60, "the run")


def test_run_hold_and_release(dev):
    task(dev, "held")
    run = dev.json("task", "run", "held")
    wait_until(lambda: dev.json("run", "show", run["id"])["state"] == "completed", 60, "the run")
    assert dev.takt("run", "hold", run["id"]).returncode == 2
    assert "is held" in dev.ok("run", "hold", run["code"], "--reason", "for the auditor")
    assert re.search(r"^held +for the auditor$", dev.ok("run", "show", run["code"]), flags=re.M)
    assert dev.json("run", "show", run["id"])["hold"]["reason"] == "for the auditor"
    assert "no longer" in dev.ok("run", "release", run["id"])
    assert dev.json("run", "show", run["id"])["hold"] is None
    p = dev.takt("run", "release", run["id"])
    assert p.returncode != 0 and "not held" in p.stderr
    assert [r["id"] for r in dev.json("run", "list", "--task", "held", "--from", "2020-01-01T00:00:00Z")] == [run["id"]]
    assert dev.json("run", "list", "--task", "held", "--to", "2020-01-01T00:00:00Z") == []
