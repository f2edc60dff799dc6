"""Compile the C sources for other systems, and see that no branch of an `#if` is left.

    python tools/cross.py [ROOT]    `make cross`

Each build of `builds` reads all sources, or those of the engine, with the warnings that CI has,
each of them an error. Nothing is linked, and nothing runs. The compiler is clang as the package
ziglang brings it, with the headers of Linux, Windows, macOS and OpenBSD. The headers of Python are
those of the interpreters on this machine, and Debian's of 3.14; for Windows with
`tools/windows/pyconfig.h`.

What is compiled is a copy of `src/`, in which a `#warning` follows each `#if`, `#elif` and `#else`:
the compiler itself says which branches it has read. A branch in which there is nothing but an
`#error` is not there to be compiled. Of branches that depend on Python's version those may be left
for which there is no interpreter here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import debian

ENGINE = ('base', 'sqlite', 'engine')

#: From here on Python has what src/python/compat.h makes up for older ones.
NEW_PYTHON = (3, 13)

DIRECTIVE = re.compile(r'\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b(.*)')
COMMENT = re.compile(r'/\*.*?\*/|//.*')
OF_PYTHON = re.compile(r'PY_VERSION_HEX|Py_GIL_DISABLED')
MARK = re.compile(r'warning: (?:#warning )?branch (\S+):(\d+) ')
MARK_LINES = re.compile(r'In file included from|.*warning: branch |\d+ warnings? generated')


@dataclass(frozen=True)
class Branch:
    """A branch of an `#if`, by the line that it begins with."""

    file: str
    line: int
    condition: str
    depends_on_python: bool

    def __str__(self) -> str:
        return f'{self.file}:{self.line}: {self.condition}'


@dataclass(frozen=True)
class Build:
    """One way to compile the sources."""

    name: str
    target: str
    #: The directories of the headers of Python; () for the engine only.
    python: tuple[Path, ...] = ()
    flags: tuple[str, ...] = ()


# --- the sources ---------------------------------------------------------------------------------


def logical_lines(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield first line, last line and the text without comments of each logical line."""
    lines = text.split('\n')
    i = 0
    while i < len(lines):
        first = i
        line = lines[i]
        while line.endswith('\\') or ('/*' in COMMENT.sub('', line) and i + 1 < len(lines)):
            i += 1
            line = line.removesuffix('\\') + ' ' + lines[i]
        i += 1
        yield first + 1, i, COMMENT.sub(' ', line)


def mark(name: str, text: str) -> tuple[str, list[Branch]]:
    """Return the text of a file with a `#warning` in each branch, and the branches."""
    lines = text.split('\n')
    marked: list[str] = []
    branches: list[Branch] = []
    chains: list[list[str]] = []  # the conditions of each #if that is open
    holds: list[tuple[Branch, list[str]]] = []  # the branches that are open, and what is in them
    for first, last, line in logical_lines(text):
        marked += lines[first - 1 : last]
        match = DIRECTIVE.match(line)
        if match is None:
            if holds and line.strip():
                holds[-1][1].append(line)
            continue
        kind, condition = match[1], match[2].strip()
        if kind in ('elif', 'else', 'endif'):
            branch, content = holds.pop()
            if all(re.match(r'\s*#\s*error\b', each) for each in content) and content:
                branches.remove(branch)
            if holds:
                holds[-1][1].append(line)
        if kind == 'endif':
            chains.pop()
            marked.append(f'#line {last + 1}')  # those in branches that are not read do not count
            continue
        if kind in ('if', 'ifdef', 'ifndef'):
            chains.append([])
        chains[-1].append(condition)
        depends = any(OF_PYTHON.search(each) for chain in chains for each in chain)
        branch = Branch(name, first, f'#{kind} {condition}'.rstrip(), depends)
        branches.append(branch)
        holds.append((branch, []))
        marked += [f'#warning branch {name}:{first} ', f'#line {last + 1}']
    return '\n'.join(marked), branches


def mark_sources(root: Path, copy: Path) -> list[Branch]:
    """Write the marked copy of the sources; return all branches."""
    shutil.rmtree(copy, ignore_errors=True)
    branches: list[Branch] = []
    for file in sorted((root / 'src').rglob('*.*')):
        if file.suffix in ('.c', '.h', '.def'):
            name = file.relative_to(root).as_posix()
            text, found = mark(name, file.read_text())
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_text(text)
            branches += found
    return branches


# --- the builds ----------------------------------------------------------------------------------


def new_headers() -> Path | None:
    """The headers of a Python from NEW_PYTHON on, if this machine has one."""
    places = [
        *(Path.home() / '.pyenv' / 'versions').glob('*/include/python3.*'),
        *Path('/usr/include').glob('python3.*'),
    ]
    found = {}
    for place in places:
        match = re.fullmatch(r'python3\.(\d+)', place.name)
        if match and (3, int(match[1])) >= NEW_PYTHON and (place / 'Python.h').is_file():
            found[int(match[1])] = place
    return found[max(found)] if found else None


