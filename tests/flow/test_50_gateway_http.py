# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""HTTP framing as strangers send it, through raw sockets: nothing is read in two ways, nothing hangs, nothing crashes."""
import json
import pathlib
import re
import signal
import socket
import sys

import pytest
import requests
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from gateway import Rig  # noqa: E402
from pg import wait_until  # noqa: E402

BODY = b'{"name":"raw","task_type":"hello"}'


@pytest.fixture(scope="module")
def rig():
    with Rig() as r:
        yield r


class Raw:
    def __init__(self, rig):
        self.s = socket.create_connection(("127.0.0.1", rig.port), timeout=40)
        self.rest = b""

    def send(self, data):
        try:
            self.s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused already; the answer tells
        return self

    def answer(self):
        """(status, headers, body) of the next response; None if the connection ended without one."""
        while b"\r\n\r\n" not in self.rest:
            if not self._more():
                return None
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        n = int(headers.get("content-length", 0))
        while len(self.rest) < n:
            if not self._more():
                return None
        body, self.rest = self.rest[:n], self.rest[n:]
        return int(lines[0].split()[1]), headers, body

    def _more(self):
        try:
            data = self.s.recv(65536)
        except ConnectionResetError:
            data = b""
        self.rest += data
        return bool(data)

    def is_closed(self):
        while self._more():
            pass
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()


