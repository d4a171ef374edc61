# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What the database will not take, planted by a trigger: it ends its own unit and stops nobody else."""
import pathlib
import socket
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import frames  # noqa: E402
from engine import Engine  # noqa: E402
from pg import wait_until  # noqa: E402


@pytest.fixture(scope="module")
def t():
    with Engine() as engine:
        engine.sql("""create function takt.planted() returns trigger language plpgsql as $$
            begin raise exception 'planted' using errcode = '22P05'; end $$""")
        yield engine


def plant(t, table, when, condition):
    t.sql(f"create trigger planted before {when} on takt.{table} for each row when ({condition}) "
          "execute function takt.planted()")


def uproot(t, table):
    t.sql(f"drop trigger planted on takt.{table}")


def each(t, names, **parameters):
    group = t.group("g-" + names[0], [t.device(name) for name in names])
    return t.task("witness_each", parameters, target={"type": "device_group", "id": group})


def units(t, run):
    return t.sql("select device_name, state, error_class, error ->> 'code' from takt.unit where run_id = %s order by no",
                 run)


def test_one_unit_is_ended_the_others_are_recorded(t):
    file = t.root / "witness"
    plant(t, "event_batch", "insert", "new.items::text like '%poisoned%'")
    bad = t.run(each(t, ["r1", "r2", "r3"], fail="poisoned", fail_device="r2", rc=-200))
    good = [t.run(t.task("witness", {"steps": 20, "step_ms": 50, "output_b": 50, "label": "w", "file": str(file)}))
            for _ in range(4)]
    assert t.wait_end(bad) == "failed"
    assert units(t, bad) == [("r1", "passed", None, None), ("r2", "failed", "internal", "takt.record_refused"),
                             ("r3", "passed", None, None)]
    assert t.summary(bad)["message"] == "1 of 3 failed"
    refused = next(e for e in t.events(bad) if e.get("code") == "takt.record_refused")
    assert "22P05" in refused["message"] and "poisoned" not in str(t.events(bad))
    for run in good:
        assert t.wait_end(run) == "completed"
        assert t.output(run).count(b"\n") == 20
    wait_until(lambda: not list((t.state / "units").glob(f"{bad}.1.1")), 30, "the refused unit to be dropped")
    uproot(t, "event_batch")


def test_a_refused_unit_is_tried_again_as_the_task_says(t):
    plant(t, "output", "insert", "new.attempt = 1")
    run = t.run(t.task("witness", {"steps": 2}, max_retries=1))
    assert t.wait_end(run) == "completed"
    assert t.sql("select no, state, error_class from takt.attempt where run_id = %s order by no", run) == [
        (1, "failed", "internal"), (2, "passed", None)]
    assert t.output(run, attempt=2).count(b"\n") == 2
    uproot(t, "output")


def test_a_refused_snapshot_ends_its_unit(t):
    plant(t, "snapshot", "insert", "new.device_name = 's1'")
    run = t.run(each(t, ["s1", "s2"], config="hostname x\n"))
    assert t.wait_end(run) == "failed"
    assert units(t, run) == [("s1", "failed", "internal", "takt.record_refused"), ("s2", "passed", None, None)]
    assert t.one("select count(*) from takt.snapshot where run_id = %s", run) == 1
    uproot(t, "snapshot")


def test_a_snapshot_of_no_time_is_dated_by_its_result(t):
    run = t.run(each(t, ["t1"], config="hostname y\n", captured_at_us=2**62))
    assert t.wait_end(run) == "completed"
    assert t.one("select abs(extract(epoch from now() - captured_at)) < 600 from takt.snapshot where run_id = %s", run)


def test_a_run_that_cannot_be_recorded_at_all_waits_and_stops_nobody(t):
    plant(t, "unit_row", "update", "new.device_name = 'x1'")
    bad = t.run(each(t, ["x1", "x2"]))
    wait_until(lambda: f"run {bad} cannot be recorded" in t.logs(), 60, "the engine to give it up")
    good = t.run(t.task("witness", {"steps": 2}))
    assert t.wait_end(good) == "completed"
    uproot(t, "unit_row")
    # Nothing is lost: the executor still has it all.
    t.kill_engine()
    t.start_engine()
    assert t.wait_end(bad) == "completed"
    assert t.one("select count(*) from takt.attempt where run_id = %s", bad) == 1


def test_a_long_message_is_cut_between_characters(t):
    for why in ("ä" * 900, "x" + "ä" * 900, "€" * 600, "x" + "€" * 600, "xx" + "€" * 600):
        run = t.run(t.task("witness", {"fail": why, "rc": -200}))
        assert t.wait_end(run) == "failed"
        message = t.summary(run)["message"]
        assert len(message.encode()) > 390 and why.startswith(message)


class FakeExecutor:
    """Offers the type `odd` and answers every START with what it is told."""

    def __init__(self, state, answer):
        self.answer = answer
        self.starts = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(str(state / "executor.sock"))
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            while True:
                self.talk(self.socket.accept()[0])
        except OSError:
            return  # closed by the test

    def talk(self, peer):
        def send(name, obj):
            peer.send(frames.encode(name, obj))
        with peer:
            while data := peer.recv(frames.FRAME_MAX):
                frame = frames.decode(data)
                if frame.type == "HELLO":
                    send("HELLO", {"proto": 1, "version": "0", "boot_id": "x", "max_units": 9, "seal_ready": False})
                    send("PLUGIN", {"file": "odd.so", "status": "loaded", "reason": "", "name": "odd", "version": "1",
                                    "abi": "1.0", "digest": "", "types": [{"id": "odd", "version": "1", "caps": []}]})
                    send("READY", {})
                elif frame.type == "START":
                    self.starts.append(frame.json["unit"])
                    send("REFUSED", {"unit": frame.json["unit"], "epoch": frame.json["epoch"],
                                     "code": "plugin.unknown_type", "message": "as told", "hint": "", **self.answer})

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.mark.parametrize("name,attempts", [("unsupported", 1), ("parameters", 1), ("cancelled", 1), ("internal", 2),
                                           ("no such class", 2)])
def test_a_refusal_ends_the_unit_by_its_class(name, attempts):
    with Engine(executor=False) as t:
        fake = FakeExecutor(t.state, {"class": name})
        try:
            run = t.run(t.task("odd", max_retries=1))
            assert t.wait_end(run) == "failed"
            assert len(fake.starts) == attempts
            known = name if name != "no such class" else "internal"
            assert t.sql("select distinct error_class, error ->> 'code' from takt.unit where run_id = %s", run) == [
                (known, "plugin.unknown_type")]
        finally:
            fake.close()


def test_a_refusal_for_now_is_tried_until_the_deadline():
    with Engine(executor=False) as t:
        fake = FakeExecutor(t.state, {"class": "transient", "code": "executor.full"})
        try:
            run = t.run(t.task("odd", timeout_seconds=3))
            assert t.wait_end(run) == "timed_out"
            assert len(fake.starts) > 1 and set(fake.starts) == {f"{run}.1.0"}
            assert t.one("select error ->> 'code' from takt.unit where run_id = %s", run) == "takt.deadline"
        finally:
            fake.close()
