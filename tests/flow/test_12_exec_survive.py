# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""kill -9 of executor, zygotes and keepers while slowed units run; what the witness file says counts."""
import json
import os
import signal
import subprocess
import sys
import uuid

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
import execrig  # noqa: E402
import frames  # noqa: E402


@pytest.fixture
def rig():
    rig = execrig.Rig()
    yield rig
    rig.stop()


def seen(path):
    with open(path, encoding='utf-8') as f:
        return [json.loads(line) for line in f if line.endswith('\n')]


def steps_of(path, label):
    return [s['step'] for s in seen(path) if s['label'] == label and s['phase'] == 'step']


def started(engine, units):
    engine.pump(lambda: all(u.of('J_STARTED') for u in units))


def test_executor_killed_five_times(rig):
    count, steps = 6, 60
    file = os.path.join(rig.dir, 'witness')
    engine = execrig.Engine(rig)
    units = [engine.start('witness', {'file': file, 'label': f'u{i}', 'steps': steps, 'step_ms': 120,
                                      'output_b': 900}) for i in range(count)]
    engine.pump(lambda: all(u.of('J_OUTPUT') for u in units))
    pids = {u.id: u.of('J_STARTED')[0].json['pid'] for u in units}
    for turn in range(5):
        before = len(seen(file))
        running = [u for u in units if not u.is_over]
        assert len(running) >= 5, 'too few units were running when the executor was killed'
        assert all(execrig.is_alive(pids[u.id]) for u in running)
        rig.kill()
        # They go on while there is no executor.
        execrig.wait_for('steps without an executor', lambda n=before: len(seen(file)) > n + count)
        engine.close()
        rig.start()
        engine = execrig.Engine(rig, known=units, epoch=1)
        for u in running:
            assert engine.listed[u.id]['phase'] in ('running', 'finished'), f'turn {turn}'
            engine.attach(u)
        goal = {u.id: u.next for u in running}
        engine.pump(lambda g=goal: all(u.is_over or u.next > g[u.id] for u in units))
    engine.finish(*units)
    for i, u in enumerate(units):
        assert u.result['class'] == 'passed', u.result
        # Once each, in order, by the same process; and every byte of output once.
        assert steps_of(file, f'u{i}') == list(range(1, steps + 1))
        assert {s['pid'] for s in seen(file) if s['label'] == f'u{i}'} == {pids[u.id]}
        out, cuts = u.output()
        want = b''.join(b'u%d step %d ' % (i, n) + bytes(97 + (n * 7 + k) % 26 for k in range(900)) +
                        b'\n' for n in range(1, steps + 1))
        assert not cuts and out == want
    engine.close()


def test_cancel_reaches_an_adopted_unit(rig):
    file = os.path.join(rig.dir, 'tree')
    engine = execrig.Engine(rig)
    unit = engine.start('tree', {'file': file, 'helpers': 3}, timeout_ms=600000)
    engine.pump(lambda: unit.frames and os.path.exists(file) and open(file).read().count('helper') == 3)
    engine.close()
    rig.kill()
    rig.start()
    engine = execrig.Engine(rig, known=[unit])
    assert engine.listed[unit.id]['phase'] == 'running'
    engine.attach(unit)
    engine.cancel(unit, grace_ms=100)
    engine.finish(unit)
    assert unit.result['class'] == 'cancelled'
    assert not execrig.tagged({rig.meta(unit.id)['tag']})
    engine.close()


def test_a_result_waits_while_the_executor_is_down(rig):
    file = os.path.join(rig.dir, 'waits')
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'file': file, 'steps': 10, 'step_ms': 50, 'output_b': 100})
    started(engine, [unit])
    rig.kill()
    engine.close()
    execrig.wait_for('result', lambda: rig.is_marked(unit.id, 'durable'))
    assert seen(file)[-1]['phase'] == 'end'
    rig.start()
    engine = execrig.Engine(rig, known=[unit])
    assert engine.listed[unit.id]['phase'] == 'finished'
    assert engine.listed[unit.id]['journal_b'] == frames.UnitFile(rig.unit_file(unit.id)).journal_b
    engine.attach(unit)
    engine.finish(unit)
    assert unit.result['class'] == 'passed' and unit.output()[0].count(b'\n') == 10
    # Settled, it is neither listed nor lost by the next executor.
    engine.ack(unit)
    execrig.wait_for('settled', lambda: rig.is_marked(unit.id, 'settled'))
    engine.close()
    rig.kill()
    rig.start()
    engine = execrig.Engine(rig)
    assert unit.id not in engine.listed and os.path.exists(rig.unit_file(unit.id))
    engine.close()


