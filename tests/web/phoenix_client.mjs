// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
//
// The official phoenix client, unchanged, driven by tests/flow/test_5*_gateway_*.py:
//
//   node phoenix_client.mjs URL TOKEN TOPIC authToken|param [SINCE]
//
// Joins TOPIC with the cursor of the last event it has handled and says what happens, a JSON line each. Lines on its
// standard input: `cut` destroys the TCP connection under the client, `leave` leaves, `quit` ends.
import { createInterface } from "node:readline";
import { Socket } from "phoenix";
import WebSocket from "ws";

const [url, token, topic, how, first] = process.argv.slice(2);
let since = first ?? null;
let last = null;
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

class Transport extends WebSocket {
	constructor(address, protocols) {
		super(address, protocols);
		last = this;
		this.on("open", () => say({ open: this.protocol }));
		this.on("close", (code, reason) => say({ closed: code, reason: String(reason) }));
		this.on("error", () => {});
	}
}

const options = { transport: Transport, heartbeatIntervalMs: 5000, reconnectAfterMs: () => 100, rejoinAfterMs: () => 100 };
if (how === "authToken") options.authToken = token;
else options.params = { token };
const socket = new Socket(url, options);
// Params as a function: asked again at each rejoin, so the client goes on where it was.
const channel = socket.channel(topic, () => (since === null ? {} : { since }));
// Every event of every name passes here; replies are the client's own business.
channel.onMessage = (event, payload) => {
	if (payload && payload.cursor && payload.seq) {
		since = payload.cursor;
		say({ event, payload });
	}
	return payload;
};
channel.onError((reason) => say({ error: reason ?? null }));
channel.onClose(() => say({ left: true }));
channel
	.join()
	.receive("ok", (response) => {
		if (since === null) since = response.cursor;
		say({ joined: response });
	})
	.receive("error", (response) => say({ refused: response }))
	.receive("timeout", () => say({ timeout: true }));
socket.connect();

createInterface({ input: process.stdin }).on("line", (line) => {
	if (line === "cut") last._socket.destroy();
	else if (line === "leave") channel.leave().receive("ok", () => say({ leaving: true }));
	else if (line === "heartbeat") socket.ping((ms) => say({ pong: ms }));
	else process.exit(0);
});
process.stdin.on("end", () => process.exit(0));
