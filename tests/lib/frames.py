# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
Frames in Python, written from lib/frame/frame.h: a second implementation that the flow tests speak
to the executor with, and a reader of units' files (`python3 tests/lib/frames.py FILE`).
"""
import array
import ctypes
import hmac
import json
import os
import re
import socket
import struct
import sys

FRAME_MAX = 65536
HEADER = struct.Struct('<IHHQ')
_DEF = os.path.join(os.path.dirname(__file__), '../../lib/frame/frame_types.def')
TYPES = {name: int(number) for name, number
         in re.findall(r'^FRAME\((\w+), (\d+)\)', open(_DEF, encoding='utf-8').read(), re.M)}
NAMES = {number: name for name, number in TYPES.items()}

_zstd = ctypes.CDLL('libzstd.so.1')
_zstd.ZSTD_decompress.restype = ctypes.c_size_t
_zstd.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


def unzstd(blob, raw_b):
    out = ctypes.create_string_buffer(raw_b or 1)
    n = _zstd.ZSTD_decompress(out, raw_b, blob, len(blob))
    assert n == raw_b, f'zstd gave {n}, {raw_b} were announced'
    return out.raw[:n]


class Frame:
    def __init__(self, kind, body, off=0):
        self.type = NAMES.get(kind, str(kind))
        self.off = off
        (n,) = struct.unpack_from('<I', body)
        self.json = json.loads(body[4:4 + n])
        self.blob = body[4 + n:]
        self.size = HEADER.size + len(body)

    def __repr__(self):
        return f'<{self.type} off={self.off} {self.json} blob={len(self.blob)}>'

    def inner(self):
        """The journal frame inside a JOURNAL or RESULT frame."""
        return Frame(self.json['type'], self.blob, self.off)


def encode(name, obj, blob=b'', off=0):
    text = json.dumps(obj).encode()
    body = struct.pack('<I', len(text)) + text + blob
    return HEADER.pack(len(body), TYPES[name], 1, off) + body


def decode(data):
    n, kind, version, off = HEADER.unpack_from(data)
    assert version == 1, f'version {version}'
    assert len(data) >= HEADER.size + n, 'frame is cut'
    return Frame(kind, data[HEADER.size:HEADER.size + n], off)


HEAD = 4096  # executor/unitfile.h
MARKS = {'claimed': 3072, 'durable': 3073, 'settled': 3074}


class UnitFile:
    """`units/<id>`: meta (identity and keeper), marks, journal, result; as it is now."""

    def __init__(self, path):
        self.path = path
        with open(path, 'rb') as f:
            head, size = f.read(HEAD), os.fstat(f.fileno()).st_size
        identity, keeper = (part.split(b'\0', 1)[0] for part in (head[:2048], head[2048:3072]))
        # A loss of power may have left nothing of the head.
        self.meta = {'tag': '', 'keeper_pid': 0, 'keeper_start': 0, **json.loads(identity or b'{}'), **json.loads(keeper or b'{}')}
        self.marks = {name for name, at in MARKS.items() if head[at:at + 1] == b'y'}
        self.result_at = struct.unpack_from('<Q', head.ljust(HEAD, b'\0'), 3080)[0]
        self.journal_b = (self.result_at or size) - HEAD

    def frames(self):
        """The journal's, then the result."""
        with open(self.path, 'rb') as f:
            data = f.read()[HEAD:]
        at = 0
        while at < len(data):
            frame = decode(data[at:])
            assert frame.off == at, f'frame at {at} says it is at {frame.off}'
            yield frame
            at += frame.size


def read_unit(path):
    """None while there is no such file."""
    try:
        return UnitFile(path)
    except FileNotFoundError:
        return None


def keeper_address(nonce):
    """Where the keeper of a unit listens (executor/meet.h)."""
    name = hmac.new(bytes.fromhex(nonce), b'socket:', 'sha512').digest()[:32].hex()
    return f'\0takt-keeper/{name}'


def write_keeper(path, pid, start):
    """Name a keeper in a unit's file; pid 0: none."""
    text = json.dumps({'keeper_pid': pid, 'keeper_start': start}).encode() if pid else b''
    with open(path, 'r+b') as f:
        f.seek(2048)
        f.write(text.ljust(1024, b'\0'))


class Peer:
    """One SEQPACKET connection that speaks frames: to the executor of a state directory, or to an address."""

    def __init__(self, directory, address=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # Through /proc, so that the directory's length does not count.
            self.sock.connect(address or f'/proc/self/fd/{fd}/executor.sock')
        except OSError:
            self.sock.close()
            raise
        finally:
            os.close(fd)

    def send(self, name, obj, fd=None, blob=b''):
        control = []
        if fd is not None:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))]
        self.sock.sendmsg([encode(name, obj, blob)], control)

    def send_raw(self, data):
        self.sock.send(data)

    def recv(self, timeout=30):
        """The next frame; None if the peer has gone; TimeoutError."""
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(FRAME_MAX)
        except ConnectionResetError:
            return None
        return decode(data) if data else None

    def close(self):
        self.sock.close()


if __name__ == '__main__':
    unit = UnitFile(sys.argv[1])
    print(json.dumps({k: v for k, v in unit.meta.items() if k != 'nonce'}), *sorted(unit.marks))
    for shown in unit.frames():
        print(shown.off, shown.type, json.dumps(shown.json), f'+{len(shown.blob)}' if shown.blob else '')