def without_pyconfig(headers: Path, place: Path) -> Path:
    """A directory with the headers but for pyconfig.h, which they would find beside themselves."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for entry in headers.iterdir():
        if entry.name != 'pyconfig.h':
            (place / entry.name).symlink_to(entry)
    return place


def builds_of_fetched() -> list[Build]:
    """The build with the headers of a Python that most machines lack, if they are to be had."""
    name = 'Linux, Python 3.14'
    try:
        headers = debian.python_headers('3.14', 'x86_64')
    except debian.Unavailable as reason:
        print(f'{name}: left out: {reason}')
        return []
    return [Build(name, 'x86_64-linux-gnu', tuple(headers))]


def builds(root: Path, work: Path) -> list[Build]:
    """All builds; the directories that they need are made."""
    here = Path(sysconfig.get_path('include'))
    new = new_headers()
    sqlite = work / 'sqlite'
    sqlite.mkdir(parents=True, exist_ok=True)
    for name in ('sqlite3.h', 'sqlite3ext.h'):
        source = Path('/usr/include') / name
        if not source.is_file():
            sys.exit(f'{source} is not there; on Debian and Ubuntu: apt-get install libsqlite3-dev')
        shutil.copy(source, sqlite)
    windows = (root / 'tools' / 'windows', without_pyconfig(here, work / 'python'))
    free_threaded = ('-DPy_GIL_DISABLED=1',) if new is not None else ()
    result = [
        # For the interpreters that there are CI builds it anyway.
        Build('Linux, newest Python', 'x86_64-linux-gnu', (new or here,), free_threaded),
        *builds_of_fetched(),
        Build('Linux, sqlite3.h', 'x86_64-linux-gnu', (), ('-isystem', str(sqlite))),
        Build('Linux, musl', 'x86_64-linux-musl'),
        Build('Linux, 32 bits', 'mipsel-linux-gnueabihf'),
        Build('Windows', 'x86_64-windows-gnu', windows),
        # What asks for the compiler of Microsoft; its headers are not to be had.
        Build('Windows, MSVC', 'x86_64-windows-gnu', (), ('-fms-extensions', '-D_MSC_VER=1940')),
        Build('macOS, arm64', 'aarch64-macos', (here,)),
        Build('macOS, x86_64', 'x86_64-macos', (here,), ('-DDISKCACHE_DEBUG',)),
        Build('OpenBSD', 'x86_64-openbsd'),
    ]
    return result


def compiler_for(target: str, zig: Path) -> list[str]:
    """clang's command for a target, with the headers and macros that `zig cc` gives it."""
    shown = subprocess.run(
        [zig, 'cc', '-target', target, '-E', '-v', '-x', 'c', os.devnull],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    words = next(line for line in shown.splitlines() if ' -cc1 ' in line).replace('"', '').split()
    command = [str(zig), 'clang', '-nostdinc']
    for name, value in pairwise(words):
        if name == '-triple':
            command += ['-target', value]
        elif name == '-isystem':
            command += [name, str(Path(value).absolute())]
        elif name == '-D':
            command += [name + value]
    return command


def compile_build(build: Build, zig: Path, copy: Path) -> tuple[Build, set[tuple[str, int]], str]:
    """Compile the copy; return the branches that were read, and what is wrong."""
    folders = ENGINE if not build.python else ('.', '*')
    sources = [
        str(file.relative_to(copy))
        for folder in folders
        for file in sorted((copy / 'src').glob(f'{folder}/*.c'))
    ]
    command = [
        *compiler_for(build.target, zig),
        *('-std=c11', '-Wall', '-Wextra', '-Werror', '-Wno-error=#warnings'),
        *('-fsyntax-only', '-fno-caret-diagnostics', '-Isrc'),
        *(f'-isystem{place}' for place in build.python),
        *build.flags,
        *sources,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=copy)
    read = {(file, int(line)) for file, line in MARK.findall(done.stderr)}
    lines = [line for line in done.stderr.splitlines() if not MARK_LINES.match(line)]
    fault = '\n'.join(lines) or f'exit code {done.returncode}' if done.returncode != 0 else ''
    return build, read, fault


def find_zig() -> Path:
    spec = find_spec('ziglang')
    if spec is None or spec.origin is None:
        sys.exit('there is no ziglang: make cross installs it')
    return Path(spec.origin).parent / 'zig'


def missing(branches: Iterable[Branch], read: set[tuple[str, int]]) -> list[Branch]:
    """The branches that nothing has compiled."""
    return [branch for branch in branches if (branch.file, branch.line) not in read]


def main(root: Path) -> int:
    """Compile everything; 1 if something does not compile, or a branch is left."""
    root = root.resolve()
    work = root / 'build' / 'cross'
    zig = find_zig()
    branches = mark_sources(root, work / 'copy')
    todo = builds(root, work)
    has_new = new_headers() is not None
    read: set[tuple[str, int]] = set()
    failed = False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for build, seen, fault in pool.map(lambda b: compile_build(b, zig, work / 'copy'), todo):
            print(f'{build.name}: {len(seen)} branches' + (', FAILED' if fault else ''))
            if fault:
                print(fault, file=sys.stderr)
                failed = True
            read |= seen
    for branch in missing(branches, read):
        if branch.depends_on_python and not has_new:
            print(f'{branch}: left out, without a Python 3.{NEW_PYTHON[1]} or newer here')
        else:
            print(f'{branch}: compiled by no build', file=sys.stderr)
            failed = True
    print(f'{len(todo)} builds, {len(branches)} branches, {len(missing(branches, read))} left')
    return int(failed)


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else '.')))
