"""The site: `make docs` builds it from the documents of the repository.

The documents are read on GitHub too. There a link is the path of a file, and there is no toctree.
So the source directory is the root of the repository, in which all paths are right. Here links to
files become links to pages, and the toctrees are made of the lists of links that the pages have.
"""

from __future__ import annotations

import functools as ft
import importlib.util
import os
import posixpath
import pydoc
import re
import sys
import types
import typing
from pathlib import Path

import typing_extensions
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

ROOT = Path(__file__).resolve().parent.parent


def _name_types() -> None:
    """Have the package's annotations name what is in typing, which it does not import itself."""
    hints = types.ModuleType('diskcache.hints')
    spec = importlib.util.spec_from_file_location('diskcache.typing', ROOT / 'diskcache/typing.py')
    assert spec is not None
    assert spec.loader is not None
    own = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    for module in (typing_extensions, typing, own):
        vars(hints).update({name: value for name, value in vars(module).items() if name[0] != '_'})
    hints.TYPE_CHECKING = False
    sys.modules[hints.__name__] = hints


_name_types()

import diskcache  # noqa: E402
import diskcache.djangocache  # noqa: E402

# --- the settings of Sphinx ---

project = 'diskcache'
project_copyright = 'the authors; Apache License 2.0'
version = release = diskcache.__version__
language = 'en'
extensions = ['sphinx.ext.autodoc', 'myst_parser', 'sphinx_copybutton']
root_doc = 'docs/index'
include_patterns = [
    *('README.rst', 'CHANGELOG.rst', 'CONTRIBUTING.rst', 'RELEASING.rst', 'SECURITY.md'),
    *('tests/README.rst', 'docs/**.rst'),
]
# What begins with a dot are environments and caches, which are large.
exclude_patterns = ['.*', 'build', 'dist', 'docs/_build']
default_role = 'code'
nitpicky = True
nitpick_ignore = [('py:class', 'RemoteCache')]  # which howto/remote.rst is about
toc_object_entries_show_parents = 'hide'
maximum_signature_line_length = 88
python_display_short_literal_types = True

autoclass_content = 'both'
autodoc_preserve_defaults = True
autodoc_typehints_format = 'short'
autodoc_member_order = 'bysource'

copybutton_prompt_text = r'>>> |\.\.\. |\$ '
copybutton_prompt_is_regexp = True

html_theme = 'furo'
html_title = f'diskcache {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_copy_source = False
html_show_sphinx = False
if 'GITHUB_REPOSITORY' in os.environ:  # set by GitHub's runners
    html_theme_options = {
        'source_repository': f'https://github.com/{os.environ["GITHUB_REPOSITORY"]}/',
        'source_branch': 'main',
        'source_directory': '',
    }

# --- links to files ---

logger = logging.getLogger(__name__)


def _anchors(env: BuildEnvironment, docname: str) -> set[str]:
    """Return the anchors of the headings of a page."""
    entries = env.tocs[docname].findall(nodes.reference)
    return {entry['anchorname'] for entry in entries}


def link_pages(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Have links to documents of the repository lead to their pages.

    A link to another file, or to a heading that is not there, is a warning.
    """
    for node in doctree.findall(nodes.reference):
        uri = node.get('refuri', '')
        if node.get('internal') or not uri or re.match(r'[a-z]+:', uri):
            continue
        path, hash_, anchor = uri.partition('#')
        path = posixpath.normpath(posixpath.join(posixpath.dirname(docname), path))
        target = re.sub(r'\.(rst|md)$', '', path)
        if target not in app.env.all_docs:
            logger.warning('%s is not a page', uri, location=node)
        elif anchor and f'#{anchor}' not in _anchors(app.env, target):
            logger.warning('%s has no heading #%s', path, anchor, location=node)
        else:
            node['refuri'] = app.builder.get_relative_uri(docname, target) + hash_ + anchor
            node['internal'] = True


# --- navigation ---

#: Pages whose links to pages that have no place yet give these a place below them.
PARENTS = ['docs/index', 'docs/reference', 'docs/decisions/index', 'CONTRIBUTING']

HEADING = re.compile(r'^(\S.*)\n([=-])\2{2,}$', re.MULTILINE)
LINK = re.compile(r'`[^`<]+<([^`>:#]+)\.(?:rst|md)>`_(?!_)')


def _sections(text: str) -> list[tuple[str, str]]:
    """Return the heading and the text of each section that a document has."""
    found = list(HEADING.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [(match[1], text[match.end() : end]) for match, end in zip(found, ends, strict=True)]


@ft.cache
def toctrees() -> dict[str, dict[str, list[str]]]:
    """Return the toctrees of each parent: the pages that belong to each of its headings.

    A page that no parent links to goes where the last page of its folder is, so that a new one
    needs no change here.
    """
    placed = {root_doc}
    trees: dict[str, dict[str, list[str]]] = {}
    for parent in PARENTS:
        trees[parent] = {}
        for heading, text in _sections((ROOT / f'{parent}.rst').read_text()):
            links = [posixpath.join(posixpath.dirname(parent), link) for link in LINK.findall(text)]
            pages = [posixpath.normpath(link) for link in links]
            trees[parent][heading] = [page for page in dict.fromkeys(pages) if page not in placed]
            placed.update(pages)
    found = (path.relative_to(ROOT).with_suffix('') for path in ROOT.glob('docs/**/*.rst'))
    for page in sorted(path.as_posix() for path in found if '_build' not in path.parts):
        folder = posixpath.dirname(page)
        near = [
            tree
            for parent in trees.values()
            for tree in parent.values()
            if tree and posixpath.dirname(tree[-1]) == folder
        ]
        if page not in placed:
            near[-1].append(page)
    return trees


def add_toctrees(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the toctrees of a page to it. They are in the navigation, and not in its text."""
    for heading, pages in toctrees().get(docname, {}).items():
        if pages:
            caption = f'   :caption: {heading}\n' if docname == root_doc else ''
            entries = ''.join(f'   /{page}\n' for page in pages)
            source[0] += f'\n\n.. toctree::\n   :hidden:\n{caption}\n{entries}'


def leave_out_contents(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out tables of contents: beside each page of the site there is one."""
    for node in list(doctree.findall(nodes.topic)):
        if 'contents' in node['classes']:
            node.parent.remove(node)


# --- reference ---


def pass_over_others(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, text: nodes.TextElement
) -> nodes.Node | None:
    """Leave names of Python, of Django and of our inside without a link; they have to exist.

    Where Python has described them would have to be asked of the net.
    """
    name = node.get('reftarget', '')
    if node.get('refdomain') != 'py':
        return None
    is_variable = re.fullmatch(r'(\w+\.)*[A-Z]', name)
    return text if is_variable or pydoc.locate(name) or hasattr(typing, name) else None


def write_start(app: Sphinx, error: Exception | None) -> None:
    """Lead who opens the site to its first page, which is in a folder."""
    if error is None and app.builder.format == 'html':
        start = app.builder.get_target_uri(root_doc)
        text = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>diskcache</title>'
            f'<meta http-equiv="refresh" content="0; url={start}"><a href="{start}">diskcache</a>'
        )
        Path(app.outdir, 'index.html').write_text(text + '\n')


def setup(app: Sphinx) -> None:
    """Connect what is above with Sphinx."""
    app.connect('source-read', add_toctrees)
    app.connect('doctree-read', leave_out_contents)
    app.connect('doctree-resolved', link_pages)
    app.connect('missing-reference', pass_over_others)
    app.connect('build-finished', write_start)
