# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
Deadline and cancel end trees that double-fork, call setsid, ignore SIGTERM, close everything and
stop themselves, 50 of 50 each, while 20 neighbours with orphaned helpers of their own go on untouched.
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
import execrig  # noqa: E402

TREES, NEIGHBOURS, HELPERS = 50, 20, 3


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


def lines(path):
    """[(what, pid)] that a tree's processes wrote."""
    try:
        with open(path, encoding='ascii') as f:
            return [(what, int(pid)) for what, pid in (line.split() for line in f if line.endswith('\n'))]
    except FileNotFoundError:
        return []


def pids_of(path, what='helper'):
    return [pid for kind, pid in lines(path) if kind == what]


class Trees:
    def __init__(self, rig, engine, count, name, **start):
        self.files = [os.path.join(rig.dir, f'{name}{i}') for i in range(count)]
        params = start.pop('params', {})
        self.units = [engine.start('tree', {'file': f, 'helpers': HELPERS, **params}, **start)
                      for f in self.files]

    def wait_grown(self, engine):
        """Helpers write their pid when they have lost their parents."""
        engine.pump(lambda: all(len(pids_of(f)) == HELPERS for f in self.files), limit=90)

    def helpers(self):
        return [pid for f in self.files for pid in pids_of(f)]

    def everybody(self):
        return self.helpers() + [pid for f in self.files for pid in pids_of(f, 'run')]


@pytest.mark.parametrize('how', ['deadline', 'cancel'])
def test_trees_die_and_neighbours_do_not(rig, engine, how):
    neighbours = Trees(rig, engine, NEIGHBOURS, 'neighbour',
                       params={'mode': 'neighbour', 'ms': 600000}, timeout_ms=900000)
    neighbours.wait_grown(engine)
    trees = Trees(rig, engine, TREES, 'tree', grace_ms=300,
                  timeout_ms=15000 if how == 'deadline' else 900000)
    trees.wait_grown(engine)
    doomed = trees.everybody()
    assert len(doomed) == TREES * (HELPERS + 1)
    if how == 'cancel':
        for unit in trees.units:
            engine.cancel(unit, grace_ms=300, reason='by the test')
    engine.finish(*trees.units, limit=90)
    results = [u.result for u in trees.units]
    want = ('timeout', 'deadline') if how == 'deadline' else ('cancelled', 'cancel')
    assert [(r['class'], r['killed']) for r in results] == [want] * TREES
    # A result is told only when everything is dead: no waiting here.
    assert [pid for pid in doomed if execrig.is_alive(pid)] == []
    # Not one neighbour was touched, its orphaned helpers neither.
    assert all(map(execrig.is_alive, neighbours.everybody()))
    assert len(neighbours.helpers()) == NEIGHBOURS * HELPERS
    assert not any(u.is_over for u in neighbours.units)
    leftovers = neighbours.everybody()
    for unit in neighbours.units:
        engine.cancel(unit, grace_ms=60000)
    engine.finish(*neighbours.units, limit=90)
    assert [pid for pid in leftovers if execrig.is_alive(pid)] == []


def test_neighbours_finish_by_themselves(rig, engine):
    """Passed, and their orphaned helpers are gone with them."""
    neighbours = Trees(rig, engine, NEIGHBOURS, 'neighbour', params={'mode': 'neighbour', 'ms': 4000})
    victims = Trees(rig, engine, 10, 'victim')
    victims.wait_grown(engine)
    for unit in victims.units:
        engine.cancel(unit, grace_ms=0)
    engine.finish(*neighbours.units, *victims.units)
    assert [u.result['class'] for u in neighbours.units] == ['passed'] * NEIGHBOURS
    for f in neighbours.files:
        assert [what for what, _ in lines(f)].count('finished') == 1
        assert len(pids_of(f)) == HELPERS
    left = neighbours.everybody() + victims.everybody()
    assert [pid for pid in left if execrig.is_alive(pid)] == []


@pytest.mark.parametrize('turn', range(5))
def test_chains_of_forks_are_caught(rig, engine, turn):
    """Four chains of processes that fork and exit without a pause; a neighbour meanwhile."""
    neighbour = Trees(rig, engine, 1, 'neighbour', params={'mode': 'neighbour', 'ms': 600000})
    neighbour.wait_grown(engine)
    file = os.path.join(rig.dir, f'chain{turn}')
    unit = engine.start('tree', {'file': file, 'mode': 'chain', 'helpers': 4}, timeout_ms=600000)
    engine.pump(lambda: unit.frames and len(pids_of(file)) == 4)
    tag = rig.meta(unit.id)['tag']
    execrig.wait_for('chains running', lambda: execrig.tagged({tag}))
    engine.cancel(unit, grace_ms=100)
    engine.finish(unit)
    assert unit.result['killed'] == 'cancel'
    assert not execrig.tagged({tag}) and not execrig.tagged({tag})
    assert all(map(execrig.is_alive, neighbour.everybody()))
    for u in neighbour.units:
        engine.cancel(u)
    engine.finish(*neighbour.units)


def test_a_plugin_that_listens_ends_by_itself(rig, engine):
    """Cancelled long before its grace is over, by its own return."""
    file = os.path.join(rig.dir, 'listens')
    unit = engine.start('witness', {'file': file, 'steps': 1, 'step_ms': 600000})
    engine.pump(lambda: unit.frames and os.path.exists(file) and 'step' in open(file).read())
    engine.cancel(unit, grace_ms=3600000, reason='enough')
    engine.finish(unit)
    assert (unit.result['class'], unit.result['killed']) == ('cancelled', 'cancel')
    assert unit.result['message'] == 'cancelled: enough' and unit.result['exit'] == {'status': 0}
    assert '"cancelled"' in open(file, encoding='utf-8').read()


def test_cancel_at_any_moment_of_a_start(engine):
    """Also of a unit whose zygote or keeper is not there yet: always one end, always the right one."""
    for i in range(30):
        unit = engine.start('witness', {'steps': 1, 'step_ms': 600000})
        engine.pump(lambda n=i, u=unit: n % 3 != 1 or u.frames)
        engine.cancel(unit)
        engine.finish(unit)
        assert (unit.result or unit.refused)['class'] == 'cancelled'
        assert i == 0 or unit.result, 'only the first may meet a zygote that is not ready'


def test_finished_work_stands_against_a_late_cancel(engine):
    unit = engine.finish(engine.start('witness', {'steps': 3}))
    engine.cancel(unit)
    assert engine.finish(engine.start('witness', {})).result['class'] == 'passed'
    assert unit.result['class'] == 'passed'


def test_a_hanging_plugin_meets_its_deadline(engine):
    unit = engine.finish(engine.start('crash', {'mode': 'hang'}, timeout_ms=300, grace_ms=200))
    r = unit.result
    assert (r['class'], r['killed'], r['exit']) == ('timeout', 'deadline', {'signal': 9})
    assert r['message'] == 'stopped at its deadline of 300 ms' and r['code'] == 'unit.deadline'
    assert r['duration_us'] >= 500000
