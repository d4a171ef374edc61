# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Plugins hello and backup against real FRR routers and an OpenSSH host, by devprobe and by takt-executor."""
import contextlib
import ctypes
import ctypes.util
import json
import os
import pathlib
import pwd
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
import execrig  # noqa: E402
import frames  # noqa: E402
import frr  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PLATFORMS = SOURCE / 'conf/platforms.d'
PARAMS = {'type': 'backup', 'target_type': 'device_group', 'target_id': '550e8400-e29b-41d4-a716-446655440000',
          'destination': 'nightly'}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='the FRR lab needs root: namespaces, login users')


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    with frr.FrrLab(tmp_path_factory.mktemp('lab'), routers=4) as made:
        yield made


@pytest.fixture
def rig():
    r = execrig.Rig(plugins=(), more_args=['--platform-dir', str(PLATFORMS)])
    for name in ('hello', 'backup'):
        r.add_plugin(f'{execrig.BUILD}/plugins/{name}/{name}.so')
    r.terminate()  # its zygote was started without them
    r.start()
    yield r
    r.stop()


def target(r):
    return {'id': '00000000-0000-0000-0000-000000000001', 'name': r.name, 'address': r.address, 'port': r.port,
            'platform': r.platform}


def probe(tmp_path, r, platform='frr', secret=None, **more):
    path = tmp_path / 'probe.json'
    path.write_text(json.dumps({
        'platform_dirs': [str(PLATFORMS)], 'target': dict(target(r), platform=platform),
        'secret': secret or {'username': r.username, 'password': r.password},
        'host_key': {'policy': 'tofu', 'known': []}, **more}))
    p = subprocess.run([f'{execrig.BUILD}/tests/lib/devprobe', path], capture_output=True, text=True, timeout=180)
    assert p.stdout and 'Sanitizer' not in p.stderr, p.stderr
    return json.loads(p.stdout)


def body_of(running_config):
    """What vtysh prints without its heading: the configuration."""
    return running_config.partition('Current configuration:\n')[2].strip('\n') + '\n'


def test_backup_is_what_the_router_says(lab, tmp_path):
    for r in lab.routers:
        out = probe(tmp_path, r, backup=True)
        assert out['rc'] == 0, out
        assert out['exact'] == body_of(lab.running_config(r))
        assert len(out['exact'].splitlines()) > 100 and f'hostname {r.name}\n' in out['exact']
        assert 'BgpSecret1' in out['exact'] and 'OspfSecret1' in out['exact']
        assert 'Secret' not in out['normalised']
        assert out['normalised'].count('<removed>') == 9


def test_backup_by_key(lab, tmp_path):
    r = lab.routers[0]
    key = pathlib.Path(r.private_key).read_text()
    out = probe(tmp_path, r, backup=True, secret={'username': r.username, 'private_key': key})
    assert out['rc'] == 0 and out['exact'] == body_of(lab.running_config(r))


def test_commands_and_modes(lab, tmp_path):
    r = lab.routers[1]
    out = probe(tmp_path, r, commands=['show version', 'configure terminal', 'ip route 203.0.113.0/24 Null0', 'end',
                                       'show running-config'])
    assert out['rc'] == 0, out
    assert out['outputs'][0].startswith('FRRouting 8') and out['outputs'][1:4] == ['', '', '']
    assert 'ip route 203.0.113.0/24 Null0\n' in out['outputs'][4]
    assert probe(tmp_path, r, commands=['show nonsense'])['code'] == 'ssh.command_refused'


def test_change_is_seen(lab, tmp_path):
    r = lab.routers[2]
    before = probe(tmp_path, r, backup=True)['normalised']
    lab.configure(r, 'ip route 198.18.0.0/15 Null0')
    after = probe(tmp_path, r, backup=True)['normalised']
    assert set(after.splitlines()) - set(before.splitlines()) == {'ip route 198.18.0.0/15 Null0'}


def test_router_down_and_wrong_password(lab, tmp_path):
    r = lab.routers[3]
    lab.stop(r)
    assert probe(tmp_path, r, backup=True)['code'] == 'ssh.unreachable'
    lab.start(r)
    old = r.password
    lab.set_password(r, 'Another-Password-1')
    out = probe(tmp_path, r, backup=True, secret={'username': r.username, 'password': old})
    assert (out['rc'], out['code']) == (-202, 'ssh.auth_failed')
    assert probe(tmp_path, r, backup=True)['rc'] == 0


@contextlib.contextmanager
def sshd_changed(lab, r, change):
    """The router's sshd with another configuration for a while."""
    config = r.dir / 'sshd_config'
    text = config.read_text()
    config.write_text(change(text))
    try:
        lab.stop(r)
        lab.start(r)
        yield
    finally:
        config.write_text(text)
        lab.stop(r)
        lab.start(r)


OLD_SSHD = """KexAlgorithms diffie-hellman-group14-sha1
HostKeyAlgorithms ssh-rsa
Ciphers aes128-cbc
MACs hmac-sha1
"""
OLD_PLATFORM = """ssh {
    kex = { 'diffie-hellman-group14-sha1' }
    host_keys = { 'ssh-rsa' }
    ciphers = { 'aes128-cbc' }
    macs = { 'hmac-sha1' }
}
"""


