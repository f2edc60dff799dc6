"""tools/check_layers.py finds arrows up, circles, and Python in the engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

#: A small tree in which all is well: an arrow down, one sideways, a header with its .c file.
GOOD = {
    'src/base/record.h': '#include <stddef.h>\n',
    'src/base/record.c': '#include "base/record.h"\n#include "base/status.h"\n',
    'src/base/status.h': '',
    'src/engine/rows.h': '#include "base/record.h"\n',
    'src/engine/rows.c': '#include "engine/rows.h"\n',
    'src/cache/type.h': '#include <Python.h>\n#include "engine/rows.h"\n',
    'src/module.c': '#include "cache/type.h"\n',
    'diskcache/__init__.py': 'from .cache import Cache\nfrom .deque import Deque\n',
    'diskcache/cache.py': 'from . import settings\n',
    'diskcache/deque.py': 'from .cache import Cache\nfrom . import __version__\n',
    'diskcache/settings.py': 'import json\n',
}


def map_of(files: dict[str, str]) -> str:
    """A map that names each component of the layers, a table for a folder."""
    rooms: dict[str, set[str]] = {}
    for name in files:
        top, _, rest = name.partition('/')
        folder, _, file = rest.partition('/')
        if top == 'src' and file and folder != 'misc':  # which is no layer
            rooms.setdefault(folder, set()).add(file.partition('.')[0])
    line = '=' * 9 + '  ' + '=' * 9
    return '\n'.join(
        '\n'.join([f'``{folder}/`` is a layer', line, *(f'{n:9}  text' for n in names), line, ''])
        for folder, names in rooms.items()
    )


BAD = {
    'an arrow up': (
        {'src/engine/rows.c': '#include "cache/type.h"\n'},
        ['src/engine/rows.c: includes cache/type.h, which is above it'],
    ),
    'an arrow up to the module': (
        {'src/module.h': '', 'src/cache/type.c': '#include "module.h"\n'},
        ['src/cache/type.c: includes module.h, which is above it'],
    ),
    'a circle of headers': (
        {'src/base/status.h': '#include "base/record.h"\n'},
        ['a circle: base/record -> base/status -> base/record'],
    ),
    'a circle through a .c file': (
        {
            'src/engine/scan.h': '#include "engine/rows.h"\n',
            'src/engine/rows.c': '#include "engine/rows.h"\n#include "engine/scan.h"\n',
        },
        ['a circle: engine/rows -> engine/scan -> engine/rows'],
    ),
    'Python in the engine': (
        {'src/engine/rows.h': '#  include <Python.h>\n'},
        ['src/engine/rows.h: the layer engine does without Python.h'],
    ),
    'another header of Python in the engine': (
        {'src/engine/rows.c': '#include <structmember.h>\n'},
        ['src/engine/rows.c: the layer engine does without structmember.h'],
    ),
    "SQLite's own header": (
        {'src/engine/rows.c': '#include <sqlite3.h>\n'},
        ['src/engine/rows.c: sqlite3.h; SQLite is called by sqlite/api.h'],
    ),
    'a folder that is no layer': (
        {'src/misc/all.h': ''},
        ["src/misc/all.h: 'misc' is none of the layers"],
    ),
    'a header that is not there': (
        {'src/engine/rows.c': '#include "engine/row.h"\n'},
        ['src/engine/rows.c: there is no engine/row.h'],
    ),
    'a circle of imports': (
        {'diskcache/settings.py': 'from .deque import Deque\n'},
        ['a circle: cache -> settings -> deque -> cache'],
    ),
    'a circle of imports inside a function': (
        {'diskcache/settings.py': 'def f():\n    from . import cache\n'},
        ['a circle: cache -> settings -> cache'],
    ),
    'a circle through a module that is a folder': (
        {
            'diskcache/serve/__init__.py': '',
            'diskcache/serve/pages.py': 'from . import queries\nfrom ..deque import Deque\n',
            'diskcache/settings.py': 'from .serve import pages\n',
        },
        ['a circle: cache -> settings -> serve -> deque -> cache'],
    ),
    'a SQL statement in a folder': (
        {'diskcache/serve/__init__.py': '', 'diskcache/serve/pages.py': "x = 'SELECT 1'\n"},
        ['diskcache/serve/pages.py:1: a SQL statement'],
    ),
    'a component that the map does not name': (
        {'src/README.rst': map_of({**GOOD, 'src/base/lost.h': ''}).replace('status', 'former')},
        [
            'src/README.rst: base/former is not there',
            'src/README.rst: base/lost is not there',
            'src/README.rst: base/status is not named',
        ],
    ),
    'all of them at once': (
        {
            'src/engine/rows.c': '#include "cache/type.h"\n#include <Python.h>\n',
            'diskcache/settings.py': 'from . import cache\n',
        },
        [
            'src/engine/rows.c: includes cache/type.h, which is above it',
            'src/engine/rows.c: the layer engine does without Python.h',
            'a circle: cache -> settings -> cache',
        ],
    ),
}


def write(root: Path, files: dict[str, str]) -> None:
    """Write the files, and a map of them unless there is one."""
    for name, text in {'src/README.rst': map_of(files), **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def check(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as `make lint` does, in `root`."""
    program = ROOT / 'tools' / 'check_layers.py'
    return subprocess.run([sys.executable, program], cwd=root, capture_output=True, text=True)


def turned(circle: str) -> set[str]:
    """The circle from wherever one begins and in both directions, which is all the same."""
    names = circle.removeprefix('a circle: ').split(' -> ')[1:]
    turns = [names[i:] + names[:i] for i in range(len(names))]
    return {
        'a circle: ' + ' -> '.join([*turn, turn[0]])
        for turn in [*turns, *(turn[::-1] for turn in turns)]
    }


def test_a_tree_of_layers_is_passed_in_silence(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    done = check(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


@pytest.mark.parametrize(('files', 'faults'), BAD.values(), ids=BAD)
def test_what_breaks_a_layer_is_found(
    tmp_path: Path, files: dict[str, str], faults: list[str]
) -> None:
    """Each fault is one line on stderr, and nothing else is."""
    write(tmp_path, {**GOOD, **files})
    done = check(tmp_path)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (1, '', len(faults)), done.stderr
    for fault in faults:
        if fault.startswith('a circle'):
            assert turned(fault) & set(lines), lines
        else:
            assert any(line.startswith(fault) for line in lines), lines
