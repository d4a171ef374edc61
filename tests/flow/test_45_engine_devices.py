# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Credentials on their way to a unit, snapshots on their way back, refusals, reload."""
import ctypes
import json
import pathlib
import re
import signal
import subprocess
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine  # noqa: E402
from pg import BUILD, wait_until  # noqa: E402

PASSWORD = "correct horse battery staple"
CONFIG = "hostname core-rtr-01\n" + "".join(f"interface eth{i}\n" for i in range(20000))
_sodium = ctypes.CDLL("libsodium.so.23")


@pytest.fixture(scope="module")
def t():
    with Engine(max_units=4) as engine:
        wait_until(lambda: engine.one("select id from takt.seal_key"), 30, "the engine's key")
        yield engine


def seal(t, document):
    public = bytes(t.one("select public_key from takt.seal_key"))
    plain = json.dumps(document).encode()
    out = ctypes.create_string_buffer(len(plain) + 48)
    assert _sodium.crypto_box_seal(out, plain, ctypes.c_ulonglong(len(plain)), public) == 0
    return out.raw


def credential(t, name, owner=None):
    ident = str(uuid.uuid4())
    sealed = seal(t, {"org": str(t.org), "id": owner or ident, "version": 1, "secret": {"password": PASSWORD}})
    t.sql("insert into takt.credential (id, org_id, name, members, key_id, sealed) "
          "select %s, %s, %s, '{password}', id, %s from takt.seal_key", ident, t.org, name, sealed)
    return ident


def device_with(t, name, cred):
    device = t.device(name)
    t.sql("update takt.device set credential_id = %s where id = %s", cred, device)
    return device


def test_the_secret_reaches_the_unit_and_nothing_else(t):
    device = device_with(t, "s1", credential(t, "one"))
    run = t.run(t.task("witness_each", {"show_secret_length": 1}, target={"type": "device", "id": device}))
    assert t.wait_end(run) == "completed"
    assert f"password has {len(PASSWORD)} bytes, given".encode() in t.output(run)
    for table in ("event", "run", "unit", "attempt"):
        assert t.one(f"select count(*) from takt.{table} x where x::text like %s", f"%{PASSWORD}%") == 0
    assert PASSWORD not in t.logs()


def test_a_blob_of_another_row_is_not_opened(t):
    device = device_with(t, "s2", credential(t, "two", owner="00000000-0000-4000-8000-000000000000"))
    run = t.run(t.task("witness_each", {}, target={"type": "device", "id": device}, max_retries=3))
    assert t.wait_end(run) == "failed"
    code, message = t.sql("select error ->> 'code', error ->> 'message' from takt.unit where run_id = %s", run)[0]
    assert code == "credential.unreadable" and "another credential" in message
    assert t.one("select count(*) from takt.attempt where run_id = %s", run) == 1


def test_a_device_deleted_while_its_run_waits_is_said_so(t):
    device = t.device("gone")
    block = [t.run(t.task("witness", {"steps": 1, "step_ms": 3000})) for _ in range(4)]
    for other in block:
        t.wait_state(other, "running")
    run = t.run(t.task("witness_each", {}, target={"type": "device", "id": device}))
    t.sql("delete from takt.device where id = %s", device)
    assert t.wait_end(run) == "failed"
    assert device in t.summary(run)["message"]
    for other in block:
        t.wait_end(other)


def test_a_configuration_becomes_a_snapshot(t):
    device = t.device("core-rtr-01.example.net")
    task = t.task("witness_each", {"config": CONFIG, "destination": "nightly"}, target={"type": "device", "id": device})
    runs = [t.run(task), t.run(task)]
    for run in runs:
        assert t.wait_end(run) == "completed"
    rows = t.sql("select id, run_id::text, destination, size_b, exact, normalised, exact_hash, device_name "
                 "from takt.snapshot order by length(id), id")
    first = rows[0][0]
    assert re.fullmatch(r"snap-\d{8}-\d{6}-core-rtr-01", first)
    assert [r[0] for r in rows] == [first, first + "-2"]
    assert [r[1] for r in rows] == runs
    for _, run, destination, size_b, exact, normalised, _, name in rows:
        assert (destination, size_b, name) == ("nightly", len(CONFIG), "core-rtr-01.example.net")
        plain = subprocess.run(["zstd", "-dcq"], input=bytes(normalised), capture_output=True, check=True).stdout
        assert plain.decode() == CONFIG
        assert b"hostname" not in bytes(exact)
        finished = next(e for e in t.events(run) if e["type"] == "unit_finished")
        assert finished["snapshot_id"] == t.one("select snapshot_id from takt.unit where run_id = %s", run)
    assert rows[0][6] == rows[1][6] and len(rows[0][6]) == 32
    assert rows[0][4] != rows[1][4]


