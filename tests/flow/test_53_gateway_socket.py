# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Phoenix Channels, frame by frame: what a client of any kind may send, and what it must get."""
import base64
import json
import pathlib
import struct
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from gateway import FakeEngine, Rig, uuid7  # noqa: E402
from pg import wait_until  # noqa: E402
from rawws import Closed, Refused, Ws  # noqa: E402


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        r.org("other")
        yield r


class Sock:
    def __init__(self, rig, role="viewer", org="default", query="vsn=2.0.0", headers=None, rcvbuf=None):
        headers = [f"Authorization: Bearer {rig.token(role, org)}"] if headers is None else headers
        self.ws = Ws(rig.port, f"/socket/websocket?{query}", headers, rcvbuf)

    def send(self, *frame):
        self.ws.send(json.dumps(list(frame)))
        return self

    def recv(self, limit=30):
        return json.loads(self.ws.recv(timeout=limit))

    def join(self, topic, ref="1", **payload):
        self.send(ref, ref, topic, "phx_join", payload)
        return self.reply(ref)

    def reply(self, ref):
        """The payload of the reply to ref; events before it are kept out."""
        while True:
            frame = self.recv()
            if frame[1] == ref and frame[3] == "phx_reply":
                return frame[4]

    def silent(self):
        """Nothing but the answer to a heartbeat comes."""
        self.send(None, "hb", "phoenix", "heartbeat", {})
        return self.recv() == [None, "hb", "phoenix", "phx_reply", {"status": "ok", "response": {}}]

    def closed(self, limit=40):
        """The close code; frames before it are dropped."""
        end = time.monotonic() + limit
        while True:
            try:
                self.ws.recv(timeout=max(0.1, end - time.monotonic()))
            except Closed as e:
                return e.code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ws.close()


def test_token_in_every_place(rig):
    token = rig.token("viewer")
    b64 = base64.b64encode(token.encode()).decode().rstrip("=")
    bearer = f"Authorization: Bearer {token}"
    for headers, query, protocol in (
            ([bearer], "vsn=2.0.0", None), ([], f"vsn=2.0.0&token={token}", None),
            ([f"Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.{b64}"], "vsn=2.0.0", "phoenix"),
            ([bearer, "Sec-WebSocket-Protocol: phoenix"], "vsn=2.0.0", "phoenix"),
            ([bearer, "Origin: https://elsewhere.example"], "vsn=2.0.0", None)):
        with Sock(rig, headers=headers, query=query) as s:
            assert s.ws.headers.get("sec-websocket-protocol") == protocol and s.silent()
            assert "sec-websocket-extensions" not in s.ws.headers


def test_refused_upgrades(rig):
    bearer = [f"Authorization: Bearer {rig.token('viewer')}"]
    for headers, query, status in (([], "vsn=2.0.0", 401), ([], "vsn=2.0.0&token=takt_%ff", 401), (["Authorization: Basic eDp5"], "vsn=2.0.0", 401), (bearer, "vsn=3.0.0", 403)):
        with pytest.raises(Refused) as e:
            Sock(rig, headers=headers, query=query)
        assert e.value.status == status
    for path in ("/socket/longpoll", "/api/v1/tasks", "/", "/socket/websocket/x"):
        with pytest.raises(Refused) as e:
            Ws(rig.port, path, bearer)
        assert e.value.status == 404
    with Sock(rig, headers=["Authorization: Bearer takt_" + "A" * 43]) as s:
        assert s.closed() == 1008