def test_a_settled_unit_is_told_again_and_does_not_run_again(rig):
    """For a database that lost commits: START comes for what was settled."""
    file = os.path.join(rig.dir, 'again')
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'file': file, 'steps': 3, 'output_b': 100})
    engine.finish(unit)
    engine.ack(unit)
    execrig.wait_for('settled', lambda: rig.is_marked(unit.id, 'settled'))
    del engine.units[unit.id]
    again = engine.start('witness', {'file': file, 'steps': 3, 'output_b': 100}, uid=unit.id)
    engine.finish(again)
    assert again.result == unit.result and again.output() == unit.output()
    del engine.units[unit.id]
    newer = engine.start('witness', {'file': file, 'steps': 3}, uid=unit.id, epoch=2)
    engine.finish(newer)
    assert (newer.refused['class'], newer.refused['code']) == ('transient', 'executor.held')
    assert [s['phase'] for s in seen(file)].count('start') == 1
    engine.close()


def test_units_go_on_when_the_engine_leaves(rig):
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'steps': 20, 'step_ms': 50, 'output_b': 200})
    engine.pump(lambda: unit.of('J_OUTPUT'))
    engine.close()
    execrig.wait_for('result', lambda: rig.is_marked(unit.id, 'durable'))
    engine = execrig.Engine(rig, known=[unit])
    assert engine.listed[unit.id]['phase'] in ('running', 'finished')
    engine.attach(unit)
    engine.finish(unit)
    assert unit.output()[0].count(b'\n') == 20
    engine.close()


def test_sigterm_leaves_keepers_alone(rig):
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'steps': 1, 'step_ms': 600000})
    started(engine, [unit])
    rig.terminate()
    engine.close()
    assert execrig.is_alive(rig.meta(unit.id)['keeper_pid'])
    rig.start()
    engine = execrig.Engine(rig, known=[unit])
    engine.attach(unit)
    engine.cancel(unit)
    assert engine.finish(unit).result['class'] == 'cancelled'
    engine.close()


@pytest.mark.parametrize('task_type', ['tree', 'crash'])
def test_a_killed_keeper_is_lost_and_leaves_nothing(rig, task_type):
    """From outside with a tree of escapees, and by the plugin itself."""
    file = os.path.join(rig.dir, 'lost')
    engine = execrig.Engine(rig)
    bystander = engine.start('tree', {'file': file + '2', 'helpers': 3, 'mode': 'neighbour', 'ms': 600000})
    started(engine, [bystander])
    execrig.wait_for('bystander', lambda: os.path.exists(file + '2') and
                     open(file + '2').read().count('helper') == 3)
    if task_type == 'tree':
        unit = engine.start('tree', {'file': file, 'helpers': 3})
        engine.pump(lambda: unit.frames and os.path.exists(file) and
                    open(file).read().count('helper') == 3)
        meta = rig.meta(unit.id)
        assert len(execrig.tagged({meta['tag']})) == 4
        os.kill(meta['keeper_pid'], signal.SIGKILL)
    else:
        unit = engine.start('crash', {'mode': 'kill_keeper'})
    engine.finish(unit)
    assert unit.lost['message'] == 'its keeper is gone without a result'
    assert not execrig.tagged({rig.meta(unit.id)['tag']})
    assert len(execrig.tagged({rig.meta(bystander.id)['tag']})) == 4
    engine.ack(unit, now=True)
    execrig.wait_for('file removed', lambda: not os.path.exists(rig.unit_file(unit.id)))
    engine.cancel(bystander)
    engine.finish(bystander)
    engine.close()


def test_a_keeper_killed_while_the_executor_is_down(rig):
    file = os.path.join(rig.dir, 'down')
    engine = execrig.Engine(rig)
    unit = engine.start('tree', {'file': file, 'helpers': 3})
    engine.pump(lambda: unit.frames and os.path.exists(file) and open(file).read().count('helper') == 3)
    rig.kill()
    engine.close()
    meta = rig.meta(unit.id)
    os.kill(meta['keeper_pid'], signal.SIGKILL)
    execrig.wait_for('keeper gone', lambda: not execrig.is_alive(meta['keeper_pid']))
    rig.start()
    engine = execrig.Engine(rig, known=[unit])
    assert engine.listed[unit.id]['phase'] == 'lost'
    assert not execrig.tagged({meta['tag']})
    engine.attach(unit)
    assert engine.finish(unit).lost
    engine.close()


