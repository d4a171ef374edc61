# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""Start, output, artifacts, results and refusals of units: engine in Python, real executor."""
import ctypes
import json
import os
import resource
import subprocess
import sys
import uuid

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
import execrig  # noqa: E402
import frames  # noqa: E402

sodium = ctypes.CDLL('libsodium.so.23')


@pytest.fixture(scope='module')
def rig():
    rig = execrig.Rig()
    yield rig
    rig.stop()


@pytest.fixture
def engine(rig):
    engine = execrig.Engine(rig)
    yield engine
    engine.close()


def test_hello_gives_the_listing(engine):
    assert engine.hello['proto'] == 1 and engine.hello['max_units'] == 200
    witness = engine.plugins['witness.so']
    assert witness['status'] == 'loaded' and witness['abi'] == '1.0'
    assert len(witness['digest']) == 64
    kinds = {t['id']: t for t in witness['types']}
    assert kinds['witness']['targets'] == 'none' and kinds['witness_each']['targets'] == 'each'
    assert kinds['witness']['params_schema'] == {'type': 'object'}
    assert kinds['witness_each']['recovery'] == 'fail'


def test_a_unit_passes(rig, engine):
    file = os.path.join(rig.dir, 'passes')
    unit = engine.start('witness_each', {'file': file, 'label': 'one', 'steps': 3},
                        target={'id': str(uuid.uuid4()), 'name': 'core-1', 'address': '127.0.0.1',
                                'port': 22, 'platform': 'frr'})
    engine.finish(unit)
    r = unit.result
    assert (r['class'], r['rc'], r['killed'], r['exit']) == ('passed', 0, None, {'status': 0})
    assert r['result'] == {'seen': True}
    assert unit.frames[0].type == 'J_STARTED'
    assert unit.output() == (b'one step 1 \none step 2 \none step 3 \n', [])
    assert unit.of('J_PROGRESS')[-1].json == {'done': 3, 'total': 3, 'label': 'step'}
    seen = [json.loads(line) for line in open(file, encoding='utf-8')]
    assert [s['phase'] for s in seen] == ['start', 'step', 'step', 'step', 'end']
    assert {s['run'] for s in seen} == {unit.id.split('.')[0]} and seen[0]['device'] == 'core-1'
    # The files say the same as the socket did.
    on_disk = list(frames.UnitFile(rig.unit_file(unit.id)).frames())
    assert [(f.type, f.json, f.blob) for f in on_disk[:-1]] == [(f.type, f.json, f.blob) for f in unit.frames]
    assert (on_disk[-1].type, on_disk[-1].json) == ('J_RESULT', unit.result)


def test_an_input_without_a_secret_may_come_as_text(rig, engine):
    assert engine.hello['input_text'] is True
    file = os.path.join(rig.dir, 'as_text')
    unit = engine.finish(engine.start('witness', {'file': file, 'label': 'r\u00f6hre'}, as_text=True))
    assert unit.result['class'] == 'passed'
    assert {json.loads(line)['run'] for line in open(file, encoding='utf-8')} == {unit.id.split('.')[0]}
    nothing = str(uuid.uuid4()) + '.1.0'
    engine.peer.send('START', {'unit': nothing, 'epoch': 1, 'type': 'witness'})
    engine.units[nothing] = execrig.Unit(nothing, 1)
    engine.pump(lambda: engine.units[nothing].refused)
    assert engine.units[nothing].refused['code'] == 'executor.no_input'


def test_failure_words_and_numbers(engine):
    unit = engine.finish(engine.start('witness', {'fail': 'no such thing', 'rc': -202}))
    r = unit.result
    assert (r['class'], r['rc'], r['code']) == ('auth', -202, 'witness.failed')
    assert (r['message'], r['hint']) == ('no such thing', 'as asked')
    assert engine.finish(engine.start('witness', {'rc': 1})).result['class'] == 'skipped'
    assert engine.finish(engine.start('crash', {'mode': 'odd_rc', 'rc': -150})).result['class'] == 'transient'
    assert engine.finish(engine.start('crash', {'mode': 'odd_rc', 'rc': 4711})).result['class'] == 'internal'


def test_output_is_kept_to_the_byte(engine):
    unit = engine.start('witness', {'label': 'b', 'steps': 400, 'output_b': 3000})
    engine.finish(unit)
    want = b''.join(b'b step %d ' % i + bytes(97 + (i * 7 + k) % 26 for k in range(3000)) + b'\n'
                    for i in range(1, 401))
    got, cuts = unit.output()
    assert not cuts and got == want
    assert unit.result['output_b'] == len(want) and unit.result['output_cut_b'] == 0