def test_heartbeat_join_leave(rig):
    task = rig.task("socket")
    with Sock(rig) as s:
        assert s.silent()
        s.send("7", "8", f"task:{task}", "phx_join", {})
        frame = s.recv()
        assert frame[:4] == ["7", "8", f"task:{task}", "phx_reply"] and frame[4]["status"] == "ok"
        assert set(frame[4]["response"]) == {"snapshot", "cursor", "resumed", "gap"}
        rig.engine.run(task)
        assert s.recv()[:4] == ["7", None, f"task:{task}", "task_created"]
        s.send("7", "9", f"task:{task}", "cancel", {"reason": "x"})
        assert s.reply("9")["status"] == "error"
        s.send("6", "10", f"task:{task}", "cancel", {})  # a join_ref of the past: ignored
        assert s.silent()
        s.send("6", "11", f"task:{task}", "phx_leave", {})
        assert s.reply("11")["status"] == "ok"  # ... and it does not end the channel
        rig.engine.run(task)
        assert s.recv()[3] == "task_created"
        s.send("7", "12", f"task:{task}", "phx_leave", {})
        assert s.recv() == ["7", "12", f"task:{task}", "phx_reply", {"status": "ok", "response": {}}]
        assert s.recv() == ["7", "7", f"task:{task}", "phx_close", {}]
        s.send("7", "13", f"task:{task}", "phx_leave", {})
        assert s.reply("13")["status"] == "ok"
        s.send("7", "14", f"task:{task}", "anything", {})
        assert s.reply("14") == {"status": "error", "response": {"reason": "unmatched topic"}}
        rig.engine.run(task)
        assert s.silent()


def test_second_join_closes_the_first(rig):
    task = rig.task("twice")
    with Sock(rig) as s:
        assert s.join(f"task:{task}", "1")["status"] == "ok"
        s.send("5", "6", f"task:{task}", "phx_join", {})
        assert s.recv() == ["1", "1", f"task:{task}", "phx_close", {}]
        assert s.recv()[:2] == ["5", "6"]
        rig.engine.run(task)
        assert s.recv()[:2] == ["5", None] and s.silent()


def test_refused_joins(rig):
    run = rig.engine.run(rig.task("refused"))
    theirs = rig.task("theirs", "other")
    with Sock(rig) as s:
        for i, (topic, payload, code) in enumerate((
                ("task:" + uuid7(), {}, 404), ("run:" + uuid7(), {}, 404), ("task:x", {}, 404), ("user:1", {}, 404), ("task", {}, 404),
                ("run:NOSUCH", {}, 404), ("task:" + theirs, {}, 404), ("run:" + run, {"since": "x"}, 422), ("run:" + run, {"since": -1}, 422),
                ("run:" + run, {"since": "v1.1-1"}, 422), ("run:" + run, {"since": "v1.2-1-1_1-1-1"}, 422), ("run:" + run, {"since": {}}, 422))):
            r = s.join(topic, str(i), **payload)
            assert r["status"] == "error" and r["response"]["code"] == code and r["response"]["retry"] is False, (topic, r)
        assert s.silent()


def test_another_organisation_hears_nothing(rig):
    task = rig.task("ours")
    with Sock(rig) as ours, Sock(rig, org="other") as other:
        assert ours.join(f"task:{task}")["status"] == "ok"
        assert other.join(f"task:{task}")["status"] == "error"
        run = rig.engine.run(task)
        assert other.join(f"run:{run}", "2")["status"] == "error"
        assert ours.recv()[3] == "task_created"
        rig.engine.events(run, [{"type": "progress"}])
        assert ours.recv()[3] == "progress" and other.silent()


@pytest.mark.parametrize("frame", ["{", "[]", "[1,2,3,4,5]", '["1","1","t","e"]', '[null,null,null,null,null]', "x" * 100, "[" * 1000,
                                   '["1","1",5,"e",{}]', '{"topic":"t"}', '["' + "r" * 65 + '","1","t","e",{}]'])
def test_malformed_frames_close_the_socket(rig, frame):
    with Sock(rig) as s:
        s.ws.send(frame)
        assert s.closed() == 1007


def test_frame_size(rig):
    with Sock(rig) as s:
        s.ws.send(json.dumps([None, "1", "phoenix", "heartbeat", {"x": ["y" * 100] * 500}]))
        assert s.recv()[1] == "1"
        s.ws.send(json.dumps([None, "2", "phoenix", "heartbeat", {"x": "y" * 65536}]))
        assert s.closed() == 1009


def test_frame_in_fragments_and_binary(rig):
    with Sock(rig) as s:
        text = json.dumps([None, "1", "phoenix", "heartbeat", {}])
        s.ws.send(text[:5], 1, False)
        s.ws.send(text[5:9], 0, False)
        s.ws.send(b"are you there", 9)
        s.ws.send(text[9:], 0)
        assert s.recv()[1] == "1"
        s.ws.send(b"\0\1\2\6\3" + b"310task:7bin\1\2\3", 2)
        assert s.silent()


