# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
A loss of power, really: units on an ext4 of their own, whose device is copied as it stands when their
results have been told. In the copy each of them is there by name and whole; what nobody synced is not.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../lib'))
import execrig  # noqa: E402
import frames  # noqa: E402


def mount(image, directory, options='loop'):
    os.makedirs(directory, exist_ok=True)
    return subprocess.run(['mount', '-o', options, image, directory], capture_output=True, check=False).returncode == 0


@pytest.fixture
def device(monkeypatch):
    """(image, where it is mounted): commits by itself only after minutes."""
    top = tempfile.mkdtemp(prefix='takt-power-')
    image, at = os.path.join(top, 'image'), os.path.join(top, 'mounted')
    try:
        with open(image, 'wb') as f:
            f.truncate(96 << 20)
        if not shutil.which('mkfs.ext4') or subprocess.run(['mkfs.ext4', '-qF', image], check=False).returncode or \
                not mount(image, at, 'loop,commit=300'):
            pytest.skip('needs mkfs.ext4 and the right to mount')
        monkeypatch.setattr(tempfile, 'tempdir', at)
        try:
            yield image, at
        finally:
            subprocess.run(['umount', at], check=True)
    finally:
        shutil.rmtree(top)


def found_after_power_loss(image, at, rig, units, control):
    """Of the units, those that the copied device has; and whether it has the control file."""
    copy, there = image + '.copy', at + '.copy'
    shutil.copyfile(image, copy)
    assert mount(copy, there), 'the copied device cannot be mounted'
    try:
        found = set()
        for unit in units:
            file = frames.read_unit(there + rig.unit_file(unit.id)[len(at):])
            last = list(file.frames())[-1] if file and file.meta.get('unit') == unit.id else None
            if last and last.type == 'J_RESULT' and last.json == unit.result:
                found.add(unit.id)
        return found, os.path.exists(there + control[len(at):])
    finally:
        subprocess.run(['umount', there], check=True)


def test_what_was_told_is_on_the_disk(device):
    image, at = device
    rig = execrig.Rig(plugins=('witness',))
    try:
        os.sync()  # what belongs to the rig; from here on only the keepers sync
        engine = execrig.Engine(rig)
        told = []
        for turn, count in enumerate((1, 20, 7, 40)):
            units = [engine.start('witness', {'steps': 2, 'output_b': 200}) for _ in range(count)]
            engine.finish(*units)
            control = os.path.join(rig.dir, f'control{turn}')
            with open(control, 'w', encoding='ascii') as f:
                f.write('nobody synced me')
            told += units
            found, has_control = found_after_power_loss(image, at, rig, told, control)
            assert found == {u.id for u in told}
            assert not has_control, 'something else has synced: this proves nothing'
            for unit in told[::2]:  # their files go to the next ones
                engine.ack(unit, now=True)
                execrig.wait_for('file removed', lambda u=unit: not os.path.exists(rig.unit_file(u.id)))
            told = told[1::2]
        engine.close()
    finally:
        rig.stop()
