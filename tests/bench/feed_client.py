# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A WebSocket client of one task's topic that writes down each event it gets: feed_client.py PORT TOKEN_FILE TASK OUT.

OUT: a line an event, `microseconds run seq`; the line `joined` after each join. When the connection ends it comes
back with its cursor, as asyncapi.yaml says. Ends with SIGTERM.
"""
import asyncio
import contextlib
import json
import pathlib
import signal
import sys
import time

import websockets

HEARTBEAT_S = 20
FRAMING = {"phx_reply", "phx_error", "phx_close"}


async def beat(ws):
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        await ws.send(json.dumps([None, "hb", "phoenix", "heartbeat", {}]))


class Follower:
    """Keeps its cursor over connections."""

    def __init__(self, topic, out):
        self.topic, self.out, self.cursor = topic, out, None

    def joined(self, payload):
        """False: later again."""
        if payload["status"] != "ok" and payload["response"].get("retry"):
            return False
        if payload["status"] != "ok" or payload["response"]["gap"]:
            raise SystemExit(f"join refused: {payload}")
        self.cursor = self.cursor or payload["response"]["cursor"]
        self.out.write("joined\n")
        return True

    async def follow(self, ws):
        """Until it must be joined again."""
        await ws.send(json.dumps(["1", "1", self.topic, "phx_join", {"since": self.cursor} if self.cursor else {}]))
        async for text in ws:
            at_us = time.time_ns() // 1000
            _, ref, about, event, payload = json.loads(text)
            if event == "phx_error":
                return  # lagged
            if event == "phx_reply" and ref == "1":
                if not self.joined(payload):
                    return
            elif about == self.topic and event not in FRAMING:
                self.out.write(f"{at_us} {payload['run_id']} {payload['seq']}\n")
                self.cursor = payload["cursor"]


async def main(port, token_file, task, out):
    head = {"Authorization": "Bearer " + pathlib.Path(token_file).read_text(encoding="utf-8").strip()}
    follower = Follower(f"task:{task}", out)
    while True:
        with contextlib.suppress(OSError, websockets.WebSocketException, asyncio.TimeoutError):
            async with websockets.connect(f"ws://127.0.0.1:{port}/socket/websocket?vsn=2.0.0", extra_headers=head,
                                          compression=None, ping_interval=None) as ws:
                beating = asyncio.create_task(beat(ws))
                try:
                    await follower.follow(ws)
                finally:
                    beating.cancel()
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open(sys.argv[4], "w", encoding="utf-8", buffering=1) as opened:
        asyncio.run(main(*sys.argv[1:4], opened))