def test_version_1_objects(rig):
    task = rig.task("old client")
    for query in ("vsn=1.0.0", "a=b"):
        with Sock(rig, query=query) as s:
            s.ws.send(json.dumps({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "1"}))
            assert s.recv() == {"topic": "phoenix", "event": "phx_reply", "ref": "1", "payload": {"status": "ok", "response": {}}}
            s.ws.send(json.dumps({"topic": f"task:{task}", "event": "phx_join", "payload": {}, "ref": "2"}))
            assert s.recv()["payload"]["status"] == "ok"
            run = rig.engine.run(task)
            frame = s.recv()
            assert frame["event"] == "task_created" and frame["payload"]["run_id"] == run
            rig.engine.finish(run)
            assert s.recv()["event"] == "task_completed"


def test_hundred_channels(rig):
    tasks = [rig.task(f"many {i}") for i in range(101)]
    with Sock(rig) as s:
        for i, task in enumerate(tasks[:100]):
            while (r := s.join(f"task:{task}", str(i)))["status"] != "ok":
                assert r["response"] == {"reason": "too many joins; wait ten seconds", "code": 429, "retry": True}
                time.sleep(0.5)
        r = s.join(f"task:{tasks[100]}", "x")
        while r["response"].get("retry"):
            time.sleep(0.5)
            r = s.join(f"task:{tasks[100]}", "x")
        assert r["response"]["code"] == 429 and r["response"]["retry"] is False


def test_joins_are_limited(rig):
    with Sock(rig) as s:
        answers = [s.join("task:" + uuid7(), str(i))["response"]["code"] for i in range(40)]
        assert answers[:20] == [404] * 20 and 429 in answers


def test_run_topic_by_number_code_and_cursor(rig):
    run = rig.engine.run(rig.task("numbered"))
    rig.engine.events(run, [{"type": "progress", "i": i} for i in range(2, 6)])
    code = rig.get(f"/runs/{run}", rig.token("viewer")).json()["code"]
    for name in (run, run.upper(), code, code.lower()):
        for since, first in ((0, 1), (3, 4), ("3", 4), ("v1.", 1), (5, 6)):
            with Sock(rig) as s:
                r = s.join(f"run:{name}", since=since)
                assert r["status"] == "ok" and r["response"]["resumed"] and r["response"]["snapshot"]["id"] == run
                got = [s.recv() for _ in range(first, 6)]
                assert [f[4]["seq"] for f in got] == list(range(first, 6)) and all(f[2] == f"run:{name}" for f in got)
                assert s.silent()
    with Sock(rig) as s:
        assert s.join(f"run:{code}")["response"] | {"snapshot": 0} == {"snapshot": 0, "cursor": "5", "resumed": False, "gap": False}
        rig.engine.events(run, [{"type": "progress"}])
        assert s.recv()[4]["seq"] == 6


