# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
Executor and keeper die once at each point of lib/base/failpoints.def, by a kill and as by a loss of
power: each unit ends once, with the outcome it reached or as lost, and leaves no process.
"""
import json
import os
import re
import sys
import uuid

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
import execrig  # noqa: E402
import failpoints  # noqa: E402

pytestmark = pytest.mark.skipif(not failpoints.are_built(), reason='needs ./configure --enable-failpoints')
STEPS = 3
# Points behind which a result stands, also after a loss of power.
DURABLE = ('keeper.tell', 'keeper.told', 'executor.result_told', 'executor.settled')
# Before these nothing of the unit has run: the executor forgets it and takes START again.
UNBEGUN = ('executor.file_made', 'executor.spawn')


@pytest.fixture
def points():
    with failpoints.Failpoints() as points:
        yield points


@pytest.fixture
def rig(points):
    rig = execrig.Rig()
    yield rig
    rig.stop()


class Through:
    """One unit, from START to settled, with an executor that is started again when it died."""

    def __init__(self, rig):
        self.rig, self.uid, self.engine, self.unit, self.starts = rig, f'{uuid.uuid4()}.1.0', None, None, 0
        self.file = os.path.join(rig.dir, self.uid)

    def start(self):
        self.starts += 1
        self.unit = self.engine.start('witness', {'file': self.file, 'label': 'w', 'steps': STEPS, 'output_b': 50},
                                      uid=self.uid)

    def meet(self):
        """An engine for an executor that was started again: what it holds is attached, else START comes again."""
        self.engine = execrig.Engine(self.rig, known=[self.unit] if self.unit else [])
        if self.unit and self.unit.is_over:
            self.engine.ack(self.unit)
        elif self.uid not in self.engine.listed:
            self.start()
        else:
            self.engine.attach(self.unit)

    def pump(self, until):
        while not until():
            if self.rig.proc.poll() is not None:
                self.engine.close()
                self.rig.start()
                self.meet()
                continue
            try:
                self.engine.pump(lambda: until() or self.rig.proc.poll() is not None)
            except (AssertionError, ConnectionError):
                execrig.wait_for('the executor to have died', lambda: self.rig.proc.poll() is not None)

    def run(self):
        self.meet()
        self.pump(lambda: self.unit.is_over)

    def settle(self):
        try:
            self.engine.ack(self.unit)
        except ConnectionError:
            pass  # it died at the point; meet() says it again
        self.pump(lambda: self.rig.proc.poll() is None and self.rig.is_marked(self.uid, 'settled'))
        self.engine.close()


def witnessed(file):
    try:
        with open(file, encoding='utf-8') as f:
            return [json.loads(line)['phase'] for line in f]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize('action', ['crash', 'powerloss'])
@pytest.mark.parametrize('name', failpoints.names('executor', 'keeper'))
def test_dies_at(rig, points, name, action):
    points.arm(name, action)
    t = Through(rig)
    t.run()
    if t.unit.refused:  # the zygote had not taken it; the engine would count this as a transient failure
        assert t.unit.refused['class'] == 'transient' and witnessed(t.file) == []
    else:
        t.settle()
    execrig.wait_for(f'{name} to fire', lambda: points.has_fired(name))
    phases = witnessed(t.file)
    assert phases.count('start') <= 1, 'it ran twice'
    if name in UNBEGUN:
        assert t.starts == 2 and t.unit.result['class'] == 'passed'
    if name in DURABLE or (name.startswith('keeper.result_marked') and action == 'crash'):
        assert t.unit.result, t.unit.lost
    if t.unit.result:
        assert t.unit.result['class'] == 'passed'
        assert phases == ['start'] + ['step'] * STEPS + ['end']
        want = b''.join(b'w step %d ' % n + bytes(97 + (n * 7 + k) % 26 for k in range(50)) + b'\n'
                        for n in range(1, STEPS + 1))
        assert t.unit.output() == (want, [])
    else:
        assert t.unit.lost or t.unit.refused
    rig.note_units()
    execrig.wait_for('no process of the unit', lambda: not execrig.tagged(rig.tags))


def test_every_named_place_is_in_the_table():
    """And each row of the table is a place: a name there that nothing passes would be a test of nothing."""
    sources = ''
    for top in ('executor', 'daemon', 'lib'):
        for directory, _, files in os.walk(os.path.join(execrig.ROOT, top)):
            for file in files:
                if file.endswith('.c'):
                    sources += open(os.path.join(directory, file), encoding='utf-8').read()
    places = set(re.findall(r'FAILPOINT\("([\w.]+)"\)', sources))
    jobs = re.findall(r'\[JOB_\w+\] = \{"(\w+)"', sources) + re.findall(r'STORE_POINT_ONCE\([^;]*"(\w+)"[^;]*\);', sources)
    places |= {f'{job}.{when}' for job in jobs if job != 'poll' for when in ('send', 'sent', 'committed')}
    assert places == {name for name, _ in failpoints.table()}
