# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A WebSocket client of the plainest kind: every byte is the test's own, and nothing is read before it is asked for."""
import base64
import os
import socket
import struct
import time


class Closed(Exception):
    """The connection ended; .code is the close frame's, 1006 without one."""

    def __init__(self, code):
        super().__init__(f"closed with {code}")
        self.code = code


class Refused(Exception):
    """The upgrade was not made; .status is the HTTP answer's, 0 without one."""

    def __init__(self, status):
        super().__init__(f"refused with {status}")
        self.status = status


class Ws:
    def __init__(self, port, path, headers=(), rcvbuf=None):
        self.s = socket.socket()
        if rcvbuf:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.s.settimeout(30)
        self.s.connect(("127.0.0.1", port))
        self.rest = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: Upgrade", "Upgrade: websocket",
                 "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
                 "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", *headers]
        self.s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.rest:
            try:
                data = self.s.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                break
            self.rest += data
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        status = int(lines[0].split()[1]) if head else 0
        self.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        if status != 101:
            self.s.close()
            raise Refused(status)

    def send(self, data, opcode=1, fin=True):
        data = data.encode() if isinstance(data, str) else data
        n, mask = len(data), os.urandom(4)
        size = bytes([0x80 | n]) if n < 126 else bytes([0x80 | 126]) + struct.pack(">H", n) if n < 65536 else \
            bytes([0x80 | 127]) + struct.pack(">Q", n)
        pad = (mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(n, "big")
        try:
            self.s.sendall(bytes([(0x80 if fin else 0) | opcode]) + size + mask + masked)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the next recv tells how it ended

    def _take(self, n, end):
        while len(self.rest) < n:
            self.s.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self.s.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed(1006)
            self.rest += data
        out, self.rest = self.rest[:n], self.rest[n:]
        return out

    def recv(self, timeout=30):
        """The next message's text; TimeoutError, or Closed."""
        end = time.monotonic() + timeout
        message = b""
        while True:
            a, b = self._take(2, end)
            n = b & 0x7F
            n = struct.unpack(">H", self._take(2, end))[0] if n == 126 else \
                struct.unpack(">Q", self._take(8, end))[0] if n == 127 else n
            assert not b & 0x80 and not a & 0x70, "a server's frame is neither masked nor extended"
            data = self._take(n, end)
            if a & 0xF == 8:
                self.send(data[:2], 8)
                raise Closed(struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 1005)
            if a & 0xF == 9:
                self.send(data, 10)
            elif a & 0xF in (0, 1):
                message += data
                if a & 0x80:
                    return message.decode()

    def close(self):
        self.s.close()