def test_two_nodes_in_one_run(rig):
    """A run goes from one node to another and back; every cursor resumes exactly, whatever order the streams are in."""
    two = FakeEngine(rig.pg, "node-2")
    engines = [rig.engine, two]
    task = rig.task("moved")
    runs = [rig.engine.run(task) for _ in range(2)]
    with Sock(rig) as s:
        start = s.join(f"task:{task}", since="v1.")
        assert start["status"] == "ok"
        live = [s.recv() for _ in range(2)]
        for i in range(20):
            engines[i // 2 % 2].events(runs[i % 2], [{"type": "progress", "i": i}, {"type": "output", "i": i}])
        live += [s.recv() for _ in range(40)]
        assert s.silent()
    for run in runs:
        assert [f[4]["seq"] for f in live if f[4]["run_id"] == run] == list(range(1, 22))
    everything = {(f[4]["run_id"], f[4]["seq"]) for f in live}
    for i in range(0, 42, 5):
        with Sock(rig) as s:
            assert s.join(f"task:{task}", since=live[i][4]["cursor"])["response"]["resumed"]
            rest = [s.recv()[4] for _ in range(41 - i)]
            assert s.silent()
        seen = {(f[4]["run_id"], f[4]["seq"]) for f in live[:i + 1]}
        assert {(e["run_id"], e["seq"]) for e in rest} == everything - seen and len(rest) == 41 - i
        for run in runs:
            numbers = [e["seq"] for e in rest if e["run_id"] == run]
            assert numbers == sorted(numbers)
    two.close()


def many_events(engine, run, n):
    """n commits of one event each, as one transaction."""
    with engine.lock:
        for i in range(n):
            engine._event(run, [{"type": "progress", "i": i}])
        engine.c.commit()


def test_long_absence_is_replayed_whole(rig):
    """More rows than one page, again and again, and live events in between: each comes once, in order."""
    task = rig.task("long")
    run = rig.engine.run(task)
    many_events(rig.engine, run, 5100)
    for topic, since in ((f"run:{run}", 0), (f"run:{run}", "v1."), (f"task:{task}", "v1.")):
        with Sock(rig) as s:
            r = s.join(topic, since=since)["response"]
            assert r["gap"] is False and r["resumed"] is True
            seen = [s.recv()[4] for _ in range(1500)]
            rig.engine.events(run, [{"type": "progress"}, {"type": "progress"}])
            total = rig.get(f"/runs/{run}", rig.token("viewer")).json()["last_event"]
            seen += [s.recv()[4] for _ in range(total - 1500)]
            assert [e["seq"] for e in seen] == list(range(1, total + 1)) and s.silent()
            rig.engine.events(run, [{"type": "progress"}])
            assert s.recv()[4]["seq"] == total + 1
        for at in (999, 1000, 1001, 4321):  # every cursor leads on, also those at the edges of pages
            with Sock(rig) as s:
                assert s.join(topic, since=seen[at]["cursor"])["response"]["resumed"]
                assert [s.recv()[4]["seq"] for _ in range(total - at)] == list(range(at + 2, total + 2))


def test_long_absence_from_a_run_that_moves(rig):
    """Pages of two streams: what a run did on one node comes before what it did on the next."""
    two = FakeEngine(rig.pg, "node-two")
    task = rig.task("long and moved")
    runs = [rig.engine.run(task) for _ in range(2)]
    for i in range(12):
        many_events([rig.engine, two][i % 2], runs[i // 2 % 2], 250)
    for topics in ([f"task:{task}"], [f"run:{run}" for run in runs]):
        with Sock(rig) as s:
            for i, topic in enumerate(topics):
                assert s.join(topic, str(i), since="v1.")["response"]["gap"] is False
                seen = [s.recv()[4] for _ in range(3002 // len(topics))]
                for run in runs if len(topics) == 1 else [topic[4:]]:
                    assert [e["seq"] for e in seen if e["run_id"] == run] == list(range(1, 1502))
            assert s.silent()
    two.close()


def test_decisions_without_a_run_are_the_task_s(rig):
    task = rig.task("decided")
    with Sock(rig) as s:
        s.join(f"task:{task}")
        event = rig.engine.decision(task)
        live = s.recv()
        assert live[2:4] == [f"task:{task}", "occurrence_skipped"]
        assert {k: live[4][k] for k in ("run_id", "event_id", "task_id", "seq", "rule")} == {
            "run_id": None, "event_id": event, "task_id": task, "seq": 1, "rule": "overlap.skip"}
        assert s.join(f"run:{event}", "2")["response"]["code"] == 404
    with Sock(rig) as s:
        s.join(f"task:{task}", since="v1.")
        again = s.recv()[4]
        # a cursor names every stream that its socket knows of
        assert {**again, "cursor": ""} == {**live[4], "cursor": ""} and s.silent()
    body = rig.get(f"/tasks/{task}/timeline", rig.token("viewer")).json()
    assert body["run"] is None and [d["event_id"] for d in body["decisions"]] == [event]
    assert rig.get(f"/runs/{event}", rig.token("viewer")).status_code == 404


def test_commit_of_many_and_deep_values(rig):
    """What plugins may say at once comes whole, live and replayed: 600,000 values, 34 levels, more than a connection holds."""
    deep = 1
    for _ in range(34):
        deep = {"a": deep}
    items = [{"type": "plugin_event", "data": [1] * 15000} for _ in range(40)] + [{"type": "plugin_event", "data": deep}]
    task = rig.task("big commit")
    run = rig.engine.run(task)
    with Sock(rig) as s:
        for ref, topic in enumerate((f"run:{run}", f"task:{task}")):
            s.join(topic, str(ref))
        rig.engine.events(run, items)
        rig.engine.events(run, [{"type": "progress"}])
        seen = {"0": [], "1": []}
        while not all(len(v) == 42 for v in seen.values()):
            frame = s.recv()
            seen[frame[0]].append(frame[4]["seq"])
        assert seen == {"0": list(range(2, 44)), "1": list(range(2, 44))} and s.silent()
    for topic, since in ((f"run:{run}", 0), (f"task:{task}", "v1.")):
        with Sock(rig) as s:
            r = s.join(topic, since=since)["response"]
            assert r["gap"] is False and r["resumed"] is True
            assert [s.recv()[4]["seq"] for _ in range(43)] == list(range(1, 44)) and s.silent()


def test_client_that_does_not_read_is_told_and_resumes(rig):
    """Its channel ends with phx_error; other clients are not held up; its cursor still leads on without a gap."""
    run = rig.engine.run(rig.task("slow"))
    total = 1200
    with Sock(rig, rcvbuf=4096) as slow, Sock(rig) as quick:
        for s in (slow, quick):
            assert s.join(f"run:{run}", since=0)["status"] == "ok"
        for i in range(2, total + 1):
            rig.engine.events(run, [{"type": "plugin_event", "blob": "x" * 5000}])
            assert quick.recv()[4]["seq"] == (1 if i == 2 else i - 1)
        assert quick.recv()[4]["seq"] == total
        seen = []
        while (frame := slow.recv())[3] != "phx_error":
            seen.append(frame[4])
        assert frame == ["1", "1", f"run:{run}", "phx_error", {"reason": "lagged", "code": 503, "retry": True}]
        assert [e["seq"] for e in seen] == list(range(1, len(seen) + 1)) and len(seen) < total
        r = slow.join(f"run:{run}", "2", since=seen[-1]["cursor"])
        assert r["status"] == "ok" and r["response"]["resumed"]
        assert [slow.recv()[4]["seq"] for _ in range(total - len(seen))] == list(range(len(seen) + 1, total + 1))


def test_client_that_never_reads_is_closed(rig):
    """Its close frame would wait for it forever."""
    with Sock(rig, rcvbuf=4096) as s:
        text = json.dumps([None, "1", "x" * 190, "x", {}]).encode()
        frame = bytes([0x81, 0x80 | 126]) + struct.pack(">H", len(text)) + b"\0\0\0\0" + text
        end = time.monotonic() + 90
        with pytest.raises(ConnectionError):
            while time.monotonic() < end:
                s.ws.s.sendall(frame * 20)


def test_revoked_token_ends_the_socket(rig):
    rig.org("leaving")
    with Sock(rig, org="leaving") as s:
        assert s.silent()
        rig.pg.sql("update takt.token set revoked_at = now() where actor = 'leaving-viewer'")
        end = time.monotonic() + 45
        code = None
        while code is None and time.monotonic() < end:
            try:
                s.ws.recv(timeout=1)
            except TimeoutError:
                continue
            except Closed as e:
                code = e.code
        assert code == 1008


def test_events_while_the_database_is_away():
    with Rig() as rig:
        task = rig.task()
        run = rig.engine.run(task)
        with Sock(rig) as s:
            assert s.join(f"run:{run}", since=0)["status"] == "ok" and s.recv()[4]["seq"] == 1
            rig.pg.stop()
            wait_until(lambda: "gateway" in rig.log_text() and not rig_ready(rig), what="the loss")
            assert s.join("task:" + uuid7(), "2")["response"] == {"reason": "the database cannot be reached", "code": 503, "retry": True}
            rig.pg.start()
            rig.engine.c = rig.pg.connect("takt_engine", autocommit=False)
            rig.engine.events(run, [{"type": "progress"}])
            assert s.recv(60)[4]["seq"] == 2
        assert rig.stop() == 0


def rig_ready(rig):
    import requests
    return requests.get(f"{rig.url}/readyz", timeout=10).status_code == 200
