"""What must hold of each wheel before anybody installs it."""

from __future__ import annotations

import io
import json
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from wheels.cells import Cell
from wheels.clone import ROOT
from wheels.tree import BUILD

LARGEST = 515_000  # bytes of a wheel: docs/decisions/0062-size-of-a-wheel.rst

#: Debian's musl, which is older than zig's: what a wheel calls has to be in it, too.
MUSL = Path(f'/usr/lib/{platform.machine()}-linux-musl/libc.so')

#: What others see of the extension: Python, and SQLite, as of an extension of its own.
ENTRIES = {'PyInit__core', 'sqlite3_core_init'}

#: What an extension may need of the system it runs on.
_NEEDED = {
    'manylinux': re.compile(r'lib(c|dl|m|pthread)\.so\.\d+|ld-linux-[a-z0-9-]+\.so\.\d+'),
    'musllinux': re.compile(r'libc\.musl-\w+\.so\.1'),
}


def problems(path: Path, cell: Cell) -> list[str]:
    """Return what is wrong with a wheel; nothing if all is well."""
    return [f'{path.name}: {problem}' for problem in _problems(path, cell)]


def _problems(path: Path, cell: Cell) -> Iterator[str]:
    if path.stat().st_size > LARGEST:
        yield f'{path.stat().st_size:,} bytes are more than {LARGEST:,}'
    with zipfile.ZipFile(path) as archive:
        if (broken := archive.testzip()) is not None:
            yield f'{broken} is not what its checksum says'
        names = archive.namelist()
        files = {name: archive.read(name) for name in names}
    endings = (
        '/licenses/LICENSE',
        '.cdx.json',
        f'/_core{cell.suffix}',
        '/py.typed',
        'diskcache.py',
    )
    for ending in endings:
        if not any(name.endswith(ending) for name in names):
            yield f'nothing in it ends with {ending}'
    for name, data in files.items():
        if name.endswith('.cdx.json') and json.loads(data)['bomFormat'] != 'CycloneDX':
            yield f'{name} is not CycloneDX'
        for place in (BUILD, ROOT, Path.home(), Path(sys.prefix)):
            if str(place).encode() in data:
                yield f'{name} has the path {place} of this machine in it'
        if name.endswith('.so'):
            yield from _of_extension(data, cell)
    yield from _of_tag(path, cell)


def _of_extension(data: bytes, cell: Cell) -> Iterator[str]:
    elf = ELFFile(io.BytesIO(data))
    for section in elf.iter_sections():
        if section.name == '.symtab' or section.name.startswith('.debug'):
            yield f'not stripped: it has {section.name}'
    dynamic = elf.get_section_by_name('.dynamic')
    assert isinstance(dynamic, DynamicSection)
    for tag in dynamic.iter_tags():
        if tag.entry.d_tag in ('DT_RPATH', 'DT_RUNPATH'):
            yield f'it has a {tag.entry.d_tag}'
        if tag.entry.d_tag == 'DT_NEEDED' and not _NEEDED[cell.platform.libc].fullmatch(tag.needed):
            yield f'it needs {tag.needed}'
    given, wanted = _symbols(elf)
    if cell.platform.libc == 'musllinux' and MUSL.exists():  # auditwheel does not look there
        with MUSL.open('rb') as file:
            has, _ = _symbols(ELFFile(file))
        if lacks := [name for name in wanted - has if not name.startswith(('Py', '_Py'))]:
            yield f'the musl of this machine lacks {lacks}'
    if given != ENTRIES:
        yield f'others see {sorted(given)} of it, instead of {sorted(ENTRIES)}'


def _symbols(elf: ELFFile) -> tuple[set[str], set[str]]:
    """Return the names of what a library gives, and of what it wants from others."""
    given: set[str] = set()
    wanted: set[str] = set()
    for symbol in elf.get_section_by_name('.dynsym').iter_symbols():
        undefined = symbol.entry.st_shndx == 'SHN_UNDEF'
        if symbol.name and symbol.entry.st_info.bind in ('STB_GLOBAL', 'STB_WEAK'):
            (wanted if undefined else given).add(symbol.name)
    return given, wanted


def _of_tag(path: Path, cell: Cell) -> Iterator[str]:
    """Ask auditwheel, which knows what each platform promises."""
    command = [sys.executable, '-m', 'auditwheel', 'show', str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = ' '.join((done.stdout + done.stderr).split())
    found = re.search(r'following platform tag: "(\w+)"', said)
    if not found or found[1] not in cell.platform.tags:
        yield f'auditwheel says {found[1] if found else said}'


def metadata(files: Sequence[Path]) -> None:
    """Let twine check what the registry will."""
    subprocess.run([sys.executable, '-m', 'twine', 'check', '--strict', *files], check=True)