def post(rig, *headers, body=BODY, path="/api/v1/tasks"):
    lines = [f"POST {path} HTTP/1.1", f"Authorization: Bearer {rig.token('admin')}", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def tasks_named_raw(rig):
    return rig.pg.sql("select count(*) from takt.task where name like 'raw%'")[0][0]


LENGTH = f"Content-Length: {len(BODY)}"
REFUSED = {
    "no host": ([LENGTH], 400),
    "two hosts": (["Host: a", "Host: b", LENGTH], 400),
    "a host with a space": (["Host: a b", LENGTH], 400),
    "two different lengths": (["Host: a", LENGTH, "Content-Length: 2"], 400),
    "two equal lengths": (["Host: a", LENGTH, LENGTH], 400),
    "signed length": (["Host: a", f"Content-Length: +{len(BODY)}"], 400),
    "negative length": (["Host: a", "Content-Length: -1"], 400),
    "hexadecimal length": (["Host: a", "Content-Length: 0x10"], 400),
    "length list": (["Host: a", f"Content-Length: {len(BODY)}, {len(BODY)}"], 400),
    "chunked": (["Host: a", "Transfer-Encoding: chunked"], 411),
    "chunked and length": (["Host: a", "Transfer-Encoding: chunked", "Content-Length: 0"], 411),
    "length and chunked": (["Host: a", LENGTH, "Transfer-Encoding: chunked"], 411),
    "identity encoding": (["Host: a", LENGTH, "Transfer-Encoding: identity"], 411),
    "expect": (["Host: a", LENGTH, "Expect: 100-continue"], 417),
    "huge length": (["Host: a", "Content-Length: 1048577"], 413),
    "length beyond all": (["Host: a", "Content-Length: 99999999999999999999"], 413),
}


@pytest.mark.parametrize("case", REFUSED)
def test_framing_is_refused(rig, case):
    headers, status = REFUSED[case]
    smuggled = f"GET /api/v1/whoami HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {rig.token('admin')}\r\n\r\n".encode()
    before = tasks_named_raw(rig)
    with Raw(rig) as raw:
        got = raw.send(post(rig, *headers) + smuggled).answer()
        assert got is not None, "no answer"
        assert got[0] == status
        assert got[1]["content-type"] == "application/problem+json" and json.loads(got[2])["status"] == status
        assert raw.is_closed() and not raw.rest, "the connection goes on after a refusal"
    assert tasks_named_raw(rig) == before


@pytest.mark.parametrize("upgrade", ["h2c", "h2c, websocket", "websocket2", "foo", "TLS/1.0"])
def test_no_upgrade_but_websocket(rig, upgrade):
    with Raw(rig) as raw:
        got = raw.send(f"GET /api/v1/healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n"
                       "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n".encode()).answer()
        assert got is None or got[0] != 101
        assert raw.is_closed()


def test_no_http2(rig):
    with Raw(rig) as raw:
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        assert raw.is_closed() and b"\0\0" not in raw.rest[:9]


@pytest.mark.parametrize("what", [b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50,
                                  b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", b"POST  HTTP/1.1\r\n\r\n",
                                  b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
                                  b"GET /api/v1/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
                                  b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
                                  b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_nonsense_gets_no_success(rig, what):
    with Raw(rig) as raw:
        raw.send(what)
        raw.s.shutdown(socket.SHUT_WR)
        got = raw.answer()
        assert got is None or got[0] >= 400
    assert requests.get(f"{rig.url}/healthz", timeout=10).status_code == 200


def test_huge_header_and_many_headers(rig):
    for head in (b"X-A: " + b"a" * 20000, b"\r\n".join(b"X-%d: %s" % (i, b"b" * 90) for i in range(200)),
                 b"Authorization: Bearer " + b"c" * 7000):
        with Raw(rig) as raw:
            got = raw.send(b"GET /api/v1/whoami HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n").answer()
            assert got is None or got[0] >= 400


def test_slow_head_is_given_up(rig):
    with Raw(rig) as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\nHo")
        assert raw.is_closed()  # the socket's own limit is 40 s


def test_slow_body_is_given_up(rig):
    with Raw(rig) as raw:
        raw.send(post(rig, "Host: a", LENGTH, body=b'{"na'))
        assert raw.is_closed()
    assert requests.get(f"{rig.url}/healthz", timeout=10).status_code == 200


def test_body_in_pieces(rig):
    with Raw(rig) as raw:
        data = post(rig, "Host: a", LENGTH, body=BODY.replace(b"raw", b"rar"))
        for i in range(0, len(data), 7):
            raw.send(data[i:i + 7])
        assert raw.answer()[0] == 201


def test_pipelined_gets_all_answered_in_order(rig):
    with Raw(rig) as raw:
        auth = f"Host: a\r\nAuthorization: Bearer {rig.token('viewer')}\r\n\r\n"
        paths = ["/api/v1/whoami", "/healthz", "/api/v1/nodes", "/nothing", "/api/v1/platforms", "/api/v1/tasks"]
        raw.send("".join(f"GET {p} HTTP/1.1\r\n{auth}" for p in paths).encode())
        answers = [raw.answer() for _ in paths]
        assert [a[0] for a in answers] == [200, 200, 200, 404, 200, 200]
        assert b"actor" in answers[0][2] and b"database" in answers[1][2] and b'"frr"' in answers[4][2]


def test_pipelined_posts_first_answered_then_closed(rig):
    """What follows a body is not read: the client is told by `Connection: close`, not left hanging."""
    with Raw(rig) as raw:
        one = post(rig, "Host: a", LENGTH, body=BODY.replace(b"raw", b"ra1"))
        two = post(rig, "Host: a", LENGTH, body=BODY.replace(b"raw", b"ra2"))
        got = raw.send(one + two).answer()
        assert got[0] == 201 and got[1]["connection"] == "close"
        assert raw.is_closed() and not raw.rest
    assert rig.pg.sql("select name from takt.task where name in ('ra1', 'ra2')") == [("ra1",)]


def test_keepalive_after_get(rig):
    with requests.Session() as s:
        for _ in range(20):
            assert s.get(f"{rig.url}/api/v1/nodes", headers={"Authorization": f"Bearer {rig.token('viewer')}"},
                         timeout=10).status_code == 200


def test_head_that_is_refused_says_that_the_connection_ends(rig):
    """A client that keeps connections must not send its next request into one that is being closed."""
    r = Raw(rig)
    status, headers, _ = r.send(f"GET /api/v1/healthz?x={'y' * 3000} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).answer()
    assert status == 400 and headers["connection"] == "close" and r.answer() is None


def test_reload_changes_level_and_format():
    with Rig() as rig:
        conf = pathlib.Path(rig.root, "taktd.conf")
        conf.write_text(conf.read_text().replace("log_level = debug", "log_level = info\nlog_format = json"))
        rig.process.send_signal(signal.SIGHUP)
        wait_until(lambda: rig.log_text().rstrip().endswith("}"), what="a line of JSON")
        assert "configuration read again" in str(json.loads(rig.log_text().splitlines()[-1]))
        rig.get("/healthz", None)
        assert "healthz" not in rig.log_text().splitlines()[-1]


def test_flood_of_unknown_tokens(rig):
    """It stops at the gateway, and who was known before is served on."""
    viewer, late = rig.token("viewer"), rig.token("operator")
    assert rig.get("/whoami", viewer).status_code == 200
    answers = [rig.get("/whoami", f"takt_{i:043}").status_code for i in range(120)]
    assert answers[:100] == [401] * 100 and answers[-1] == 429
    assert rig.get("/whoami", viewer).status_code == 200
    r = rig.get("/whoami", late)
    assert r.status_code == 429 and r.json()["code"] == "too_many_failures" and r.headers["Retry-After"]
    wait_until(lambda: rig.get("/whoami", late).status_code == 200, what="the end of the window")


def test_more_connections_than_descriptors():
    """They are turned away before descriptors run out: libwebsockets would spin on accept and log each time."""
    with Rig(start=False) as rig:
        taktd = rig.command()
        rig.command = lambda: ["sh", "-c", 'ulimit -n 64 && exec "$0" "$@"', *taktd]
        rig.start()
        crowd = [Raw(rig) for _ in range(100)]
        assert crowd[-1].is_closed()
        assert crowd[0].send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").answer()[0] == 200
        for raw in crowd:
            raw.s.close()
        wait_until(lambda: rig.is_ready(), what="room for others")
        assert "accept" not in rig.log_text()


def test_headers_that_are_no_text_are_refused_not_passed_over(rig):
    """A token of such bytes is none, for everybody; a condition of such bytes is not the absence of one."""
    task = rig.task("raw headers")
    token = rig.token("admin").encode()

    def ask(line, *headers, body=b""):
        lines = [line.encode() + b" HTTP/1.1", b"Host: a", b"Content-Type: application/json",
                 b"Content-Length: %d" % len(body), *headers]
        with Raw(rig) as raw:
            status, _, answer = raw.send(b"\r\n".join(lines) + b"\r\n\r\n" + body).answer()
            return status, json.loads(answer)["code"]
    good = b"Authorization: Bearer " + token
    assert ask("GET /api/v1/whoami", b"Authorization: Bearer takt_\xff\xfe") == (401, "unauthorized")
    for value in (b'"\xff\xfe"', b"x" * 101):
        for line in (f"PATCH /api/v1/tasks/{task}", f"DELETE /api/v1/tasks/{task}"):
            assert ask(line, good, b"If-Match: " + value, body=b"" if "DEL" in line else b'{"name":"renamed"}') == (400, "if_match")
    for value in (b"\xff\xfe", b"x" * 201):
        assert ask(f"POST /api/v1/tasks/{task}/run", good, b"Idempotency-Key: " + value) == (400, "idempotency_key")
    assert rig.get(f"/tasks/{task}", rig.token("viewer")).json()["name"] == "raw headers"
    assert rig.pg.sql("select count(*) from takt.command where body ->> 'task_id' = %s", (task,)) == [(0,)]
    assert " error " not in rig.log_text()


def test_post_without_length_is_an_empty_body(rig):
    with Raw(rig) as raw:
        got = raw.send(f"POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {rig.token('admin')}\r\n\r\n".encode()).answer()
        assert got[0] == 422


def test_body_of_one_mebibyte_is_the_limit(rig):
    pad = 1024 * 1024 - len('{"name":"big","task_type":"hello","description":""}')
    body = '{"name":"big","task_type":"hello","description":"' + "x" * pad + '"}'
    assert len(body) == 1024 * 1024
    r = rig.request("POST", "/tasks", rig.token("admin"), data=body, headers={"Content-Type": "application/json"})
    assert r.status_code == 422 and r.json()["errors"][0]["pointer"] == "/description"
    with Raw(rig) as raw:
        got = raw.send(post(rig, "Host: a", f"Content-Length: {len(body) + 1}", body=b"")).answer()
        assert got[0] == 413


@pytest.mark.parametrize("body", [b"[" * 100000, b'{"a":' * 20000, b"[" + b"1," * 300000 + b"1]", b'{"name":"a","name":"b"}',
                                  b'{"name":"\\u0000"}', b"{", b"", b"null", b"[]", b'"x"', b'{"name":"\xff"}', b'{"name":1e999}',
                                  b'{"name":"\\ud800"}', b"\xef\xbb\xbf{}", b"{} {}"])
def test_hostile_json_is_refused(rig, body):
    r = rig.request("POST", "/tasks", rig.token("admin"), data=body, headers={"Content-Type": "application/json"})
    assert r.status_code in (400, 413, 422), r.text
    assert r.headers["Content-Type"] == "application/problem+json"


def test_media_type(rig):
    for kind, status in (("text/plain", 415), ("application/x-www-form-urlencoded", 415), (None, 415), ("application/jsonx", 415),
                         ("application/json; charset=utf-8", 201)):
        r = rig.request("POST", "/tasks", rig.token("admin"), data=b'{"name":"media","task_type":"hello"}',
                        headers={"Content-Type": kind} if kind else {})
        assert r.status_code == status, (kind, r.text)


def test_problem_form_and_headers(rig):
    r = rig.get("/nothing/here", None)
    assert r.status_code == 404 and r.headers["Content-Type"] == "application/problem+json"
    assert set(r.json()) >= {"type", "title", "status", "code", "detail", "request_id"}
    assert r.headers["X-Request-Id"] == r.json()["request_id"] and r.headers["Cache-Control"] == "no-store"
    r = rig.request("PATCH", "/tasks", rig.token("admin"))
    assert r.status_code == 405 and "GET, POST" in r.json()["detail"]
    r = rig.get("/tasks", None)
    assert r.status_code == 401 and r.headers["WWW-Authenticate"] == "Bearer"
    for bad in ("takt_", "x", "Bearer", "takt_" + "a" * 43, "takt_" + "a" * 200, "'; drop table takt.task; --"):
        assert rig.get("/tasks", bad).status_code == 401


def test_contract_is_served(rig):
    for path in ("/openapi.yaml", "/api/v1/openapi.yaml", "/asyncapi.yaml", "/api/v1/asyncapi.yaml"):
        r = requests.get(rig.url + path, timeout=10)
        assert r.status_code == 200 and r.headers["Content-Type"] == "application/yaml"
        source = pathlib.Path(__file__).resolve().parents[2] / path.rsplit("/", 1)[1]
        assert r.content == source.read_bytes()
        yaml.safe_load(r.text)


def test_no_token_in_the_log(rig):
    rig.get("/tasks", rig.token("viewer"))
    requests.get(f"{rig.url}/api/v1/tasks?token={rig.token('viewer')}", timeout=10)
    log = rig.log_text()
    assert "GET /api/v1/tasks" in log
    assert not any(t in log for t in rig.tokens.values())
    assert not re.search(r"takt_[A-Za-z0-9_-]{40}", log)


def test_database_down_and_back():
    with Rig() as rig:
        task = rig.task()
        rig.pg.stop()
        wait_until(lambda: requests.get(f"{rig.url}/healthz", timeout=10).json()["database"] is False, what="health to say so")
        r = requests.get(f"{rig.url}/healthz", timeout=10)
        assert r.status_code == 200 and r.json()["status"] == "degraded"
        assert requests.get(f"{rig.url}/readyz", timeout=10).status_code == 503
        r = rig.get(f"/tasks/{task}", rig.token("viewer"))
        assert r.status_code == 503 and r.headers["Retry-After"] and r.json()["code"] == "unavailable"
        rig.pg.start()
        wait_until(lambda: rig.get(f"/tasks/{task}", rig.token("viewer")).status_code == 200, what="the database again")
        rig.engine.c = rig.pg.connect("takt_engine", autocommit=False)
        assert rig.stop() == 0


def test_port_taken_says_so(rig):
    import subprocess
    r = subprocess.run([*rig.command(), "-c", f"{rig.root}/taktd.conf"], capture_output=True, text=True, timeout=30, check=False)
    assert r.returncode != 0 and "cannot listen" in r.stderr