def test_a_killed_zygote_is_replaced_and_its_units_go_on(rig):
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'steps': 20, 'step_ms': 100})
    started(engine, [unit])
    children = subprocess.run(['ps', '--no-headers', '-o', 'pid,args', '--ppid', str(rig.proc.pid)],
                              capture_output=True, text=True, check=True).stdout
    zygotes = [int(line.split()[0]) for line in children.splitlines() if 'witness.so' in line]
    assert len(zygotes) == 1, children
    os.kill(zygotes[0], signal.SIGKILL)
    execrig.wait_for('zygote gone', lambda: not execrig.is_alive(zygotes[0]))
    other = None
    for _ in range(3):  # one START may meet the dying zygote: refused as transient, nothing is left
        other = engine.finish(engine.start('witness', {}))
        if other.result:
            break
        assert other.refused['class'] in ('transient', 'internal'), other.refused
    assert other.result['class'] == 'passed'
    engine.finish(unit)
    assert unit.result['class'] == 'passed'
    assert unit.of('J_PROGRESS')[-1].json['done'] == 20
    engine.close()


def test_the_keeper_answers_only_to_proof(rig):
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'steps': 1, 'step_ms': 600000})
    started(engine, [unit])
    address = frames.keeper_address(rig.meta(unit.id)['nonce'])
    stranger = frames.Peer(rig.state, address)
    stranger.send('CANCEL', {'grace_ms': 0})
    assert stranger.recv() is None
    liar = frames.Peer(rig.state, address)
    liar.send('K_ATTACH', {'challenge': '0' * 64})
    assert liar.recv().type == 'K_PROOF'
    liar.send('K_PROOF', {'mac': '0' * 64})
    assert liar.recv() is None
    junk = frames.Peer(rig.state, address)
    junk.send_raw(b'\0' * 7)
    assert junk.recv() is None
    assert not unit.is_over and execrig.is_alive(rig.meta(unit.id)['keeper_pid'])
    engine.cancel(unit)
    assert engine.finish(unit).result['class'] == 'cancelled'
    for s in (stranger, liar, junk):
        s.close()
    engine.close()


def test_half_a_journal_frame_is_passed_over(rig):
    """As a power cut would leave it: what is whole is told, then LOST."""
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'steps': 1, 'step_ms': 600000, 'output_b': 500})
    engine.pump(lambda: unit.of('J_OUTPUT'))
    engine.close()
    rig.kill()
    meta = rig.meta(unit.id)
    os.kill(meta['keeper_pid'], signal.SIGKILL)
    execrig.wait_for('keeper gone', lambda: not execrig.is_alive(meta['keeper_pid']))
    with open(rig.unit_file(unit.id), 'ab') as f:
        f.write(frames.encode('J_EVENT', {'type': 'x'}, off=f.tell() - frames.HEAD)[:-5])
    rig.start()
    engine = execrig.Engine(rig, known=[unit])
    again = execrig.Unit(unit.id, 1)
    engine.units[unit.id] = again
    engine.attach(again)
    engine.finish(again)
    assert again.lost and [f.type for f in again.frames] == [f.type for f in unit.frames]
    engine.close()


def test_a_result_that_cannot_be_read_is_a_loss(rig):
    """The engine waits for a last word; silence would keep its run open for ever."""
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'steps': 3, 'output_b': 100})
    engine.finish(unit)
    engine.close()
    with open(rig.unit_file(unit.id), 'r+b') as f:
        f.seek(frames.UnitFile(f.name).result_at)
        f.write(b'\xff' * 40)
    engine = execrig.Engine(rig, known=[unit])
    again = execrig.Unit(unit.id, 1)
    engine.units[unit.id] = again
    engine.attach(again)
    engine.finish(again)
    assert again.lost['message'] == 'it has ended, but its result cannot be read'
    assert again.output() == unit.output()
    engine.ack(again)
    execrig.wait_for('settled', lambda: rig.is_marked(unit.id, 'settled'))
    engine.close()


def test_an_engine_of_another_node_is_turned_away(rig):
    """It would have every unit dropped that it does not know: all of them."""
    path = os.path.join(rig.state, 'node-id')
    mine, other = '01a20408-2d89-7694-b8e7-478049fd08ed', '01a20408-2d89-7694-b8e7-478049fd08ee'
    engine = execrig.Engine(rig)
    unit = engine.start('witness', {'steps': 1000, 'step_ms': 50})
    started(engine, [unit])
    with open(path, 'w', encoding='ascii') as f:
        f.write(mine + '\n')
    try:
        stranger = frames.Peer(rig.state)
        stranger.send('HELLO', {'proto': 1, 'node': other, 'epoch': 1, 'version': '0'})
        assert stranger.recv() is None
        stranger.close()
        engine.cancel(unit)
        assert engine.finish(unit).result['class'] == 'cancelled'
        owner = frames.Peer(rig.state)
        owner.send('HELLO', {'proto': 1, 'node': mine, 'epoch': 1, 'version': '0'})
        assert owner.recv().type == 'HELLO'
        owner.close()
    finally:
        os.remove(path)
    engine.close()


