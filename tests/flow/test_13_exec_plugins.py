# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Wrong plugins are refused with both values, crashing ones cost only their unit, rescans see changes."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
import execrig  # noqa: E402

WRONG = {
    'magic': r'magic 0x12345678, this Takt has 0x4b415454',
    'major': r'abi_major 2, this Takt has 1',
    'minor': r'need_minor 9, this Takt has 0',
    'size': r'struct_size 16, this Takt has 56',
    'aborts': r'crashed while it was loaded: signal 6 \(Aborted\)',
    'hangs': r'did not load within \d+ s: its constructor hangs',
    'symbol': r'exports no symbol takt_plugin_entry_1',
    'bad_id': r"task type id 'Wrong Id' must start with a lower-case letter",
    'bad_schema': r'params_schema of task type wrong: not valid JSON',
    'caps': r'caps of task type wrong are 0x8000, this Takt knows 0x2f',
}


@pytest.fixture
def rig():
    rig = execrig.Rig()
    yield rig
    rig.stop()


def test_wrong_plugins_are_refused_and_everything_lives_on(rig):
    pid = rig.proc.pid
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'steps': 100, 'step_ms': 100})
    for name in WRONG:
        rig.add_plugin(f'{execrig.BUILD}/tests/abi/{name}.so')
    writable = rig.add_plugin(f'{execrig.BUILD}/tests/plugins/witness.so', 'writable.so')
    os.chmod(writable, 0o775)
    foreign = rig.add_plugin(f'{execrig.BUILD}/tests/plugins/witness.so', 'foreign.so')
    if os.geteuid() == 0:
        os.chown(foreign, 4321, 0)
    with open(os.path.join(rig.plugins, 'text.so'), 'w', encoding='ascii') as f:
        f.write('not a shared object\n')
    os.mkfifo(os.path.join(rig.plugins, 'fifo.so'), 0o600)
    os.kill(pid, signal.SIGHUP)
    engine.pump(lambda: 'writable.so' in engine.plugins)
    for name, reason in WRONG.items():
        got = engine.plugins[name + '.so']
        assert got['status'] == 'refused' and re.search(reason, got['reason']), got
        assert 'types' not in got
    assert re.search(r'mode 0775 lets group or others write', engine.plugins['writable.so']['reason'])
    if os.geteuid() == 0:
        assert 'owner is uid 4321, must be root' in engine.plugins['foreign.so']['reason']
    assert 'cannot be loaded' in engine.plugins['text.so']['reason']
    assert 'not a regular file' in engine.plugins['fifo.so']['reason']
    assert engine.plugins['witness.so']['status'] == 'loaded'
    assert engine.finish(engine.start('witness', {})).result['class'] == 'passed'
    assert engine.finish(engine.start('wrong', {})).refused['class'] == 'unsupported'
    assert rig.proc.poll() is None and not unit.is_over
    engine.cancel(unit)
    engine.finish(unit)
    engine.close()


def test_rescan_sees_new_changed_gone_and_doubled_files(rig):
    engine = execrig.Engine(rig)

    def rescan(until):
        engine.plugins.clear()
        rig.proc.send_signal(signal.SIGHUP)
        engine.pump(lambda: until(engine.plugins))
    os.mkdir(os.path.join(rig.plugins, 'sub'))
    doubled = rig.add_plugin(f'{execrig.BUILD}/tests/plugins/witness.so', 'sub/zz.so')
    rescan(lambda p: 'zz.so' in p and 'witness.so' in p)
    # By path, `sub/zz.so` comes before `witness.so`: the first keeps the type.
    assert engine.plugins['zz.so']['status'] == 'loaded'
    assert 'task type witness is already offered by' in engine.plugins['witness.so']['reason']
    os.unlink(doubled)
    rescan(lambda p: 'zz.so' in p and 'witness.so' in p)
    assert engine.plugins['zz.so']['reason'] == 'file is gone'
    assert engine.plugins['witness.so']['status'] == 'loaded'
    # Changed while units of the old one run.
    old = engine.start('witness', {'steps': 10, 'step_ms': 100})
    engine.pump(lambda: old.frames)
    changed = os.path.join(rig.plugins, 'new')
    shutil.copy(f'{execrig.BUILD}/tests/plugins/witness.so', changed)
    with open(changed, 'ab') as f:
        f.write(b'\0')
    os.chmod(changed, 0o755)
    before = engine.plugins['witness.so']['digest']
    os.rename(changed, os.path.join(rig.plugins, 'witness.so'))
    rescan(lambda p: 'witness.so' in p)
    assert engine.plugins['witness.so']['digest'] != before
    assert engine.finish(engine.start('witness', {})).result['class'] == 'passed'
    assert engine.finish(old).result['class'] == 'passed'
    engine.close()


def zygotes_of(rig):
    out = subprocess.run(['ps', '--no-headers', '-o', 'pid,args', '--ppid', str(rig.proc.pid)],
                         capture_output=True, text=True, check=False).stdout  # 1: no children
    return [int(line.split()[0]) for line in out.splitlines() if '--zygote' in line]