def test_a_failed_unit_keeps_no_snapshot(t):
    device = t.device("bad")
    run = t.run(t.task("witness_each", {"config": CONFIG, "fail": "incomplete", "rc": -200},
                       target={"type": "device", "id": device}))
    assert t.wait_end(run) == "failed"
    assert t.one("select count(*) from takt.snapshot where run_id = %s", run) == 0


def test_a_plugin_that_goes_away_refuses_its_units(t):
    """The type was offered when the run was claimed, then the executor came back without it."""
    task = t.task("witness", {"steps": 1})
    t.executor_process.kill()
    t.executor_process.wait()
    t.plugins = ("plugins/hello",)
    t.start_executor()
    wait_until(lambda: t.one("select count(*) from takt.plugin where file like '%%witness%%'") == 0, 30,
               "the plugin to be forgotten")
    run = t.run(task)
    assert t.wait_end(t.run(t.task("hello"))) == "completed"
    assert t.state_of(run) == "queued"
    t.executor_process.kill()
    t.executor_process.wait()
    t.plugins = ("plugins/hello", "tests/plugins")
    t.start_executor()
    assert t.wait_end(run) == "completed"


def test_reload_takes_a_good_file_and_refuses_a_bad_one(t):
    conf = t.root / "taktd.conf"
    good = conf.read_text()
    conf.write_text(good + "\nmax_units = nonsense\n")
    t.engine_process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration stays as it is" in (t.root / "engine.log").read_text(), 30, "the refusal")
    t.max_units = 16
    t.write_conf()
    t.engine_process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration read again" in (t.root / "engine.log").read_text(), 30, "the reload")
    file = t.root / "sixteen"
    runs = [t.run(t.task("witness", {"file": str(file), "steps": 1, "step_ms": 2000})) for _ in range(12)]
    for run in runs:
        assert t.wait_end(run) == "completed"
    phases = [line["phase"] for line in t.witness(file)]
    assert phases.index("end") > 8


def test_the_host_key_policy_and_known_keys_do_not_disturb_types_without_them(t):
    device = t.device("keys")
    t.sql("insert into takt.host_key (device_id, org_id, key_type, public_key, fingerprint, learned_by) "
          "values (%s, %s, 'ssh-ed25519', 'AAAA', 'SHA256:x', 'tester')", device, t.org)
    run = t.run(t.task("witness_each", {}, target={"type": "device", "id": device}))
    assert t.wait_end(run) == "completed"


def test_a_flood_of_output_is_cut_in_the_middle_and_counted(t):
    task = t.task("witness", {"label": "f", "steps": 30, "output_b": 500000}, overlap="parallel")
    runs = [t.run(task) for _ in range(4)]
    for run in runs:
        assert t.wait_end(run) == "completed"
        stored, cut, total = t.sql(
            "select (select sum(raw_b) from takt.output o where o.run_id = u.run_id), output_cut_b, output_b "
            "from takt.unit u where run_id = %s", run)[0]
        assert cut > 0 and stored <= 9 << 20 and total > 30 * 500000
        assert stored + cut == total
        assert any(e["type"] == "output" and e.get("cut_b") == cut for e in t.events(run))
        first, last = t.sql("select min(off), max(off + raw_b) from takt.output where run_id = %s", run)[0]
        assert (first, last) == (0, total)


def test_reload_takes_the_format_and_leaves_an_option_of_the_command_line(t):
    log = t.root / "engine.log"
    t.kill_engine(signal.SIGTERM)
    t.engine_process = t._spawn("engine", [str(BUILD / "taktd"), "-x", "engine", "-d", "-c", str(t.root / "taktd.conf")])
    wait_until(lambda: "recovered:" in log.read_text()[-3000:], 30, "the engine")
    t.write_conf(log_level="error", log_format="json")
    t.engine_process.send_signal(signal.SIGHUP)
    assert t.wait_end(t.run(t.task("witness", {"steps": 1}))) == "completed"
    last = log.read_text().splitlines()[-5:]
    wait_until(lambda: '"level":"debug"' in log.read_text(), 30, f"debug lines in JSON, not {last}")