def test_a_unit_that_was_never_claimed_is_forgotten_and_can_be_started(rig):
    """The executor died between START and the keeper: nothing ran, so nothing is lost."""
    engine = execrig.Engine(rig)
    first = engine.start('witness', {'steps': 1})
    engine.finish(first)
    engine.close()
    meta = rig.meta(first.id)
    rig.kill()
    again = str(uuid.uuid4()) + '.1.0'
    head = json.dumps({**{k: v for k, v in meta.items() if not k.startswith('keeper')}, 'unit': again}).encode()
    with open(rig.unit_file(again), 'wb') as f:
        f.write(head.ljust(frames.HEAD, b'\0'))
    late = os.open(rig.unit_file(again), os.O_RDONLY)
    try:
        rig.start()
        engine = execrig.Engine(rig, known=[first])
        assert again not in engine.listed and not os.path.exists(rig.unit_file(again))
        # A keeper that comes late has the file open: the claim is taken, and the file is nobody else's.
        unit = engine.finish(engine.start('witness', {'steps': 1}, uid=again))
        assert unit.result['class'] == 'passed'
        assert os.pread(late, 1, frames.MARKS['claimed']) == b'y' and os.fstat(late).st_nlink == 0
        engine.close()
    finally:
        os.close(late)


@pytest.mark.parametrize('is_whole', [True, False])
def test_after_a_loss_of_power_the_result_itself_counts(rig, is_whole):
    """The mark is not synced, the result is: the machine was started again, the file has one but not the other."""
    engine = execrig.Engine(rig)
    unit = engine.finish(engine.start('witness', {'steps': 3, 'output_b': 100}))
    engine.close()
    rig.kill()
    file = frames.UnitFile(rig.unit_file(unit.id))
    head = json.dumps({**{k: v for k, v in file.meta.items() if not k.startswith('keeper')},
                       'boot_id': str(uuid.uuid4())}).encode()
    with open(rig.unit_file(unit.id), 'r+b') as f:
        f.write(head.ljust(2048, b'\0'))
        f.seek(frames.MARKS['durable'])
        f.write(b'\0')
        if not is_whole:
            f.seek(-20, os.SEEK_END)
            f.write(b'\0' * 20)
    rig.start()
    again = execrig.Unit(unit.id, 1)
    engine = execrig.Engine(rig, known=[again])
    assert engine.listed[unit.id]['phase'] == ('finished' if is_whole else 'lost')
    engine.attach(again)
    engine.finish(again)
    assert again.output() == unit.output()
    assert again.result == (unit.result if is_whole else None) and bool(again.lost) != is_whole
    engine.close()


def test_files_of_units_are_used_again_and_keep_nothing(rig):
    """A file that is made and deleted costs more than a unit; what was in it is nobody else's business."""
    units = os.path.dirname(rig.unit_file('x'))
    engine = execrig.Engine(rig)
    first = engine.finish(engine.start('witness', {'steps': 50, 'output_b': 4000}))
    inode = os.stat(rig.unit_file(first.id)).st_ino
    engine.ack(first, now=True)

    def spares():
        return {os.stat(path).st_ino: path for n in os.listdir(units) if n.startswith('spare.')
                for path in [os.path.join(units, n)]}
    execrig.wait_for('file spare', lambda: inode in spares())
    execrig.wait_for('file cut', lambda: os.path.getsize(spares()[inode]) == frames.HEAD)
    before = spares()
    for path in before.values():  # an executor that died before it had cut them
        os.truncate(path, frames.HEAD)
        with open(path, 'ab') as f:
            f.write(b'left of another')
    engine.close()
    rig.kill()
    rig.start()
    engine = execrig.Engine(rig)
    second = engine.finish(engine.start('witness', {'steps': 1}))
    file = frames.UnitFile(rig.unit_file(second.id))
    assert not os.path.exists(before[os.stat(rig.unit_file(second.id)).st_ino])
    assert [f.type for f in file.frames()][-1] == 'J_RESULT' and file.marks == {'claimed', 'durable'}
    with open(file.path, 'rb') as f:
        data = f.read()
    assert first.id.encode() not in data and b'left' not in data
    engine.close()