@pytest.mark.parametrize('limit', [8 << 20, 1000001, 4096])
def test_output_cap_keeps_head_and_tail(engine, limit):
    unit = engine.start('crash', {'mode': 'flood', 'mib': 24}, output_limit_b=limit)
    engine.finish(unit)
    total = 24 << 20
    blocks = b''.join((b'block %d ' % i).ljust(4095, b'x') + b'\n' for i in range(24 * 256))
    log, blocks = blocks, b''
    # The plugin's own log line stands in front of the flood.
    out, cuts = unit.output()
    start = out.index(b'block 0 ')
    want = out[:start] + log
    assert unit.result['output_b'] == start + total
    assert cuts == [(limit // 2, start + total - limit)]
    assert out == want[:limit // 2] + want[len(want) - (limit - limit // 2):]
    assert unit.result['output_cut_b'] == start + total - limit


@pytest.mark.parametrize('size', [0, 1, 60000, 5 << 20])
def test_artifact(engine, size):
    unit = engine.finish(engine.start('witness', {'artifact_b': size}))
    (head, stored), = unit.artifacts()
    assert (head['kind'], head['meta'], head['is_secret'], head['raw_b']) == (
        'witness.body', {'a': 1}, False, size)
    assert frames.unzstd(stored, size) == bytes((i * 31 >> 3) & 255 for i in range(size))


def test_secret_artifact_is_sealed(rig, engine):
    pk, sk = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    sodium.crypto_box_keypair(pk, sk)
    unit = engine.finish(engine.start('witness', {'artifact_b': 100000, 'secret': 1}, seal_pk=pk.raw))
    (head, stored), = unit.artifacts()
    assert head['is_secret'] is True
    opened = ctypes.create_string_buffer(len(stored))
    assert sodium.crypto_box_seal_open(opened, stored, ctypes.c_ulonglong(len(stored)), pk, sk) == 0
    body = frames.unzstd(opened.raw[:len(stored) - 48], 100000)
    assert body == bytes((i * 31 >> 3) & 255 for i in range(100000))
    # Without a key it is not stored at all, least of all in clear.
    unit = engine.finish(engine.start('witness', {'artifact_b': 10, 'secret': 1}))
    assert not unit.artifacts() and unit.result['class'] == 'internal'
    assert 'no key to seal' in unit.result['message']


def test_secrets_reach_the_plugin_and_no_file(rig, engine):
    word = 'Grenzwert-' + uuid.uuid4().hex
    unit = engine.finish(engine.start('witness', {'show_secret_length': 1, 'step_ms': 10},
                                      secret={'username': 'u', 'password': word}))
    assert b'password has %d bytes, given' % len(word) in unit.output()[0]
    for folder, _, names in os.walk(rig.dir):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, 'rb') as f:
                    assert word.encode() not in f.read(), path


def test_events_arrive_and_are_bounded(engine):
    unit = engine.finish(engine.start('witness', {'events': 11000}))
    assert unit.result['class'] == 'passed'
    events = unit.of('J_EVENT')
    assert len(events) == 10000
    assert events[0].json == {'type': 'witness_event', 'severity': 6, 'data': {'n': 1}}


def test_the_same_start_twice_is_one_unit(rig, engine):
    file = os.path.join(rig.dir, 'twice')
    unit = engine.start('witness', {'file': file, 'steps': 3, 'step_ms': 50})
    engine.start('witness', {'file': file, 'steps': 3, 'step_ms': 50}, uid=unit.id)
    engine.finish(unit)
    engine.start('witness', {'file': file, 'steps': 3, 'step_ms': 50}, uid=unit.id)
    other = engine.finish(engine.start('witness', {}))
    assert other.result['class'] == 'passed'
    assert [json.loads(x)['phase'] for x in open(file, encoding='utf-8')].count('start') == 1


def test_refusals_leave_nothing(rig, engine):
    def refused(**kw):
        unit = engine.finish(engine.start(kw.pop('task_type', 'witness'), {}, **kw))
        assert not os.path.exists(rig.unit_file(unit.id))
        return unit.refused['class'], unit.refused['code']
    assert refused(task_type='no_such_type') == ('unsupported', 'plugin.unknown_type')
    assert refused(uid='../../etc') == ('internal', 'executor.bad_start')
    assert refused(uid=f'{uuid.uuid4()}.1') == ('internal', 'executor.bad_start')
    assert refused(epoch=0) == ('internal', 'executor.bad_start')


def test_capacity():
    small = execrig.Rig(max_units=2)
    try:
        engine = execrig.Engine(small)
        held = [engine.start('witness', {'steps': 1, 'step_ms': 60000}) for _ in range(2)]
        engine.pump(lambda: all(u.frames for u in held))
        unit = engine.finish(engine.start('witness', {}))
        assert (unit.refused['class'], unit.refused['code']) == ('transient', 'executor.full')
        for u in held:
            engine.cancel(u)
        engine.finish(*held)
        assert engine.finish(engine.start('witness', {})).result['class'] == 'passed'
        engine.close()
    finally:
        small.stop()


def test_ack_settles_and_wrong_epoch_does_not(rig, engine):
    unit = engine.finish(engine.start('witness', {'steps': 2}))
    engine.peer.send('ACK', {'unit': unit.id, 'epoch': 99, 'final': True, 'now': True})
    again = execrig.Unit(unit.id, 1)
    engine.units[unit.id] = again
    engine.attach(again)
    engine.finish(again)
    assert again.result == unit.result and again.output() == unit.output()
    engine.ack(unit)
    engine.close()
    listed = execrig.Engine(rig, known=[unit])
    assert unit.id not in listed.listed
    assert os.path.exists(rig.unit_file(unit.id))
    listed.ack(unit, now=True)
    execrig.wait_for('file removed', lambda: not os.path.exists(rig.unit_file(unit.id)))
    gone = execrig.Unit(unit.id, 1)
    listed.units[unit.id] = gone
    listed.attach(gone)
    assert listed.finish(gone).lost['message'] == 'this executor does not hold the unit'
    listed.close()


def test_drop_kills_and_forgets(rig, engine):
    unit = engine.start('tree', {'file': os.path.join(rig.dir, 'dropped'), 'helpers': 3})
    engine.pump(lambda: unit.frames)
    tag = rig.meta(unit.id)['tag']
    execrig.wait_for('the tree grown', lambda: len(execrig.tagged({tag})) == 4)
    engine.peer.send('DROP', {'unit': unit.id})
    execrig.wait_for('file removed', lambda: not os.path.exists(rig.unit_file(unit.id)))
    assert not execrig.tagged({tag})


def test_a_disk_that_is_full_eats_output_but_no_result():
    """A file size limit stands for it: the journal cannot grow, the result was given room before."""
    limited = execrig.Rig(preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000)))
    try:
        engine = execrig.Engine(limited)
        unit = engine.finish(engine.start('crash', {'mode': 'noise', 'kib': 2048}))
        r = unit.result
        assert r['class'] == 'passed' and r['output_b'] > 2 << 20
        out, cuts = unit.output()
        # What is there is right, what is missing is counted.
        assert 0 < len(out) < 100000
        assert r['output_cut_b'] == r['output_b'] - len(out) >= sum(n for _, n in cuts)
        assert os.path.getsize(limited.unit_file(unit.id)) <= 100000
        engine.close()
    finally:
        limited.stop()


