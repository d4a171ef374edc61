# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""The device library against a device that misbehaves as scripted (tests/lib/sshsim)."""
import base64
import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TAKT_BUILD", SOURCE / "build"))

CONFIG = """!
frr version 8.4.4
frr defaults traditional
hostname r1
password 8 S3cretLogin
!
ip route 10.0.0.0/8 Null0
!
router bgp 65001
 neighbor 192.0.2.1 remote-as 65002
 neighbor 192.0.2.1 password Bgp-S3cret
exit
!
end
"""
HEAD = "Building configuration...\n\nCurrent configuration:\n"
SHOW = "show running-config"
BANNER_START = "!\nfrr version 8.4.4\nhostname r1\n!\nbanner motd ^C\n  this is the\nend\n"
BANNER_REST = "  of the banner\n^C\n!\nrouter bgp 65001\nexit\n!\nend\n"


class Device:
    """One simulator process; probe() runs a session against it."""

    def __init__(self, tmp_path):
        self.tmp, self.sims = tmp_path, []

    def start(self, **script):
        path = self.tmp / f"script{len(self.sims)}.json"
        path.write_text(json.dumps(script))
        p = subprocess.Popen([BUILD / "tests/lib/sshsim/sshsim", path], stdout=subprocess.PIPE, text=True)
        self.sims.append(p)
        line = p.stdout.readline()
        assert line, "the simulator did not start"
        return int(line)

    def probe(self, port, known=(), policy="tofu", secret=None, platform="frr", platform_dirs=(), **more):
        spec = {"platform_dirs": [str(SOURCE / "conf/platforms.d"), *map(str, platform_dirs)],
                "target": {"id": "d", "name": "r1", "address": more.pop("address", "127.0.0.1"), "port": port,
                           "platform": platform},
                "secret": {"username": "u", "password": "pw"} if secret is None else secret,
                "host_key": {"policy": policy, "known": list(known)}, **more}
        path = self.tmp / "probe.json"
        path.write_text(json.dumps(spec))
        p = subprocess.run([BUILD / "tests/lib/devprobe", path], capture_output=True, text=True, timeout=120)
        assert p.stdout, p.stderr
        out = json.loads(p.stdout)
        assert "Sanitizer" not in p.stderr, p.stderr
        for value in spec["secret"].values():  # no secret in anything that is logged or reported
            if len(value) > 4:
                assert value not in json.dumps([out.get("message"), out.get("hint"), out["log"]])
        return out

    def fast(self, name="fast", **changes):
        """A copy of frr.conf with short limits."""
        text = (SOURCE / "conf/platforms.d/frr.conf").read_text()
        limits = dict(connect_timeout_ms=800, login_timeout_ms=1500, command_timeout_ms=1500, **changes)
        inner = "".join(f"\t{k} = {v}\n" for k, v in limits.items())
        folder = self.tmp / "platforms"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.conf").write_text(text.replace("session {\n", "session {\n" + inner))
        return {"platform": name, "platform_dirs": [folder]}

    def stop(self):
        for p in self.sims:
            p.send_signal(signal.SIGKILL)
            p.wait()


@pytest.fixture
def device(tmp_path):
    d = Device(tmp_path)
    yield d
    d.stop()


def show(text, *later):
    """commands of a device whose configuration is `text`, and `later` texts from the second call on."""
    return {SHOW: [[{"send": HEAD + t}] for t in (text, *later)]}


# --- what works

def test_backup(device):
    out = device.probe(device.start(commands=show(CONFIG)), backup=True)
    assert out["rc"] == 0 and out["exact"] == CONFIG
    assert len(out["learned"]) == 1 and out["learned"][0]["key_type"] == "ssh-ed25519"


def test_normalised_holds_no_secret(device):
    out = device.probe(device.start(commands=show(CONFIG)), backup=True)
    assert "S3cret" in out["exact"] and "S3cret" not in out["normalised"]
    assert out["normalised"] == CONFIG.replace("S3cretLogin", "<removed>").replace("Bgp-S3cret", "<removed>")


def test_command_output_has_no_echo_and_no_prompt(device):
    out = device.probe(device.start(commands={"show version": [[{"send": "FRR 8\nline 2\n"}]]}),
                       commands=["show version", "show version"])
    assert out["outputs"] == ["FRR 8\nline 2\n"] * 2


def test_large_configuration(device):
    fill = "ip route 10.9.9.0/24 Null0 tag 1000\n"
    steps = [{"send": HEAD + "!\nfrr version 8\nhostname r1\n!\n"}, {"fill": fill, "n": 3000}, {"send": "!\nend\n"}]
    out = device.probe(device.start(commands={SHOW: [steps]}), backup=True)
    assert out["rc"] == 0 and out["exact"].count(fill) == 3000


def test_pieces_with_pauses(device):
    steps = [{"send": HEAD}]
    for line in CONFIG.splitlines(keepends=True):
        steps += [{"send": line[:3]}, {"delay_ms": 60}, {"send": line[3:]}]
    out = device.probe(device.start(commands={SHOW: [steps]}), backup=True)
    assert out["rc"] == 0 and out["exact"] == CONFIG


def test_pager_is_answered_and_leaves_no_trace(device):
    wipes = ["\r        \r", "\b" * 8 + " " * 8 + "\b" * 8, "\r\x1b[K", "\x1b[2K\r"]
    steps = [{"send": HEAD}]
    for i, line in enumerate(CONFIG.splitlines(keepends=True)):
        steps += [{"send": "--More--"}, {"key": True}, {"send": wipes[i % 4]}, {"send": line}]
    out = device.probe(device.start(commands={SHOW: [steps]}), backup=True)
    assert out["rc"] == 0 and out["exact"] == CONFIG


def test_ansi_is_stripped(device):
    coloured = CONFIG.replace("hostname", "\x1b[1;32mhostname\x1b[0m").replace("!", "\x1b]0;title\x07!")
    out = device.probe(device.start(commands=show(coloured), prompt="\x1b[?2004h\x1b[31mr1#\x1b[0m "), backup=True)
    assert out["rc"] == 0 and out["exact"] == CONFIG


def test_device_without_echo(device):
    port = device.start(commands=show(CONFIG), echo=False)
    out = device.probe(port, backup=True, **device.fast("deaf", echo="false"))
    assert out["rc"] == 0 and out["exact"] == CONFIG


def test_enable(device):
    steps = [{"send": "Password: "}, {"secret": "en-secret"}, {"send": "\n"}, {"prompt": "r1# "}]
    port = device.start(prompt="r1> ", commands={"enable": [steps], **show(CONFIG)})
    out = device.probe(port, backup=True, secret={"username": "u", "password": "pw", "enable": "en-secret"})
    assert out["rc"] == 0 and out["exact"] == CONFIG
    out = device.probe(port, backup=True)
    assert (out["rc"], out["code"]) == (-202, "ssh.enable_failed")


# --- prompts that are none

def test_banner_that_looks_like_a_prompt(device):
    greeting = [{"send": "Welcome\nother-router# "}, {"delay_ms": 700}, {"send": "is not the prompt\nr1> "},
                {"delay_ms": 700}, {"send": "\n"}]
    out = device.probe(device.start(greeting=greeting, commands=show(CONFIG)), backup=True)
    assert out["rc"] == 0 and out["exact"] == CONFIG


def test_another_prompt_inside_the_configuration(device):
    cut = CONFIG.index("ip route")
    steps = [{"send": HEAD + CONFIG[:cut]}, {"send": "r2# "}, {"delay_ms": 500}, {"send": "\n" + CONFIG[cut:]}]
    out = device.probe(device.start(commands={SHOW: [steps]}), backup=True)
    assert out["rc"] == 0 and "r2#\n" in out["exact"].replace("# \n", "#\n") and out["exact"].endswith("end\n")


def test_prompt_that_changes_each_time(device):
    greeting = [{"prompt": "r1# "}]
    commands = {"": [[{"prompt": f"r{i}# "}] for i in range(2, 12)]}
    out = device.probe(device.start(greeting=greeting, commands=commands), backup=True)
    assert (out["rc"], out["code"]) == (-203, "ssh.prompt_unstable")


# --- incomplete configurations

def refused(out, why):
    assert (out["rc"], out["code"]) == (-100, "backup.incomplete"), out
    assert why in out["message"], out["message"]
    assert "exact" not in out and "normalised" not in out


def test_cut_off_without_end(device):
    refused(device.probe(device.start(commands=show(CONFIG[:CONFIG.index("router")])), backup=True), "last line")


def test_cut_off_in_the_middle_of_a_line(device):
    refused(device.probe(device.start(commands=show(CONFIG[:150])), backup=True), "in the middle of a line")


def test_output_without_a_last_line_end(device):
    out = device.probe(device.start(commands={"show x": [[{"send": "one\ntwo"}]]}), commands=["show x", "show x"])
    assert out["rc"] == 0 and out["outputs"] == ["one\ntwo"] * 2


def test_refused_command_keeps_its_secret(device):
    out = device.probe(device.start(), commands=["neighbor 192.0.2.1 password Hidden-Word"])
    assert out["code"] == "ssh.command_refused" and "neighbor 192.0.2.1 …" in out["message"]
    assert "Hidden-Word" not in json.dumps([out["message"], out["hint"], out["log"]])


def test_end_inside_a_banner_and_the_tail_missing(device):
    refused(device.probe(device.start(commands=show(BANNER_START)), backup=True), "inside the banner")


def test_the_same_banner_whole_is_accepted(device):
    out = device.probe(device.start(commands=show(BANNER_START + BANNER_REST)), backup=True)
    assert out["rc"] == 0 and out["exact"] == BANNER_START + BANNER_REST


def test_end_inside_a_banner_then_prompt_then_the_rest_late(device):
    steps = [{"send": HEAD + BANNER_START + "r1# "}, {"delay_ms": 600}, {"send": "\n" + BANNER_REST}]
    refused(device.probe(device.start(commands={SHOW: [steps]}), backup=True), "")


def test_unknown_banner_form_with_rules_held_and_the_rest_late(device):
    first = "!\nfrr version 8.4.4\nhostname r1\n!\nmotd-text begin\n!\nend\n"
    steps = [{"send": HEAD + first + "r1# "}, {"delay_ms": 600}, {"send": "\nmore of the motd\n!\nend\n"}]
    refused(device.probe(device.start(commands={SHOW: [steps]}), backup=True), "after what looked like the prompt")


def test_late_rest_after_the_second_fetch_only(device):
    whole = [{"send": HEAD + CONFIG}]
    late = [{"send": HEAD + CONFIG + "r1# "}, {"delay_ms": 600}, {"send": "\nip route 10.1.1.0/24 Null0\n!\nend\n"}]
    refused(device.probe(device.start(commands={SHOW: [whole, late]}), backup=True), "after what looked like the prompt")


def test_unknown_banner_form_cut_once(device):
    """Every rule holds for the cut text; a second fetch is the witness that more is there."""
    cut = "!\nfrr version 8.4.4\nhostname r1\n!\nmotd-text begin\n!\nend\n"
    whole = cut + "motd-text end\n!\nend\n"
    out = device.probe(device.start(commands=show(cut, whole)), backup=True)
    assert out["rc"] == 0 and out["exact"] == whole


def test_device_that_lies_differently_each_time(device):
    texts = [CONFIG.replace("10.0.0.0", f"10.{i}.0.0") for i in range(8)]
    refused(device.probe(device.start(commands=show(*texts)), backup=True), "no two fetches")


def test_open_block_at_the_end(device):
    refused(device.probe(device.start(commands=show(CONFIG.replace("exit\n!\n", ""))), backup=True), "inside the block 'router'")


def test_tail_without_its_mark(device):
    refused(device.probe(device.start(commands=show(CONFIG.replace("!\nend", "end"))), backup=True), "line before the last")


def test_empty_configuration(device):
    refused(device.probe(device.start(commands=show("")), backup=True), "lines")


def test_message_about_an_incomplete_one_holds_no_secret(device):
    out = device.probe(device.start(commands=show(CONFIG[:CONFIG.index("exit")])), backup=True)
    refused(out, "")
    assert "S3cret" not in json.dumps([out["message"], out["hint"], out["log"]])


# --- host keys

def sha256(public_key):
    digest = hashlib.sha256(base64.b64decode(public_key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def learn(device, **script):
    port = device.start(commands=show(CONFIG), **script)
    out = device.probe(port, commands=[])
    assert out["rc"] == 0
    key = out["learned"][0]
    assert key["fingerprint"] == sha256(key["public_key"])
    return port, key


@pytest.mark.parametrize("key_type,name", [("ed25519", "ssh-ed25519"), ("rsa", "ssh-rsa"), ("ecdsa", "ecdsa-sha2-nistp256")])
def test_known_host_key_is_accepted_and_not_learned_again(device, key_type, name):
    port, key = learn(device, key_type=key_type)
    assert key["key_type"] == name
    out = device.probe(port, known=[key], policy="strict", commands=[])
    assert out["rc"] == 0 and out["learned"] == []


@pytest.mark.parametrize("new_type", ["ed25519", "rsa"])
def test_changed_host_key_names_both_fingerprints(device, new_type):
    _, old = learn(device)
    port, new = learn(device, key_type=new_type)
    out = device.probe(port, known=[old], commands=[])
    assert (out["rc"], out["code"]) == (-202, "ssh.host_key_changed")
    assert old["fingerprint"] in out["message"] and new["fingerprint"] in out["message"]
    assert out["learned"] == [] and out["outputs"] == []


def test_unknown_host_key_under_strict(device):
    port, key = learn(device)
    out = device.probe(port, policy="strict", commands=[])
    assert (out["rc"], out["code"]) == (-202, "ssh.host_key_unknown")
    assert key["fingerprint"] in out["message"] and out["learned"] == []


# --- logging in

@pytest.mark.parametrize("methods,rounds", [(["password"], 0), (["kbdint"], 0), (["kbdint"], 3), (["publickey", "password"], 0)])
def test_login_by_password(device, methods, rounds):
    port = device.start(methods=methods, kbdint_rounds=rounds, commands=show(CONFIG))
    assert device.probe(port, commands=[])["rc"] == 0


@pytest.mark.parametrize("kind,passphrase", [("ed25519", ""), ("rsa", ""), ("ed25519", "open-sesame"), ("rsa", "open-sesame")])
def test_login_by_key(device, tmp_path, kind, passphrase):
    key = tmp_path / "k"
    pem = ["-m", "PEM"] if kind == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *pem, "-N", passphrase, "-f", key], check=True)
    public = key.with_suffix(".pub").read_text().split()[1]
    port = device.start(methods=["publickey"], public_key=public, commands=show(CONFIG))
    secret = {"username": "u", "private_key": key.read_text()}
    if passphrase:
        secret["passphrase"] = passphrase
    assert device.probe(port, secret=secret, commands=[])["rc"] == 0
    if passphrase:
        out = device.probe(port, secret=dict(secret, passphrase="wrong-phrase"), commands=[])
        assert (out["rc"], out["code"]) == (-202, "ssh.bad_private_key")


@pytest.mark.parametrize("script", [{}, {"methods": ["kbdint"]}, {"hang_up_on_deny": True}, {"methods": ["publickey", "kbdint", "password"]}])
def test_wrong_password(device, script):
    port = device.start(**script)
    out = device.probe(port, secret={"username": "u", "password": "wrong-password"}, commands=[])
    assert (out["rc"], out["code"]) == (-202, "ssh.auth_failed")
    assert "'u'" in out["message"] and out["hint"]


def test_no_method_in_common(device):
    out = device.probe(device.start(methods=["publickey"]), commands=[])
    assert (out["rc"], out["code"]) == (-202, "ssh.auth_failed") and "publickey" in out["message"]


def test_no_credential(device):
    out = device.probe(device.start(), secret={}, commands=[])
    assert (out["rc"], out["code"]) == (-202, "ssh.no_credential")


# --- the network and the device fail

def test_refused(device):
    with socket.socket() as s:  # bound, not listening
        s.bind(("127.0.0.1", 0))
        out = device.probe(s.getsockname()[1], commands=[])
    assert (out["rc"], out["code"]) == (-102, "ssh.unreachable")
    assert out["breaker_key"] == "dev:r1"


def test_name_that_does_not_resolve(device):
    out = device.probe(22, address="no-such-host.invalid", commands=[])
    assert (out["rc"], out["code"]) == (-102, "ssh.unreachable") and "no-such-host.invalid" in out["message"]


def test_connect_timeout(device):
    with socket.socket() as s:  # a full backlog: the kernel drops further SYNs
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        full = [socket.socket() for _ in range(4)]
        for c in full:
            c.setblocking(False)
            c.connect_ex(s.getsockname())
        out = device.probe(s.getsockname()[1], commands=[], **device.fast())
        for c in full:
            c.close()
    assert (out["rc"], out["code"]) == (-101, "ssh.connect_timeout")


def test_mute_server(device):
    out = device.probe(device.start(transport="mute"), commands=[], **device.fast())
    assert (out["rc"], out["code"]) == (-101, "ssh.connect_timeout")


def test_not_an_ssh_server(device):
    out = device.probe(device.start(transport="http"), commands=[])
    assert (out["rc"], out["code"]) == (-100, "ssh.disconnected")


def test_slow_login(device):
    out = device.probe(device.start(deaf_login_ms=20000), commands=[], **device.fast())
    assert (out["rc"], out["code"]) == (-101, "ssh.login_timeout")


def test_no_shell(device):
    out = device.probe(device.start(no_shell=True), commands=[])
    assert (out["rc"], out["code"]) == (-100, "ssh.no_shell")


def test_hang_before_the_first_prompt(device):
    out = device.probe(device.start(greeting=[{"send": "hello\n"}, {"hang": True}]), commands=[], **device.fast())
    assert (out["rc"], out["code"]) == (-101, "ssh.prompt_timeout")


def test_hang_in_the_middle(device):
    out = device.probe(device.start(commands={SHOW: [[{"send": CONFIG[:99]}, {"hang": True}]]}), backup=True, **device.fast())
    assert (out["rc"], out["code"]) == (-101, "ssh.prompt_timeout")


def test_disconnect_in_the_middle(device):
    out = device.probe(device.start(commands={SHOW: [[{"send": CONFIG[:99]}, {"close": True}]]}), backup=True)
    assert (out["rc"], out["code"]) == (-100, "ssh.disconnected")


def test_disconnect_after_the_whole_text_is_no_backup(device):
    out = device.probe(device.start(commands={SHOW: [[{"send": HEAD + CONFIG}, {"close": True}]]}), backup=True)
    assert (out["rc"], out["code"]) == (-100, "ssh.disconnected") and "exact" not in out


def test_command_refused(device):
    out = device.probe(device.start(), commands=["show nonsense"])
    assert (out["rc"], out["code"]) == (-200, "ssh.command_refused") and "show nonsense" in out["message"]
    out = device.probe(device.start(), backup=True)
    assert (out["rc"], out["code"]) == (-200, "ssh.command_refused")


def test_endless_output(device):
    steps = [{"fill": "x" * 4095 + "\n", "n": 5000}]
    out = device.probe(device.start(commands={"show all": [steps]}), commands=["show all"])
    assert (out["rc"], out["code"]) == (-200, "ssh.output_too_big")


def test_one_endless_line_costs_no_time(device):
    """Patterns are matched against a line of 1 MB: with backtracking this would not end."""
    text = "a" * 1000000
    out = device.probe(device.start(commands=show(CONFIG.replace("10.0.0.0", text))), backup=True, **device.fast("slow", settle_ms=200))
    assert out["rc"] == 0 and text in out["exact"]


@pytest.mark.parametrize("where", [{"transport": "mute"}, {"deaf_login_ms": 30000}, {"greeting": [{"hang": True}]},
                                   {"commands": {SHOW: [[{"send": "x"}, {"hang": True}]]}},
                                   {"greeting": [{"fill": "\r" * 4000, "n": 1 << 40}]}])  # never pauses, and is no text
def test_cancel_is_seen_everywhere(device, where):
    out = device.probe(device.start(**where), backup=True, cancel_after_ms=700)
    assert (out["rc"], out["code"]) == (-300, "ssh.cancelled")


@pytest.mark.parametrize("where", [{"transport": "mute"}, {"greeting": [{"hang": True}]}])
def test_deadline_is_seen(device, where):
    out = device.probe(device.start(**where), backup=True, deadline_ms=700)
    assert out["rc"] == -101


def test_unknown_platform(device):
    out = device.probe(22, platform="ios", commands=[])
    assert (out["rc"], out["code"]) == (-201, "device.platform_unknown") and "frr, linux" in out["message"]