def test_rescans_amid_starts_lose_nothing(rig):
    """SIGHUP ends the warm zygotes, so that new ones read the platform files again."""
    engine = execrig.Engine(rig)
    assert engine.finish(engine.start('witness', {})).result['class'] == 'passed'
    (first,) = zygotes_of(rig)
    units = []
    for _ in range(20):
        rig.proc.send_signal(signal.SIGHUP)
        units += [engine.start('witness', {'steps': 2, 'step_ms': 5}) for _ in range(3)]
        engine.pump(lambda: units[-3].is_over)
    engine.finish(*units)
    assert [u.result['class'] for u in units if u.result] == ['passed'] * len(units)
    execrig.wait_for('the first zygote gone', lambda: not execrig.is_alive(first))
    execrig.wait_for('one zygote left', lambda: len(zygotes_of(rig)) <= 1)
    engine.close()


def test_a_plugin_with_threads_is_loaded_cold():
    rig = execrig.Rig(plugins=())
    try:
        rig.add_plugin(f'{execrig.BUILD}/tests/abi/threads.so')
        rig.proc.send_signal(signal.SIGHUP)
        engine = execrig.Engine(rig)
        engine.pump(lambda: engine.plugins.get('threads.so', {}).get('status') == 'loaded')
        unit = engine.finish(engine.start('wrong', {}))
        assert unit.result['class'] == 'passed' and unit.output()[0] == b'it runs\n'
        zygote = subprocess.run(['ps', '--no-headers', '-o', 'nlwp,args', '--ppid', str(rig.proc.pid)],
                                capture_output=True, text=True, check=True).stdout
        assert re.search(r'^\s*1 .*threads\.so \w+ cold', zygote, re.M), zygote
        # What runs is the file that was checked, not the one that has its name now.
        other = os.path.join(rig.plugins, 'other')
        shutil.copy(f'{execrig.BUILD}/tests/plugins/witness.so', other)
        os.rename(other, os.path.join(rig.plugins, 'threads.so'))
        unit = engine.finish(engine.start('wrong', {}))
        assert unit.result['class'] == 'passed' and unit.output()[0] == b'it runs\n'
        engine.close()
    finally:
        rig.stop()


def test_probe_prints_json():
    good = subprocess.run([f'{execrig.BUILD}/takt-executor', '--probe',
                           f'{execrig.BUILD}/tests/plugins/tree.so'],
                          capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(good.stdout)
    assert (found['status'], found['name'], found['threads']) == ('loaded', 'tree', 1)
    bad = subprocess.run([f'{execrig.BUILD}/takt-executor', '--probe',
                          f'{execrig.BUILD}/tests/abi/major.so'],
                         capture_output=True, text=True, timeout=60, check=False)
    assert bad.returncode == 2
    assert json.loads(bad.stdout) == {'status': 'refused', 'reason': 'abi_major 2, this Takt has 1'}


def test_the_executor_itself_loads_no_plugin(rig):
    engine = execrig.Engine(rig)
    assert engine.finish(engine.start('witness', {})).result['class'] == 'passed'
    with open(f'/proc/{rig.proc.pid}/maps', encoding='ascii', errors='replace') as f:
        assert rig.plugins not in f.read()
    engine.close()


@pytest.mark.parametrize('mode, words, how', [
    ('segv', 'signal 11', {'signal': 11}),
    ('abort', 'signal 6', {'signal': 6}),
    ('exit', 'status 7', {'status': 7}),
    ('close_all', 'before run() returned', {'status': 0}),
    ('forge', 'broke the frame rules', None),
    ('early_end', 'broke the frame rules', None),
])
def test_a_crash_costs_only_its_unit(rig, mode, words, how):
    engine = execrig.Engine(rig)
    other = engine.start('witness', {'steps': 5, 'step_ms': 100})
    unit = engine.finish(engine.start('crash', {'mode': mode}))
    assert unit.result['class'] == 'internal' and words in unit.result['message'], unit.result
    if how:
        assert unit.result['exit'] == how
    assert mode.encode() in unit.output()[0]
    assert engine.finish(other).result['class'] == 'passed'
    engine.close()


@pytest.mark.parametrize('args, words', [
    ([], 'usage:'),
    (['--state', '/tmp', '--max-units', '0'], "--max-units: '0': must be 1 to 4096"),
    (['--state', '/tmp', '--log-level', 'loud'], "--log-level: 'loud': must be error, warn, info or debug"),
    (['--state', '/tmp', '--log-format', 'xml'], "--log-format: 'xml': must be text or json"),
    (['--nonsense'], 'nonsense'),
])
def test_bad_arguments(args, words):
    r = subprocess.run([f'{execrig.BUILD}/takt-executor', *args], capture_output=True, text=True,
                       timeout=30, check=False)
    assert r.returncode == 2 and words in r.stderr
