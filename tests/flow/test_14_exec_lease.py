# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
A unit that changes something (on_lease_loss: kill) is dead soon after its node's lease is over,
whoever else is dead or stopped; other units go on. Each keeper sees to that alone, by BOOTTIME.
"""
import json
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
import execrig  # noqa: E402

LEASE_MS = 5000
# Self-fenced after 20 s, another node may take over after 35 s: what a keeper has to end its tree.
MARGIN_MS = 15000
LOST = ('transient', 'takt.lease_lost', 'lease')


@pytest.fixture
def rig():
    rig = execrig.Rig()
    yield rig
    rig.stop()


@pytest.fixture
def engine(rig):
    engine = execrig.Engine(rig)
    yield engine
    engine.close()


def lines(path, phase=None):
    try:
        with open(path, encoding='utf-8') as f:
            seen = [json.loads(line) for line in f if line.endswith('\n')]
    except FileNotFoundError:
        return []
    return [line for line in seen if phase in (None, line['phase'])]


def start(engine, rig, name, on_lease_loss='kill', **more):
    file = os.path.join(rig.dir, name)
    unit = engine.start('witness_change', {'file': file, 'steps': 100000, 'step_ms': 50}, timeout_ms=600000,
                        on_lease_loss=on_lease_loss, **more)
    unit.file = file
    engine.pump(lambda: unit.is_over or unit.of('J_STARTED') and lines(file))
    return unit


def pid_of(unit):
    return unit.of('J_STARTED')[0].json['pid']


def is_past(until):
    return lambda: execrig.boottime_ms() > until


def outcome(unit):
    return tuple(unit.result[k] for k in ('class', 'code', 'killed'))


def wait_dead(pid, until):
    """It dies, and not before the lease is over; nor long after."""
    execrig.wait_for('the end of the unit', lambda: not execrig.is_alive(pid))
    assert until - 10 <= execrig.boottime_ms() < until + MARGIN_MS


def test_without_renewal_changes_stop_and_the_rest_goes_on(rig, engine):
    until = engine.lease(LEASE_MS)
    change, other = start(engine, rig, 'change'), start(engine, rig, 'other', 'continue')
    engine.finish(change)
    assert outcome(change) == LOST
    wait_dead(pid_of(change), until)
    # run() heard of it: the ladder begins with the cancellation.
    assert lines(change.file)[-1]['phase'] == 'cancelled'
    before = len(lines(other.file))
    execrig.wait_for('more steps of the other', lambda: len(lines(other.file)) > before + 5)
    engine.cancel(other)
    assert engine.finish(other).result['class'] == 'cancelled'


def test_renewals_keep_it_running(rig, engine):
    first = engine.lease(LEASE_MS)
    unit = start(engine, rig, 'renewed')
    while execrig.boottime_ms() < first + LEASE_MS:
        until = engine.lease(LEASE_MS)
        steps = len(lines(unit.file))
        engine.pump(lambda n=steps: unit.is_over or len(lines(unit.file)) > n + 3)
        assert not unit.is_over, unit.result
    engine.close()  # nobody renews any more
    wait_dead(pid_of(unit), until)


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGSTOP])
def test_with_the_executor_dead_or_stopped(rig, engine, how):
    until = engine.lease(LEASE_MS)
    unit = start(engine, rig, 'alone')
    if how == signal.SIGKILL:
        rig.kill()
    else:
        rig.proc.send_signal(how)
    wait_dead(pid_of(unit), until)
    execrig.wait_for('result', lambda: rig.is_marked(unit.id, 'durable'))
    if how == signal.SIGKILL:
        rig.start()
        engine = execrig.Engine(rig, known=[unit])
        assert engine.listed[unit.id]['phase'] == 'finished'
        engine.attach(unit)
    else:
        rig.proc.send_signal(signal.SIGCONT)
    engine.finish(unit)
    assert outcome(unit) == LOST


def test_an_adopted_unit_is_renewed(rig, engine):
    engine.lease(LEASE_MS * 2)
    unit = start(engine, rig, 'adopted')
    rig.kill()
    engine.close()
    rig.start()
    engine = execrig.Engine(rig, known=[unit])
    engine.attach(unit)
    first = engine.lease(LEASE_MS * 3)
    engine.pump(is_past(first - LEASE_MS // 2))  # over for who has not heard
    assert not unit.is_over and execrig.is_alive(pid_of(unit))
    wait_dead(pid_of(unit), first)
    engine.finish(unit)
    assert outcome(unit) == LOST
    engine.close()


def test_a_lease_that_was_over_cannot_be_renewed(rig, engine):
    """The keeper is stopped meanwhile: another node may have taken the run."""
    until = engine.lease(LEASE_MS)
    unit = start(engine, rig, 'asleep')
    keeper = rig.meta(unit.id)['keeper_pid']
    os.kill(keeper, signal.SIGSTOP)
    execrig.wait_for('the end of the lease', is_past(until))
    engine.lease(600000)
    os.kill(keeper, signal.SIGCONT)
    engine.finish(unit)
    assert outcome(unit) == LOST


def test_what_waited_in_a_socket_is_no_lease(rig, engine):
    """LEASE and START reach an executor that was stopped until both were stale."""
    rig.proc.send_signal(signal.SIGSTOP)
    until = engine.lease(1000)
    file = os.path.join(rig.dir, 'stale')
    unit = engine.start('witness_change', {'file': file}, on_lease_loss='kill')
    execrig.wait_for('the end of the lease', is_past(until))
    rig.proc.send_signal(signal.SIGCONT)
    engine.finish(unit)
    assert (unit.refused['class'], unit.refused['code']) == ('transient', 'takt.no_lease')
    assert not os.path.exists(file)


def test_no_start_without_a_lease(rig, engine):
    unit = engine.start('witness_change', {'steps': 1}, on_lease_loss='kill')
    engine.finish(unit)
    assert unit.refused['code'] == 'takt.no_lease'
    other = engine.start('witness_change', {'steps': 1}, on_lease_loss='continue')
    assert engine.finish(other).result['class'] == 'passed'
    engine.lease(600000)
    again = engine.start('witness_change', {'steps': 1}, on_lease_loss='kill')
    assert engine.finish(again).result['class'] == 'passed'


def test_escapees_that_ignore_everything(rig, engine):
    """A grace of ten minutes is cut to four seconds."""
    until = engine.lease(LEASE_MS)
    files = [os.path.join(rig.dir, f'tree{i}') for i in range(5)]
    units = [engine.start('tree', {'file': f, 'helpers': 3}, timeout_ms=900000, grace_ms=600000,
                          on_lease_loss='kill') for f in files]

    def grown():
        found = [line.split() for f in files if os.path.exists(f) for line in open(f, encoding='ascii')]
        return [int(pid) for what, pid in found if what == 'helper']

    engine.pump(lambda: any(u.is_over for u in units) or len(grown()) == 5 * 3)
    pids = grown()
    assert not any(u.is_over for u in units), 'the lease was over before the trees had grown'
    engine.finish(*units)
    assert until < execrig.boottime_ms() < until + MARGIN_MS
    # A result is told only when everything is dead: no waiting here.
    assert not [p for p in pids if execrig.is_alive(p)]
    assert [outcome(u) for u in units] == [LOST] * 5
    assert not execrig.tagged({rig.meta(u.id)['tag'] for u in units})
