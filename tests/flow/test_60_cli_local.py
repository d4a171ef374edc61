# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""What `takt` does without a daemon: help, usage errors, exit codes, where it looks, completion, the manual."""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from dev import BUILD  # noqa: E402


def takt(*args, input=None, **env):
    e = {k: v for k, v in os.environ.items() if not k.startswith("TAKT_")}
    return subprocess.run([BUILD / "takt", *args], input=input, capture_output=True, text=True, env=dict(e, **env),
                          timeout=60)


def commands():
    lines = takt("--help").stdout.splitlines()
    return [re.split(r"\s{2,}", line.strip())[0] for line in lines if line.startswith("  takt ")]


def test_help_lists_every_noun_and_each_command_explains_itself():
    assert takt("--help").returncode == 0
    names = commands()
    nouns = {c.split()[1] for c in names}
    assert nouns >= {"dev", "health", "token", "device", "group", "credential", "task", "run", "snapshot", "cron",
                     "platform", "plugin", "api"}
    for c in names:
        words = [w for w in c.split()[1:] if re.fullmatch(r"[a-z-]+", w)][:2]
        p = takt(*words, "--help")
        assert p.returncode == 0, (c, p.stderr)
        assert "usage:" in p.stdout, c


@pytest.mark.parametrize("args", [
    [], ["nothing"], ["task"], ["task", "fly"], ["task", "show"], ["task", "show", "a", "b"], ["run", "list", "--nope"],
    ["run", "list", "--status"], ["run", "list", "-o", "yaml"], ["cron", "next"], ["cron", "check", "61 * * * *"],
    ["cron", "next", "* * * * *", "--tz", "Mars/Base"], ["--url", "ftp://x", "health"],
])
def test_wrong_usage_is_2_and_says_so(args):
    p = takt(*args)
    assert p.returncode == 2, p
    assert p.stderr.strip() or p.stdout.strip()


def test_without_a_home_nothing_in_tmp_is_believed():
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_STATE_HOME") and not k.startswith("TAKT_")}
    other = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"] if os.geteuid() == 0 else []
    p = subprocess.run([*other, BUILD / "takt", "health"], capture_output=True, text=True, env=env, cwd="/", timeout=60)
    assert p.returncode != 0 and "client.json" in p.stderr and "/tmp/.local" not in p.stderr, p


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "localhost:1"])
def test_a_bad_listen_address_is_2(listen):
    # Below /tmp: as root the directory must be open to PostgreSQL's user.
    with tempfile.TemporaryDirectory(dir="/tmp") as d:
        os.chmod(d, 0o755)
        p = takt("dev", "--listen", listen, "--state", f"{d}/s")
    assert p.returncode == 2 and "--listen" in p.stderr


def test_unreachable_is_5():
    p = takt("--url", "http://127.0.0.1:9", "health")
    assert p.returncode == 5 and "127.0.0.1:9" in p.stderr


def test_no_daemon_known_is_5_and_tells_how(tmp_path):
    p = takt("--state", str(tmp_path), "health")
    assert p.returncode == 5
    assert "client.json" in p.stderr and "takt dev" in p.stderr


def test_no_flag_takes_a_secret():
    for c in commands():
        words = [w for w in c.split()[1:] if re.fullmatch(r"[a-z-]+", w)][:2]
        flags = set(re.findall(r"--([a-z-]+)", takt(*words, "--help").stdout))
        assert not flags & {"password", "token", "passphrase", "key", "private-key", "enable", "secret"}, c


@pytest.mark.parametrize("content", ["", "\n", "takt_a\ntakt_b\n"])
def test_a_bad_token_file_is_refused(tmp_path, content):
    f = tmp_path / "token"
    f.write_text(content)
    p = takt("--url", "http://127.0.0.1:9", "--token-file", str(f), "health")
    assert p.returncode == 2 and str(f) in p.stderr


@pytest.mark.parametrize("text", ['{"url": "http://127.0.0.1:9", "url": "x"}', "{}", "[]", '{"url": 5}', "x", ""])
def test_client_json_is_checked(tmp_path, text):
    (tmp_path / "client.json").write_text(text)
    p = takt("--state", str(tmp_path), "health")
    assert p.returncode == 2 and "client.json" in p.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_no_proxy_is_told_the_token_of_a_daemon_on_this_host(tmp_path, host):
    token = tmp_path / "token"
    token.write_text("takt_" + "A" * 43)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        env = {n: f"http://127.0.0.1:{proxy.getsockname()[1]}" for n in ("http_proxy", "all_proxy", "ALL_PROXY")}
        assert takt("--url", f"http://{host}:9", "--token-file", str(token), "health", **env).returncode == 5
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_cron_next_and_check():
    p = takt("cron", "next", "0 2 * * *", "--tz", "America/New_York", "--from", "2026-11-22T00:00:00Z", "--count", "2")
    assert p.stdout.split() == ["2026-11-22T07:00:00Z", "2026-11-23T07:00:00Z"]
    assert takt("cron", "check", "*/15 * * * *").returncode == 0
    assert takt("cron", "next", "0 0 30 2 *").stdout == ""


def test_platform_check(tmp_path):
    good = sorted((ROOT / "conf/platforms.d").glob("*.conf"))
    assert good
    for f in good:
        assert takt("platform", "check", str(f)).returncode == 0
    bad = tmp_path / "bad.conf"
    bad.write_text("no such option = 1\n")
    p = takt("platform", "check", str(bad))
    assert p.returncode == 2 and "bad.conf" in p.stderr


def test_completion_words_follow_the_table():
    assert set(takt("__words").stdout.split()) == {c.split()[1] for c in commands()}
    assert "create" in takt("__words", "task").stdout.split()
    assert "--follow" in takt("__words", "task", "run").stdout.split()
    script = ROOT / "packaging/completions/takt"
    p = subprocess.run(["bash", "-c", f". {script}; COMP_WORDS=({BUILD}/takt task cr); COMP_CWORD=2; _takt; "
                        "echo ${COMPREPLY[@]}"], capture_output=True, text=True)
    assert p.stdout.split() == ["create"], p


def test_manual_has_every_noun_and_exit_status():
    text = (ROOT / "packaging/man/takt.1").read_text().replace("\\-", "-")
    plain = re.sub(r"\\f.|[\"|,;]|^\.B[R]? ", " ", text, flags=re.M)
    for c in commands():
        words = c.split()[1:3]
        assert words[0] in plain, c
        if len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
            assert re.search(rf"\b{words[1]}\b", plain), c
    statuses = text.split(".SH EXIT STATUS")[1].split(".SH")[0]
    assert re.findall(r"^\.TP\n(\d)$", statuses, flags=re.M) == list("012345")


def test_version():
    assert re.fullmatch(r"takt \d+\.\d+\.\d+\n", takt("--version").stdout)
    assert json.dumps(takt("version").returncode) == "2"
