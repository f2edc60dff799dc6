"""tools/cross.py knows each branch of each #if, and finds those that nothing compiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

sys.path.insert(0, str(ROOT / 'tools'))

import cross

SOURCE = """\
/* a comment
#if NOT_A_BRANCH
*/
#ifdef __linux__ /* the system */
int linux_branch;
#elif defined(_WIN32) && \\
    !defined(OTHER)
int windows_branch;
#else
#ifndef INNER
int inner_branch;
#endif
#endif
#if PY_VERSION_HEX < 0x030C0000
int old_branch;
#else
int new_branch;
#endif
#ifdef BROKEN
#error "never"
#endif
"""


def test_each_branch_is_found() -> None:
    """A directive in a comment is none, a line may go on, and an #error is no code."""
    _, branches = cross.mark('src/a.c', SOURCE)
    assert [(each.line, each.condition, each.depends_on_python) for each in branches] == [
        (4, '#ifdef __linux__', False),
        (6, '#elif defined(_WIN32) &&      !defined(OTHER)', False),
        (9, '#else', False),
        (10, '#ifndef INNER', False),
        (14, '#if PY_VERSION_HEX < 0x030C0000', True),
        (16, '#else', True),
    ]


def test_the_compiler_says_what_it_has_read(tmp_path: Path) -> None:
    """A branch counts if a compiler has read it; other warnings keep their lines."""
    text, branches = cross.mark('src/a.c', SOURCE + '#warning here\n')
    (tmp_path / 'a.c').write_text(text)
    done = subprocess.run(
        ['cc', '-D__linux__', '-fsyntax-only', 'a.c'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    read = {(file, int(line)) for file, line in cross.MARK.findall(done.stderr)}
    assert {line for _, line in read} == {4, 14}
    assert [each.line for each in cross.missing(branches, read)] == [6, 9, 10, 16]
    assert f'a.c:{len(SOURCE.splitlines()) + 1}:' in done.stderr


def test_our_own_sources_can_be_marked(tmp_path: Path) -> None:
    """Each #if of src/ has a branch, and the copy still has each line of the original."""
    branches = cross.mark_sources(ROOT, tmp_path)
    assert {each.file for each in branches} >= {'src/base/clock.h', 'src/engine/valuefile.c'}
    for file in ('src/base/clock.h', 'src/engine/valuefile.c'):
        lines = (tmp_path / file).read_text().splitlines()
        rest = [line for line in lines if not line.startswith(('#warning branch', '#line'))]
        assert rest == (ROOT / file).read_text().splitlines()


@pytest.mark.parametrize('version', ['3.10', '3.13'])
def test_headers_of_windows_have_one_pyconfig(tmp_path: Path, version: str) -> None:
    """The stand-in for Windows is found, since the one beside the headers is taken away."""
    headers = tmp_path / f'python{version}'
    headers.mkdir()
    for name in ('Python.h', 'pyconfig.h'):
        (headers / name).touch()
    place = cross.without_pyconfig(headers, tmp_path / 'copy')
    assert [path.name for path in place.iterdir()] == ['Python.h']
