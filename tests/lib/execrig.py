# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""
An executor of its own for a test, and an engine in Python that speaks frames to it. Programs and
plugins come from TAKT_BUILD (default: build/ in the tree). Nothing is left behind: stop() ends the
executor and every keeper, then looks for processes that carry a unit's tag.
"""
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

import frames

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '../..'))
BUILD = os.environ.get('TAKT_BUILD', os.path.join(ROOT, 'build'))
LIMIT = 60


def wait_for(what, condition, limit=LIMIT):
    """Poll until condition() is true; its value. what: said when it never is."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f'after {limit} s still not: {what}'
        time.sleep(0.01)


def boottime_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def is_alive(pid):
    """True for a process that is there and no zombie."""
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as f:
            return f.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def tagged(tags):
    """Living processes whose first environment carries one of the tags."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/environ', 'rb') as f:
                env = f.read().split(b'\0')
        except OSError:
            continue
        if any(b'TAKT_UNIT=' + tag.encode() in env for tag in tags) and is_alive(pid):
            found.append(int(pid))
    return found


class Rig:
    """A state directory, a plugin directory, an executor."""

    def __init__(self, plugins=('witness', 'tree', 'crash'), max_units=200, more_args=(), preexec=None):
        self.preexec = preexec
        self.dir = tempfile.mkdtemp(prefix='takt-exec-')
        self.state = os.path.join(self.dir, 'state')
        self.plugins = os.path.join(self.dir, 'plugins')
        self.log_path = os.path.join(self.dir, 'executor.log')
        self.max_units = max_units
        self.more_args = list(more_args)
        self.tags = set()
        self.keepers = set()
        self.proc = None
        os.mkdir(self.plugins)
        try:
            for name in plugins:
                self.add_plugin(f'{BUILD}/tests/plugins/{name}.so')
            self.start()
        except BaseException:
            if self.proc and self.proc.poll() is None:
                self.proc.kill()
                self.proc.wait()
            shutil.rmtree(self.dir)
            raise

    def add_plugin(self, path, name=None):
        target = os.path.join(self.plugins, name or os.path.basename(path))
        shutil.copy(path, target)
        os.chmod(target, 0o755)
        return target

    def start(self):
        seen = len(re.findall(r'exec: ready$', self.log(), re.M))
        with open(self.log_path, 'ab') as log:
            self.proc = subprocess.Popen(
                [f'{BUILD}/takt-executor', '--state', self.state, '--plugin-dir', self.plugins,
                 '--max-units', str(self.max_units), *self.more_args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self.preexec)
        wait_for(f'executor ready, see {self.log_path}: {self.log()[-2000:]}',
                 lambda: len(re.findall(r'exec: ready$', self.log(), re.M)) > seen or self.proc.poll() is not None)
        assert self.proc.poll() is None, self.log()

    def log(self):
        try:
            with open(self.log_path, encoding='utf-8', errors='replace') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def kill(self):
        """kill -9 of the executor's main process."""
        self.note_units()
        self.proc.kill()
        self.proc.wait()

    def terminate(self):
        self.note_units()
        self.proc.terminate()
        assert self.proc.wait(timeout=LIMIT) == 0, self.log()[-3000:]

    def unit_file(self, unit):
        return os.path.join(self.state, 'units', unit)

    def meta(self, unit):
        return frames.UnitFile(self.unit_file(unit)).meta

    def is_marked(self, unit, mark):
        """claimed, durable or settled."""
        file = frames.read_unit(self.unit_file(unit))
        return bool(file) and mark in file.marks

    def note_units(self):
        """Remember tags and keepers of all units, for the look at the end."""
        units = os.path.join(self.state, 'units')
        for name in os.listdir(units) if os.path.isdir(units) else []:
            file = frames.read_unit(os.path.join(units, name))
            if not file:
                continue
            meta = file.meta
            if meta['tag']:
                self.tags.add(meta['tag'])
            if meta['keeper_pid']:
                self.keepers.add(meta['keeper_pid'])

    def stop(self):
        """End everything; nothing that carries a tag may be left."""
        self.note_units()
        if self.proc.poll() is None:
            self.terminate()
        for pid in self.keepers:
            try:
                with open(f'/proc/{pid}/comm', encoding='ascii') as f:
                    if f.read().strip() == 'takt-keeper':
                        os.kill(pid, signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass
        for pid in tagged(self.tags):
            os.kill(pid, signal.SIGKILL)
        wait_for('no process of a unit', lambda: not tagged(self.tags))
        log = self.log()
        assert not re.search(r'runtime error|Sanitizer|BUG', log), log
        shutil.rmtree(self.dir)


class Unit:
    """What the engine has got of one unit; checks order and offsets as it comes."""

    def __init__(self, uid, epoch):
        self.id, self.epoch = uid, epoch
        self.next = 0
        self.frames = []
        self.result = self.lost = self.refused = None

    @property
    def is_over(self):
        return bool(self.result or self.lost or self.refused)

    def take(self, frame):
        assert not self.is_over, f'{frame} after the end of {self.id}'
        if frame.type == 'JOURNAL':
            assert frame.off == self.next, f'{self.id}: frame at {frame.off}, {self.next} is next'
            self.next = frame.json['next']
            self.frames.append(frame.inner())
        elif frame.type == 'RESULT':
            assert frame.off == self.next
            self.result = frame.inner().json
        elif frame.type == 'LOST':
            self.lost = frame.json
        elif frame.type == 'REFUSED':
            self.refused = frame.json

    def of(self, kind):
        return [f for f in self.frames if f.type == kind]

    def output(self):
        """(bytes, [(offset, missing)]); offsets must fit."""
        out, at, cuts = b'', 0, []
        for f in self.frames:
            if f.type == 'J_OUTPUT':
                assert f.json['off'] == at, f'output at {f.json["off"]}, {at} is next'
                out += frames.unzstd(f.blob, f.json['raw_b'])
                at += f.json['raw_b']
            elif f.type == 'J_OUTPUT_CUT':
                assert f.json['off'] == at
                cuts.append((at, f.json['cut_b']))
                at += f.json['cut_b']
        return out, cuts

    def artifacts(self):
        """[(head, bytes as stored)]"""
        found = []
        for f in self.of('J_ARTIFACT'):
            if f.json['part'] == 0:
                found.append((f.json, b''))
            head, body = found[-1]
            assert f.json['no'] == head['no']
            found[-1] = (head, body + f.blob)
        return found


class Engine:
    """Says HELLO, reads the listing, keeps what comes of each unit."""

    def __init__(self, rig, known=(), epoch=1):
        self.rig = rig
        self.peer = frames.Peer(rig.state)
        self.units = {u.id: u for u in known}
        self.plugins, self.listed = {}, {}
        self.hello = None
        self.is_ready = False
        self.peer.send('HELLO', {'proto': 1, 'node': 'test', 'epoch': epoch, 'version': '0'})
        self.pump(lambda: self.is_ready)

    def take(self, f):
        if f.type == 'HELLO':
            self.hello = f.json
        elif f.type == 'PLUGIN':
            self.plugins[os.path.basename(f.json['file'])] = f.json
        elif f.type == 'UNIT':
            self.listed[f.json['unit']] = f.json
        elif f.type == 'READY':
            self.is_ready = True
        elif f.json['unit'] in self.units:
            self.units[f.json['unit']].take(f)
        else:
            raise AssertionError(f'frame of an unknown unit: {f}')

    def pump(self, until, limit=LIMIT):
        """Take frames until the condition holds."""
        end = time.monotonic() + limit
        while not until():
            left = end - time.monotonic()
            assert left > 0, f'no such frame within {limit} s; executor says:\n{self.rig.log()[-3000:]}'
            try:
                f = self.peer.recv(min(left, 0.2))
            except TimeoutError:
                continue
            assert f is not None, f'executor closed the connection:\n{self.rig.log()[-3000:]}'
            self.take(f)

    def start(self, task_type, params, timeout_ms=60000, grace_ms=1000, output_limit_b=8 << 20,
              seal_pk='', secret=None, target=None, uid=None, epoch=1, host_key=None,
              on_lease_loss='continue', as_text=False):
        uid = uid or f'{uuid.uuid4()}.1.0'
        run = uid.split('.')[0]
        body = json.dumps({
            'identity': {'run': run, 'task': None, 'attempt': 1, 'epoch': epoch, 'unit': 0},
            'params': params, 'target': target, 'secret': secret or {},
            'host_key': host_key or {'policy': 'strict', 'known': []}}).encode()
        head = {'unit': uid, 'epoch': epoch, 'type': task_type, 'timeout_ms': timeout_ms,
                'grace_ms': grace_ms, 'output_limit_b': output_limit_b,
                'seal_pk': base64.b64encode(seal_pk).decode() if seal_pk else '',
                'on_lease_loss': on_lease_loss}
        self.units[uid] = self.units.get(uid) or Unit(uid, epoch)
        if as_text:
            self.peer.send('START', head, blob=body)
            return self.units[uid]
        fd = os.memfd_create('input')
        try:
            os.write(fd, body)
            self.peer.send('START', head, fd)
        finally:
            os.close(fd)
        return self.units[uid]

    def attach(self, unit):
        self.peer.send('ATTACH', {'unit': unit.id, 'epoch': unit.epoch, 'from': unit.next})

    def cancel(self, unit, grace_ms=1000, reason='test'):
        self.peer.send('CANCEL', {'unit': unit.id, 'epoch': unit.epoch, 'reason': reason,
                                  'grace_ms': grace_ms})

    def lease(self, left_ms):
        """This node's lease from now on; its end by BOOTTIME, in milliseconds."""
        until = boottime_ms() + left_ms
        self.peer.send('LEASE', {'left_ms': left_ms, 'until_ms': until})
        return until

    def ack(self, unit, now=False):
        self.peer.send('ACK', {'unit': unit.id, 'epoch': unit.epoch, 'final': True, 'now': now})

    def finish(self, *units, limit=LIMIT):
        """Until all of them are over; the first one."""
        self.pump(lambda: all(u.is_over for u in units), limit)
        return units[0]

    def close(self):
        self.peer.close()
