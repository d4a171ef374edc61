# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A third party's side: after `make install DESTDIR=`, the skeleton builds in an empty folder with
`pkg-config --cflags takt-plugin` and nothing else, and Takt takes it."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('TAKT_BUILD', SOURCE / 'build'))
STRUCTS = ('takt_str', 'takt_err', 'takt_host', 'takt_task_type', 'takt_plugin_entry', 'takt_ssh_backup', 'takt_ssh_1')


def run(*argv, **kw):
    p = subprocess.run(argv, capture_output=True, text=True, timeout=300, **kw)
    assert p.returncode == 0, f'{argv}: {p.stdout[-2000:]}{p.stderr[-2000:]}'
    return p.stdout


def makefile(name):
    return re.search(rf'^{name} = (.*)$', (BUILD / 'Makefile').read_text(), re.M).group(1)


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """What takt-dev would hold: headers, pkg-config file, skeleton."""
    dest = tmp_path_factory.mktemp('dest')
    run('make', '-C', BUILD, f'DESTDIR={dest}', 'install-pkgincludeHEADERS', 'install-pkgconfigDATA', 'install-dist_skeletonDATA')
    pc = next(dest.rglob('takt-plugin.pc'))
    env = {'PATH': os.environ['PATH'], 'PKG_CONFIG_PATH': str(pc.parent), 'PKG_CONFIG_SYSROOT_DIR': str(dest)}
    return next(dest.rglob('skeleton/example.c')).parent, env


@pytest.fixture
def folder(installed, tmp_path):
    """An empty folder with the skeleton's files, and the environment to build there."""
    skeleton, env = installed
    for f in skeleton.iterdir():
        shutil.copy(f, tmp_path)
    return tmp_path, env


def probe(path):
    p = subprocess.run([BUILD / 'takt-executor', '--probe', path], capture_output=True, text=True, timeout=60)
    return json.loads(p.stdout)


def test_skeleton_builds_and_is_taken(folder):
    path, env = folder
    run('make', '-C', path, 'CFLAGS=-O2 -Wall -Wextra -Werror', 'check', env=env)
    symbols = run('nm', '-D', '--defined-only', path / 'example.so').split('\n')
    assert [s.split()[2] for s in symbols if s] == ['takt_plugin_entry_1']
    assert 'takt' not in run('ldd', path / 'example.so')
    got = probe(path / 'example.so')
    assert got['status'] == 'loaded' and got['types'][0]['id'] == 'example'
    note = run('readelf', '-p', '.note.takt', path / 'example.so')
    assert 'abi=1.0 name=example version=0.1.0' in note


def test_skeleton_of_another_major_is_refused(folder):
    path, env = folder
    flags = run('pkg-config', '--cflags', 'takt-plugin', env=env).split()
    include = pathlib.Path(next(f for f in flags if f.startswith('-I'))[2:])
    shutil.copytree(include / 'takt', path / 'faked/takt')
    header = path / 'faked/takt/plugin.h'
    text = header.read_text().replace('TAKT_ABI_MAJOR 1u', 'TAKT_ABI_MAJOR 2u')
    assert text != header.read_text()
    header.write_text(text)
    run('cc', '-shared', '-fPIC', f'-I{path}/faked', '-o', path / 'two.so', path / 'example.c')
    got = probe(path / 'two.so')
    assert got['status'] == 'refused' and re.search(r'abi_major 2.* 1\b', got['reason'])


@pytest.mark.parametrize('compiler,standard', [('cc', 'c11'), ('cc', 'c17'), ('c++', 'c++17')])
def test_headers_compile_alone(installed, tmp_path, compiler, standard):
    if not shutil.which(compiler):
        pytest.skip(f'{compiler} is not installed')
    _, env = installed
    flags = run('pkg-config', '--cflags', 'takt-plugin', env=env).split()
    suffix = 'cc' if '+' in compiler else 'c'
    for header in ('plugin', 'ssh'):
        file = tmp_path / f'{header}.{suffix}'
        file.write_text(f'#include <takt/{header}.h>\n')
        run(compiler, f'-std={standard}', '-pedantic', '-Wall', '-Wextra', '-Werror', *flags, '-c', '-o', '/dev/null', file)


def layout(env, tmp_path):
    """Members, offsets and sizes of every public structure, as the compiler says."""
    header = (SOURCE / 'sdk/include/takt/plugin.h').read_text() + (SOURCE / 'sdk/include/takt/ssh.h').read_text()
    lines = ['#include <stdio.h>', '#include <takt/ssh.h>', 'int main(void) {']
    for name in STRUCTS:
        body = re.search(rf'typedef struct {name} \{{(.*?)\n\}} {name};', header, re.S).group(1)
        body = re.sub(r'/\*.*?\*/', '', body, flags=re.S)
        lines.append(f'printf("{name} size %zu\\n", sizeof({name}));')
        for declaration in filter(str.strip, re.sub(r'\)\s*\([^;]*\)', ')', body).split(';')):
            for member in re.findall(r'\(\*(\w+)\)', declaration) or [
                    re.search(r'(\w+)\s*$', part).group(1) for part in declaration.split(',')]:
                lines.append(f'printf("{name} %zu %zu {member}\\n", offsetof({name}, {member}), sizeof((({name} *)0)->{member}));')
    source = tmp_path / 'layout.c'
    source.write_text('\n'.join(lines + ['}', '']))
    flags = run('pkg-config', '--cflags', 'takt-plugin', env=env).split()
    run('cc', '-std=gnu11', *flags, '-o', tmp_path / 'layout', source)
    return run(tmp_path / 'layout')


def test_layout_is_the_one_that_was_promised(installed, tmp_path):
    if os.uname().machine != 'x86_64':
        pytest.skip('the layout is kept for x86_64')
    now = layout(installed[1], tmp_path)
    assert len(now.splitlines()) > 50
    kept = (SOURCE / 'tests/abi/layout.txt').read_text()
    assert now == kept, 'the public layout changed: read sdk/ABI.md, then decide'
