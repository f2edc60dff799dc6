"""Check the documents: run as `python docs/check.py`; the exit status is 1 if something is amiss.

* A link leads to a file of the repository, and what follows a `#` to a heading there.
* A test, a file or a folder that a text names exists. (CHANGELOG.rst tells of the past.)
* Every document can be reached from README.rst.
* Each document is right reStructuredText, if docutils is installed. (Those of the reference have
  directives that only Sphinx knows, and are checked by `make docs`.)
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r'`[^`<]+<([^`>]+)>`_|\]\(([^)\s]+)\)', re.DOTALL)
TEST = re.compile(r'``(test_[a-z0-9_]+)``')
PATH = re.compile(r'``((?:src|tests|docs|diskcache|benchmarks|examples)/[\w./-]*\w/?)``')
UNDERLINE = re.compile(r'^(\S.*)\n([=\-^])\2+$', re.MULTILINE)

#: Files of the original's suite, which are not in this repository.
ORIGINALS = {'test_core', 'test_doctest', 'test_deque', 'test_fanout'}


def listed() -> list[str]:
    """Return the files of the repository, new ones included."""
    command = ['git', 'ls-files', '--cached', '--others', '--exclude-standard']
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in output.splitlines() if (ROOT / name).exists()]


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a document."""
    titles = (match[1] for match in UNDERLINE.finditer(text))
    return {re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-') for title in titles}


def problems() -> list[str]:
    """Return what is amiss, a line each."""
    files = listed()
    documents = [name for name in files if name.endswith(('.rst', '.md'))]
    programs_of_tests = [name for name in files if re.match(r'tests/.*\.(py|c|h)$', name)]
    tests = '\n'.join((ROOT / name).read_text() for name in programs_of_tests)
    programs = {Path(name).stem for name in files if name.startswith('tests/engine/')}
    found = []
    links: dict[str, set[str]] = {name: set() for name in documents}

    for name in documents:
        text = (ROOT / name).read_text()
        for match in LINK.finditer(text):
            target, _, anchor = (match[1] or match[2]).partition('#')
            if re.match(r'[a-z]+:', target):
                continue
            path = (ROOT / name).parent.joinpath(target).resolve() if target else ROOT / name
            if not path.exists():
                found.append(f'{name}: {target} does not exist')
                continue
            links[name].add(str(path.relative_to(ROOT)))
            if anchor and anchor not in anchors(path.read_text()):
                found.append(f'{name}: {target} has no heading #{anchor}')
        if name == 'CHANGELOG.rst':
            continue
        for test in sorted(set(TEST.findall(text)) - ORIGINALS):
            if f'def {test}(' not in tests and test not in programs:
                found.append(f'{name}: there is no test {test}')
        for path_named in sorted(set(PATH.findall(text))):
            if not (ROOT / path_named).exists():
                found.append(f'{name}: {path_named} does not exist')

    reached, new = set(), {'README.rst'}
    while new:
        reached |= new
        new = set().union(*(links.get(name, set()) for name in new)) - reached
    found += [
        f'{name}: no document leads here'
        for name in documents
        if name.startswith('docs/') and name not in reached
    ]
    plain = [name for name in documents if re.match(r'(?!docs/reference/).*\.rst$', name)]
    return found + [line for name in plain for line in syntax(name)]


def syntax(name: str) -> list[str]:
    """Return what docutils has to say of a document."""
    try:
        from docutils.core import publish_doctree
        from docutils.utils import Reporter
    except ImportError:
        return []
    settings = {'report_level': Reporter.SEVERE_LEVEL + 1, 'halt_level': 6}
    tree = publish_doctree((ROOT / name).read_text(), settings_overrides=settings)
    return [
        f'{name}:{message.get("line", "?")}: {message.astext()}'
        for message in tree.findall(lambda node: node.tagname == 'system_message')
        if int(message['level']) >= Reporter.WARNING_LEVEL
    ]


if __name__ == '__main__':
    amiss = problems()
    print('\n'.join(amiss) or 'the documents are in order')
    sys.exit(bool(amiss))