def test_no_process_of_ours_leaves_a_core():
    """What plugins say passes through the keeper's memory in clear."""
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    own = execrig.Rig(preexec=lambda: resource.setrlimit(resource.RLIMIT_CORE, (most, most)))
    try:
        engine = execrig.Engine(own)
        unit = engine.start('tree', {'helpers': 0, 'ms': 600000})
        engine.pump(lambda: unit.of('J_STARTED'))
        started = unit.of('J_STARTED')[0].json
        for pid in (own.proc.pid, started['keeper_pid'], started['pid']):
            with open(f'/proc/{pid}/limits', encoding='ascii') as f:
                assert [line.split()[4:6] for line in f if line.startswith('Max core')] == [['0', '0']], pid
        engine.cancel(unit)
        engine.finish(unit)
        engine.close()
    finally:
        own.stop()


def test_connections_wait_while_no_descriptor_is_free():
    own = execrig.Rig(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)))
    try:
        crowd = [frames.Peer(own.state) for _ in range(15)]
        execrig.wait_for('a word about it', lambda: 'no descriptor is free' in own.log())
        for peer in crowd:
            peer.close()
        execrig.Engine(own).close()
    finally:
        own.stop()


def test_a_newer_hello_wins_and_garbage_is_closed(rig, engine):
    junk = frames.Peer(rig.state)
    junk.send_raw(b'\xff' * 40)
    assert junk.recv() is None
    early = frames.Peer(rig.state)
    early.send('ACK', {})
    assert early.recv() is None
    newer = execrig.Engine(rig, epoch=2)
    assert engine.peer.recv() is None
    assert newer.finish(newer.start('witness', {})).result['class'] == 'passed'
    newer.peer.sock.send(frames.HEADER.pack(2, 77, 1, 0) + b'xx')
    assert newer.peer.recv() is None
    for s in (junk, early, newer):
        s.close()


def test_an_unknown_frame_type_is_ignored(engine):
    body = b'\x02\0\0\0{}'
    engine.peer.send_raw(frames.HEADER.pack(len(body), 30000, 1, 0) + body)
    assert engine.finish(engine.start('witness', {})).result['class'] == 'passed'


def test_the_socket_is_private_and_the_state_has_one_executor(rig):
    assert os.stat(os.path.join(rig.state, 'executor.sock')).st_mode & 0o777 == 0o600
    assert os.stat(rig.state).st_mode & 0o777 == 0o700
    second = subprocess.run([f'{execrig.BUILD}/takt-executor', '--state', rig.state],
                            capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1 and 'another executor holds' in second.stderr
