"""Copy the docstrings of the C module into its stub, where editors look for them.

    python tools/stub_docstrings.py [--check]

They stand in the .def files of `src/`. Of overloads the first has the docstring; names with an
underscore have none. `ruff format` then sets the blank lines. With `--check` nothing is written:
what differs is printed, and the exit code is 1.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diskcache import _core

STUB = Path(__file__).parent.parent / 'diskcache' / '_core.pyi'

Documented = ast.ClassDef | ast.FunctionDef


def public(body: list[ast.stmt], owner: Any) -> Iterator[tuple[Documented, str]]:
    """Yield the public classes and functions of a body, with their docstrings in C."""
    seen: set[str] = set()
    for node in body:
        if not isinstance(node, Documented) or node.name.startswith('_') or node.name in seen:
            continue
        seen.add(node.name)
        found = getattr(owner, node.name)
        yield node, inspect.getdoc(found) or ''
        if isinstance(node, ast.ClassDef):
            yield from public(node.body, found)


def literal(text: str, depth: int) -> list[str]:
    """Return the lines of a docstring."""
    margin = ' ' * depth
    lines = f'"""{text}{chr(10) * (chr(10) in text)}"""'.split('\n')
    return [f'{margin}{line}' if line else '' for line in lines]


def written(source: str) -> str:
    """Return the text of the stub with the docstrings of the module."""
    lines = source.splitlines()
    for node, text in sorted(public(ast.parse(source).body, _core), key=lambda it: -it[0].lineno):
        first = node.body[0]
        docstring = literal(text, node.col_offset + 4)
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):  # or an ellipsis
            head = lines[first.lineno - 1][: first.col_offset].rstrip()
            lines[first.lineno - 1 : first.end_lineno] = [head, *docstring] if head else docstring
        else:  # of a class
            decorators = getattr(first, 'decorator_list', [])
            start = min(each.lineno for each in (first, *decorators)) - 1
            lines[start:start] = docstring
    return '\n'.join(lines) + '\n'


def main() -> int:
    source = STUB.read_text()
    wrong = [
        node.name
        for node, text in public(ast.parse(source).body, _core)
        if (ast.get_docstring(node) or '') != text
    ]
    if '--check' not in sys.argv[1:]:
        STUB.write_text(written(source))
        return 0
    for name in wrong:
        print(f'{STUB}: {name} has another docstring than in C: run tools/stub_docstrings.py')
    return bool(wrong)


if __name__ == '__main__':
    sys.exit(main())