def test_old_device_needs_its_algorithms_named(lab, tmp_path):
    r = lab.routers[0]
    subprocess.run(['ssh-keygen', '-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', r.dir / 'rsa'], check=True)
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old/old.conf').write_text((PLATFORMS / 'frr.conf').read_text() + OLD_PLATFORM)
    with sshd_changed(lab, r, lambda t: t.replace(f'HostKey {r.dir}/host_key', f'HostKey {r.dir}/rsa\n{OLD_SSHD}')):
        out = probe(tmp_path, r, backup=True)
        assert (out['rc'], out['code']) == (-203, 'ssh.no_common_algorithm'), out
        out = probe(tmp_path, r, platform='old', platform_dirs=[str(tmp_path / 'old')], backup=True)
        assert out['rc'] == 0 and out['learned'][0]['key_type'] == 'ssh-rsa', out
        again = probe(tmp_path, r, platform='old', platform_dirs=[str(tmp_path / 'old')], backup=True,
                      host_key={'policy': 'strict', 'known': out['learned']})
        assert again['rc'] == 0 and not again['learned']


def test_linux_host(lab, tmp_path):
    """The same OpenSSH, with a shell instead of vtysh."""
    r = lab.routers[0]
    with sshd_changed(lab, r, lambda t: t.replace('ForceCommand', '#ForceCommand')):
        out = probe(tmp_path, r, platform='linux', backup=True, commands=['echo one; echo two'])
    assert out['rc'] == 0, out
    assert out['outputs'] == ['one\ntwo\n']
    assert out['exact'].startswith('### uname') and out['exact'].endswith('takt-backup-complete\n')
    for name in ('/etc/hosts', '/etc/passwd'):
        assert f'## {name}\n{pathlib.Path(name).read_text()}' in out['exact']


# --- through the executor

def test_hello(rig):
    engine = execrig.Engine(rig)
    assert engine.plugins['hello.so']['types'][0]['id'] == 'hello'
    unit = engine.finish(engine.start('hello', {'name': 'NOC', 'steps': 3, 'step_ms': 10}))
    assert unit.result['class'] == 'passed' and unit.result['result'] == {'greeting': 'hello, NOC'}
    assert unit.output()[0].count(b'hello, NOC (') == 3


def test_hello_is_cancelled_between_steps(rig):
    engine = execrig.Engine(rig)
    unit = engine.start('hello', {'steps': 1000, 'step_ms': 1000})
    engine.pump(lambda: unit.of('J_PROGRESS'))
    engine.cancel(unit, grace_ms=20000)
    engine.finish(unit)
    assert unit.result['class'] == 'cancelled'


def keys():
    sodium = ctypes.CDLL(ctypes.util.find_library('sodium'))
    sodium.sodium_init()
    pk, sk = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    sodium.crypto_box_keypair(pk, sk)
    return sodium, pk, sk


def test_backup_units(lab, rig):
    """Four routers at once, one of them with a wrong password: three pass."""
    sodium, pk, sk = keys()
    engine = execrig.Engine(rig)
    units = []
    for i, r in enumerate(lab.routers):
        secret = {'username': r.username, 'password': r.password if i else 'Wrong-Password-9'}
        units.append(engine.start('backup', PARAMS, seal_pk=pk.raw, secret=secret, target=target(r),
                                  host_key={'policy': 'tofu', 'known': []}))
    engine.finish(*units)
    assert [u.result['class'] for u in units] == ['auth', 'passed', 'passed', 'passed'], [u.result for u in units]
    assert units[0].result['code'] == 'ssh.auth_failed' and not units[0].artifacts()
    for u, r in zip(units[1:], lab.routers[1:]):
        config = body_of(lab.running_config(r)).encode()
        (exact, sealed), (normalised, plain) = u.artifacts()
        assert (exact['kind'], exact['is_secret'], normalised['kind'], normalised['is_secret']) == (
            'config', True, 'config.normalised', False)
        opened = ctypes.create_string_buffer(len(sealed))
        assert sodium.crypto_box_seal_open(opened, sealed, ctypes.c_ulonglong(len(sealed)), pk, sk) == 0
        assert frames.unzstd(opened.raw[:len(sealed) - 48], exact['raw_b']) == config
        text = frames.unzstd(plain, normalised['raw_b'])
        assert b'Secret' not in text and f'hostname {r.name}\n'.encode() in text
        assert exact['meta']['size_b'] == len(config) and exact['meta']['captured_at_us'] > 0
        assert u.result['result']['size_b'] == len(config)
        assert u.result['result']['lines'] == config.count(b'\n')
        learned = u.of('J_HOST_KEY')[0].json
        known = [{'key_type': learned['key_type'], 'public_key': learned['public_key']}]
        again = engine.finish(engine.start(
            'backup', PARAMS, seal_pk=pk.raw, secret={'username': r.username, 'password': r.password},
            target=target(r), host_key={'policy': 'strict', 'known': known}))
        assert again.result['class'] == 'passed' and not again.of('J_HOST_KEY')
    log = rig.log()
    for r in lab.routers:
        assert r.password not in log
    assert 'Wrong-Password-9' not in log and 'BgpSecret' not in log


def test_lab_leaves_nothing(tmp_path):
    with frr.FrrLab(tmp_path / 'lab', routers=1) as lab:
        r = lab.routers[0]
        pids = frr.pids_of_user(r.username) + [frr.pid_of(r.run / 'zebra.pid', r.pathspace)]
        assert all(pids) and pwd.getpwnam(r.username)
        # As after a crash: another process puts everything back from what is written in the directory.
        subprocess.run([SOURCE / 'tests/lib/frr-lab', 'down', tmp_path / 'lab'], check=True, timeout=120)
        assert not any(frr.is_alive(p) for p in pids)
        assert not r.etc.exists() and not r.run.exists() and not (tmp_path / 'lab').exists()
        with pytest.raises(KeyError):
            pwd.getpwnam(r.username)
