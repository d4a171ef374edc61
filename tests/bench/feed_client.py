# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A WebSocket client of one task's topic that writes down each event it gets: feed_client.py PORT TOKEN_FILE TASK OUT.

OUT: a line an event, `microseconds run seq`; the line `joined` after each join. The time is that of the read that
brought the frame's last byte: what Python needs to take frames apart is not the gateway's. When the connection ends it
comes back with its cursor, as asyncapi.yaml says. Ends with SIGTERM.
"""
import base64
import json
import os
import pathlib
import select
import signal
import socket
import struct
import sys
import time

HEARTBEAT_S = 20
FRAMING = {"phx_reply", "phx_error", "phx_close"}
TEXT, CLOSE = 1, 8


class Ended(Exception):
    """The connection is over, or to be joined again."""


class Connection:
    """A WebSocket without extensions: the little that the gateway speaks."""

    def __init__(self, port, token):
        self.socket, self.buffer, self.at_us = socket.create_connection(("127.0.0.1", port)), b"", 0
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(("GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                             f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
                             f"Authorization: Bearer {token}\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self.read(10)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise Ended

    def read(self, limit_s):
        """False: nothing came."""
        if not select.select([self.socket], [], [], limit_s)[0]:
            return False
        got = self.socket.recv(1 << 18)
        self.at_us = time.time_ns() // 1000
        if not got:
            raise Ended
        self.buffer += got
        return True

    def frames(self):
        """(opcode, payload) of all that is whole in the buffer."""
        at, view = 0, self.buffer
        while len(view) >= at + 2:
            n, head = view[at + 1] & 127, 2
            if n == 126:
                head = 4
                n = int.from_bytes(view[at + 2:at + 4], "big")
            elif n == 127:
                head = 10
                n = int.from_bytes(view[at + 2:at + 10], "big")
            if len(view) < at + head + n:
                break
            yield view[at] & 15, view[at + head:at + head + n]
            at += head + n
        self.buffer = view[at:]

    def send(self, message):
        """Text, masked with zeros."""
        body = json.dumps(message).encode()
        length = bytes([128 | len(body)]) if len(body) < 126 else bytes([254]) + struct.pack(">H", len(body))
        self.socket.sendall(bytes([128 | TEXT]) + length + bytes(4) + body)

    def close(self):
        self.socket.close()


class Follower:
    """Keeps its cursor over connections."""

    def __init__(self, topic, out):
        self.topic, self.out, self.cursor = topic, out, None

    def joined(self, payload):
        if payload["status"] != "ok" and payload["response"].get("retry"):
            raise Ended
        if payload["status"] != "ok" or payload["response"]["gap"]:
            raise SystemExit(f"join refused: {payload}")
        self.cursor = self.cursor or payload["response"]["cursor"]
        self.out.write("joined\n")

    def take(self, text, at_us):
        _, ref, about, event, payload = json.loads(text)
        if event == "phx_error":
            raise Ended  # lagged
        if event == "phx_reply" and ref == "1":
            self.joined(payload)
        elif about == self.topic and event not in FRAMING:
            self.out.write(f"{at_us} {payload['run_id']} {payload['seq']}\n")
            self.cursor = payload["cursor"]

    def follow(self, connection):
        """Until it must be joined again."""
        connection.send(["1", "1", self.topic, "phx_join", {"since": self.cursor} if self.cursor else {}])
        beat = time.monotonic() + HEARTBEAT_S
        while True:
            connection.read(1)
            for opcode, text in connection.frames():
                if opcode == CLOSE:
                    raise Ended
                self.take(text, connection.at_us)
            self.out.flush()
            if time.monotonic() > beat:
                beat = time.monotonic() + HEARTBEAT_S
                connection.send([None, "hb", "phoenix", "heartbeat", {}])


def main(port, token_file, task, out):
    token = pathlib.Path(token_file).read_text(encoding="utf-8").strip()
    follower = Follower(f"task:{task}", out)
    while True:
        connection = None
        try:
            connection = Connection(int(port), token)
            follower.follow(connection)
        except (OSError, Ended):
            pass
        finally:
            if connection:
                connection.close()
        time.sleep(0.05)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open(sys.argv[4], "w", encoding="utf-8") as opened:
        main(*sys.argv[1:4], opened)
