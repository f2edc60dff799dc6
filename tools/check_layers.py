"""Check that the sources are layers: includes and imports go one way, and nothing is a circle.

    python tools/check_layers.py [ROOT]

In `src/` a folder is a layer, in the order of `LAYERS`; a file includes headers of its own folder
and of those below it. A header and the .c file of its name are one component, and components are no
circle, in a folder either. The layers without Python do not include its headers. Only the table of
SQLite's functions includes SQLite's. The map in `src/README.rst` names each component. In
`diskcache/` modules import each other without a circle; an import inside a function counts, one
under `if TYPE_CHECKING` does not: it is for annotations and is never run. Nothing but the package
itself imports a facade: a name comes from the module that defines it. The text of a SQL statement
stands in `diskcache/sql.py`, or below `src/`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

#: From the bottom to the top; '' is src/ itself.
LAYERS = ('base', 'sqlite', 'engine', 'python', 'cache', '')
WITHOUT_PYTHON = ('base', 'sqlite', 'engine')

#: Headers of Python.
PYTHON_HEADERS = re.compile(r'(Python|structmember|frameobject|pythread)\.h|cpython/.*')
#: What includes SQLite's header, to compare its table with it; all others go by that table.
SQLITE_TABLE = 'sqlite/api'

#: Modules that only gather names, under which programs import them.
FACADES = ('core', 'persistent')

#: How the text of a statement begins.
SQL = re.compile(r'\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|PRAGMA)\s')

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)

Graph = dict[str, set[str]]


def component(path: str) -> str:
    return path.rpartition('.')[0]


def layer(path: str) -> str:
    return path.rpartition('/')[0]


def check_includes(sources: Path) -> list[str]:
    """What is wrong with the includes of the C files in a directory."""
    faults = []
    graph: Graph = {}
    for file in sorted(sources.rglob('*.[ch]')):
        name = file.relative_to(sources).as_posix()
        if layer(name) not in LAYERS:
            faults.append(f'{file}: {layer(name)!r} is none of the layers {LAYERS}')
            continue
        includes = graph.setdefault(component(name), set())
        for bracket, included in INCLUDE.findall(file.read_text()):
            if bracket == '<':
                if PYTHON_HEADERS.fullmatch(included) and layer(name) in WITHOUT_PYTHON:
                    faults.append(f'{file}: the layer {layer(name)} does without {included}')
                if included.startswith('sqlite3') and component(name) != SQLITE_TABLE:
                    faults.append(f'{file}: {included}; SQLite is called by {SQLITE_TABLE}.h')
            elif not (sources / included).is_file():
                faults.append(f'{file}: there is no {included} in {sources}')
            elif LAYERS.index(layer(included)) > LAYERS.index(layer(name)):
                faults.append(f'{file}: includes {included}, which is above it')
            else:
                includes.add(component(included))
    return faults + circles(graph) + check_map(sources, graph)


def check_map(sources: Path, components: Graph) -> list[str]:
    """What the map does not name, or names although it is not there."""
    text = (sources / 'README.rst').read_text()
    named: set[str] = set()
    for folder, rooms in re.findall(
        r'^``(\w+)/``.*?\n(.*?)(?=^``|\Z)', text, re.DOTALL | re.MULTILINE
    ):
        tables = re.findall(r'^=+  =+\n(.*?)^=+  =+$', rooms, re.DOTALL | re.MULTILINE)
        names = re.findall(r'^(\w+)  ', tables[0] if tables else '', re.MULTILINE)
        named.update(f'{folder}/{name}' for name in names)
    there = {name for name in components if layer(name)}
    return [
        f'{sources}/README.rst: {name} is {"not named" if name in there else "not there"}'
        for name in sorted(named ^ there)
    ]


def check_imports(package: Path) -> list[str]:
    """What is wrong with the imports of the modules of a package."""
    graph: Graph = {}
    for file in sorted(package.rglob('*.py')):
        parts = file.relative_to(package).with_suffix('').parts
        if parts[-1] != '__main__' and parts != ('__init__',):
            code = ast.parse(file.read_text())
            # A folder is one module.
            graph.setdefault(parts[0], set()).update(imported(code, package.name, len(parts)))
    for imports in graph.values():
        imports.intersection_update(graph)  # `from . import __version__` is about the package
    faults = [
        f'{package / name}.py: imports {facade}, which only gathers names'
        for name, imports in graph.items()
        for facade in FACADES
        if facade in imports
    ]
    return faults + circles(graph)


def imported(node: ast.AST, package: str, level: int = 1) -> Iterator[str]:
    """The modules of the package that some code imports when it is run; it is so many dots away."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING':
        for statement in node.orelse:
            yield from imported(statement, package, level)
        return
    names: list[str] = []
    if isinstance(node, ast.ImportFrom):
        dots = '.' * node.level if node.level != level else f'{package}.'
        module = dots + (node.module or '')
        names = [f'{module.rstrip(".")}.{name.name}' for name in node.names]
    elif isinstance(node, ast.Import):
        names = [name.name for name in node.names]
    yield from (name.split('.')[1] for name in names if name.startswith(f'{package}.'))
    for child in ast.iter_child_nodes(node):
        yield from imported(child, package, level)


def check_sql(package: Path) -> list[str]:
    """Where a module of the package has the text of a SQL statement that belongs into sql.py."""
    return [
        f'{file}:{node.lineno}: a SQL statement, which belongs into sql.py'
        for file in sorted(package.rglob('*.py'))
        if file != package / 'sql.py'
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    ]


def circles(graph: Graph) -> list[str]:
    try:
        TopologicalSorter({name: others - {name} for name, others in graph.items()}).prepare()
    except CycleError as error:
        return ['a circle: ' + ' -> '.join(error.args[1])]
    return []


def main(root: Path) -> int:
    package = root / 'diskcache'
    faults = check_includes(root / 'src') + check_imports(package) + check_sql(package)
    for fault in faults:
        print(fault, file=sys.stderr)
    return bool(faults)


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else '.')))
