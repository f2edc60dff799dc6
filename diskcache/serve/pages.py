"""The pages: HTML without scripts, made of what the queries return.

What stands in a page is escaped by :func:`element`, which all of it goes through: a str is text,
and only :class:`Html` is not.
"""

from __future__ import annotations

import codecs
import html
import math
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..cli.errors import printable
from ..fanout import is_shard
from ..policies import EVICTION_POLICY
from . import changes, literals, queries
from .plots import Plot, plots
from .queries import Directory, Item, Overview, Wanted

#: Bytes of a value on a page, as text and as hexadecimal digits.
_TEXT_BYTES = 2**16
_HEX_BYTES = 2**13
#: Names of classes and texts of a pickle that are shown.
_NAMES = 50

#: The scope of all shards of a FanoutCache, and of everything in its directory.
_SHARDS = 'shards'

#: The parameters that say which items are listed; `after` says from where on.
_SEARCH = ('in', 'q', 'how', 'order', 'tag')


class NotFound(Exception):
    """There is no such page, cache or item; the message is for the user."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | bool | None) -> Html:
    """Return an element.

    :param name: its name
    :param children: what is in it: text, which is escaped, or Html; None is left out
    :param attributes: `class_` is `class`; one that is None or False is left out
    """
    parts = []
    for attribute, value in attributes.items():
        if value is True:
            parts.append(f' {attribute}')
        elif value is not None and value is not False:
            parts.append(f' {attribute.rstrip("_").replace("_", "-")}="{html.escape(value)}"')
    opening = f'<{name}{"".join(parts)}>'
    if name in ('input', 'link', 'meta', 'br'):
        return Html(opening)
    return Html(f'{opening}{joined(children)}</{name}>')


def joined(children: Iterable[str | None]) -> Html:
    """Return elements and texts one after the other."""
    return Html(
        ''.join(
            child if isinstance(child, Html) else html.escape(child)
            for child in children
            if child is not None
        )
    )


def url(page: str, **parameters: Any) -> str:
    """Return the address of a page, relative to all others."""
    given = {name.rstrip('_'): value for name, value in parameters.items()}
    given = {name: value for name, value in given.items() if value not in (None, '')}
    query = urllib.parse.urlencode(given, errors='surrogateescape')
    return f'{page}?{query}' if query else page


def link(text: str, page: str, **parameters: Any) -> Html:
    """Return a link to a page."""
    return element('a', text, href=url(page, **parameters))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], class_: str | None = None) -> Html:
    """Return a table, which scrolls where it is too wide."""
    return element(
        'div',
        element(
            'table',
            element('thead', element('tr', *(element('th', head, scope='col') for head in heads))),
            element(
                'tbody', *(element('tr', *(element('td', cell) for cell in row)) for row in rows)
            ),
            class_=class_,
        ),
        class_='wide',
    )


def facts(rows: Iterable[tuple[str, str]]) -> Html:
    """Return names and what belongs to them."""
    return element(
        'dl', *(element('div', element('dt', name), element('dd', text)) for name, text in rows)
    )


@dataclass(frozen=True)
class Request:
    """What somebody asks for: a page, and the parameters of its address."""

    page: str
    parameters: Mapping[str, str]

    def get(self, name: str) -> str:
        """Return a parameter, empty if it is not there."""
        return self.parameters.get(name, '')

    def number(self, name: str) -> int | None:
        """Return a parameter that is an integer of 64 bits, None if it is none."""
        text = self.get(name)
        if not text.removeprefix('-').isdecimal() or not text.isascii() or len(text) > 20:
            return None
        number = int(text)
        return number if -(2**63) <= number < 2**63 else None


def tag_parameter(item: Item) -> str | None:
    """Return the tag of an item as a parameter; None if it has none, or a very long one."""
    if item.tag_type in ('integer', 'real'):
        return f'{item.tag_type[0]}:{item.tag!r}'
    parameter = f'{item.tag_type[0]}:{item.tag.hex()}'
    try:
        parse_tag(parameter)
    except ValueError:  # none, or damaged
        return None
    return parameter if len(item.tag) < 200 else None


def parse_tag(text: str) -> Any:
    """Return the tag that a parameter stands for.

    :raises ValueError: if it stands for none
    """
    kind, _, rest = text.partition(':')
    if kind == 'i' and len(rest) <= 20:
        number = int(rest)
        if -(2**63) <= number < 2**63:
            return number
    elif kind == 'r' and not math.isnan(float(rest)):  # NaN is stored as NULL: no tag
        return float(rest)
    elif kind == 't':
        return bytes.fromhex(rest).decode()
    elif kind == 'b':
        return bytes.fromhex(rest)
    raise ValueError(f'no tag: {text!r}')


class Site:
    """The pages of one directory."""

    def __init__(self, directory: Directory, form_token: str | None) -> None:
        """Prepare them.

        :param directory: of the cache
        :param form_token: the secret that each form sends back; None: nothing can be changed
        """
        self.directory = directory
        self._form_token = form_token
        self._pages: dict[str, Callable[[Request], tuple[str, list[Html]]]] = {
            '': self._overview,
            'items': self._items,
            'item': self._item,
            'next': self._next,
            'plots': self._plots,
        }
        self._changes: dict[str, Callable[[Request], tuple[int, str]]] = {
            'delete': self._delete,
            'evict': self._evict,
            'expire': lambda request: (changes.expire(self._scope(request).values()), ''),
            'cull': lambda request: (changes.cull(self._scope(request).values()), ''),
        }

    def page(self, request: Request) -> Html:
        """Return a page.

        :raises NotFound: if there is none
        :raises TooLong: if the database takes too long
        :raises OSError: if the directory cannot be read
        :raises sqlite3.Error: if the database cannot be read
        """
        make = self._pages.get(request.page)
        if make is None:
            raise NotFound('There is no such page.')
        title, body = make(request)
        return self.framed(request, title, body)

    def change(self, request: Request) -> str:
        """Make a change; return the address of the page that tells of it.

        :raises NotFound: if there is no such change, cache or item
        :raises Timeout: if the lock is not to be had
        :raises OSError: if the directory cannot be read or written
        :raises sqlite3.Error: if the database cannot be read or written
        """
        make = self._changes.get(request.page)
        if make is None:
            raise NotFound('There is no such change.')
        number, page = make(request)
        return url(page or './', in_=request.get('in'), removed=number)

    # --- what all pages have ---

    def framed(self, request: Request, title: str, body: Iterable[str]) -> Html:
        """Return a whole page."""
        removed = request.number('removed')
        pages = (('./', 'Overview'), ('items', 'Items'), ('next', 'Next to go'), ('plots', 'Plots'))
        current = request.page or './'
        nav = (
            element(
                'a',
                name,
                href=url(page, in_=request.get('in')),
                aria_current='page' if page in (current, f'{current}s') else None,
            )
            for page, name in pages
        )
        head = element(
            'head',
            element('meta', charset='utf-8'),
            element('meta', name='viewport', content='width=device-width, initial-scale=1'),
            element('meta', name='color-scheme', content='light dark'),
            element('title', f'{title} - {literals.shortened(self._shown_path(), 200)}'),
            element('link', rel='stylesheet', href='style.css'),
        )
        content = element(
            'body',
            element(
                'header', element('p', element('code', self._shown_path())), element('nav', *nav)
            ),
            element(
                'main',
                element('h1', title),
                None
                if removed is None
                else element('p', _items(removed), ' removed.', class_='said'),
                *body,
            ),
            element('footer', element('p', f'diskcache {__version__}. ', self._rights())),
        )
        return Html(f'<!DOCTYPE html>\n{element("html", head, content, lang="en")}\n')

    def _shown_path(self) -> str:
        return printable(self.directory.path)

    def _rights(self) -> str:
        if self._form_token is None:
            return 'Nothing is written: no count of hits, no access time.'
        return 'Looking writes nothing. Buttons do.'

    def _caches(self) -> dict[str, str]:
        return self.directory.caches()

    def _scope(self, request: Request) -> dict[str, str]:
        """Return the caches that a request is about, by their names."""
        caches = self._caches()
        name = request.get('in')
        if not self.directory.is_fanout:
            return caches
        if name in ('', _SHARDS):
            return {name: path for name, path in caches.items() if is_shard(name)}
        if name not in caches:
            raise NotFound('There is no such shard or part.')
        return {name: caches[name]}

    def _chooser(self, request: Request, **hidden: str) -> Html | None:
        """Return the form that chooses a shard or a part of a FanoutCache."""
        if not self.directory.is_fanout:
            return None
        return element(
            'form',
            element('label', 'Of ', self._select(request)),
            *(
                element('input', type='hidden', name=name, value=value)
                for name, value in hidden.items()
            ),
            element('button', 'Show'),
            action=request.page or './',
        )

    def _select(self, request: Request) -> Html:
        caches = self._caches()
        shards = sum(map(is_shard, caches))
        names = [
            ('', f'all {shards} shards'),
            *((name, printable(name)) for name in caches),
        ]
        chosen = request.get('in')
        return element(
            'select',
            *(element('option', text, value=name, selected=name == chosen) for name, text in names),
            name='in',
        )

    def _button(self, action: str, text: str, **fields: str) -> Html | None:
        """Return a button that changes something, if that is allowed."""
        if self._form_token is None:
            return None
        hidden = {'token': self._form_token, **{k.rstrip('_'): v for k, v in fields.items()}}
        return element(
            'form',
            *(
                element('input', type='hidden', name=name, value=value)
                for name, value in hidden.items()
            ),
            element('button', text, class_='change'),
            method='post',
            action=action,
        )

    def _overviews(self, caches: Mapping[str, str]) -> dict[str, Overview]:
        deadline = time.monotonic() + queries.SECONDS
        return {name: queries.overview(path, deadline) for name, path in caches.items()}

    def _json_caches(self, caches: Mapping[str, str]) -> set[str]:
        """Return the names of those caches that a JSONDisk has written."""
        return {
            name
            for name, found in self._overviews(caches).items()
            if found.origin is not None and found.origin.disk.rpartition('.')[2] == 'JSONDisk'
        }

    # --- the pages ---

    def _overview(self, request: Request) -> tuple[str, list[Html]]:
        caches = self._scope(request)
        found = self._overviews(caches)
        good = [each for each in found.values() if not each.error]
        totals = {
            name: sum(each.number(name) for each in good)
            for name in ('count', 'hits', 'misses', 'size_limit')
        }
        volume = sum(each.volume for each in good)
        lookups = totals['hits'] + totals['misses']
        body = [
            self._chooser(request) or Html(),
            _errors(_named(name, each.error) for name, each in found.items() if each.error),
            facts(
                [
                    ('items', literals.count(totals['count'])),
                    ('volume', f'{literals.size(volume)} of {literals.size(totals["size_limit"])}'),
                    ('hits', literals.count(totals['hits'])),
                    ('misses', literals.count(totals['misses'])),
                    ('hit ratio', f'{totals["hits"] / lookups:.1%}' if lookups else 'not counted'),
                ]
            ),
            self._button('expire', 'Remove what has expired', in_=request.get('in')) or Html(),
            self._button('cull', 'Cull to the size limit', in_=request.get('in')) or Html(),
        ]
        if len(found) > 1:
            body += [element('h2', 'Shards'), self._shard_table(found)]
        if good:
            body += [element('h2', 'Settings'), _settings(found)]
        return 'Overview', body

    def _shard_table(self, found: Mapping[str, Overview]) -> Html:
        heads = ('shard', 'items', 'volume', 'limit', 'hits', 'misses')
        return table(
            heads,
            (
                (
                    link(printable(name), 'items', in_=name),
                    literals.count(each.number('count')),
                    literals.size(each.volume),
                    literals.size(each.number('size_limit')),
                    literals.count(each.number('hits')),
                    literals.count(each.number('misses')),
                )
                for name, each in found.items()
            ),
            'figures',
        )

    def _items(self, request: Request) -> tuple[str, list[Html]]:
        caches = self._scope(request)
        wanted = self._wanted(request)
        found = queries.find(
            caches, wanted, self._start(request), time.monotonic() + queries.SECONDS
        )
        tag_text = request.get('tag')
        body = [self._search_form(request), _errors(found.errors)]
        if wanted.how == 'tag':
            shown = literals.shortened(repr(wanted.tag))
            body.append(element('p', 'With the tag ', element('code', shown), '.'))
            body.append(
                self._button('evict', 'Evict this tag', in_=request.get('in'), tag=tag_text)
                or Html()
            )
        if found.lost:
            body.append(element('p', 'The item is gone at which this page began.', class_='said'))
        if found.items:
            body.append(self._item_table(found.items, caches))
        elif found.stopped:
            body.append(element('p', 'Nothing yet.'))
        else:
            body.append(
                element('p', 'No items.' if request.get('after') == '' else 'No more items.')
            )
        if found.next is not None:
            name, row = found.next
            parameters = {each: request.get(each) for each in _SEARCH}
            after = f'{"" if row is None else row}:{name}'
            words = 'Search on' if found.stopped else 'Next page'
            body.append(
                element(
                    'p',
                    element('a', words, href=url('items', **parameters, after=after), rel='next'),
                )
            )
        return 'Items', body

    def _wanted(self, request: Request) -> Wanted:
        newest = request.get('order') == 'newest'
        if request.get('tag'):
            try:
                return Wanted('tag', tag=parse_tag(request.get('tag')), newest=newest)
            except ValueError:
                raise NotFound('There is no such tag.') from None
        text = request.get('q')
        how = 'contains' if request.get('how') == 'contains' else 'begins'
        return Wanted(how, text, newest=newest) if text else Wanted(newest=newest)

    def _start(self, request: Request) -> tuple[str, int | None] | None:
        row, colon, name = request.get('after').partition(':')
        if not colon:
            return None
        return name, Request('', {'row': row}).number('row')

    def _search_form(self, request: Request) -> Html:
        def choice(name: str, value: str, text: str, default: bool = False) -> Html:
            checked = request.get(name) == value or (default and not request.get(name))
            box = element('input', type='radio', name=name, value=value, checked=checked)
            return element('label', box, ' ', text)

        return element(
            'form',
            element('label', 'Of ', self._select(request)) if self.directory.is_fanout else None,
            element(
                'label',
                'Key ',
                element('input', type='search', name='q', value=request.get('q'), maxlength='1000'),
            ),
            element(
                'fieldset',
                choice('how', 'begins', 'begins with this, sorted', default=True),
                choice('how', 'contains', 'contains this'),
            ),
            element(
                'fieldset',
                choice('order', 'oldest', 'oldest first', default=True),
                choice('order', 'newest', 'newest first'),
            ),
            element('button', 'Search'),
            action='items',
        )

    def _item_table(self, items: Iterable[Item], caches: Mapping[str, str]) -> Html:
        several = len(caches) > 1
        json_caches = self._json_caches(caches)
        now = time.time()
        heads = ['key', 'value', 'size', 'stored', 'expires', 'tag']
        if several:
            heads.insert(0, 'shard')
        rows = []
        for item in items:
            shown = literals.key(item, item.cache in json_caches)
            parameter = tag_parameter(item)
            tag_shown = '' if item.tag_type == 'null' else _tag_text(item)
            cells: list[str] = [
                element(
                    'a', element('code', shown), href=url('item', in_=item.cache, row=item.rowid)
                ),
                literals.kind(item),
                literals.size(item.size),
                element(
                    'span',
                    literals.ago(item.store_time, now),
                    title=literals.moment(item.store_time),
                ),
                element('span', _expiry(item, now), title=literals.moment(item.expire_time)),
                tag_shown
                if parameter is None
                else link(tag_shown, 'items', in_=item.cache if not several else '', tag=parameter),
            ]
            rows.append([item.cache, *cells] if several else cells)
        return table(heads, rows, 'items')

    def _item(self, request: Request) -> tuple[str, list[Html]]:
        name = request.get('in')
        caches = self._caches()
        rowid = request.number('row')
        if name not in caches or rowid is None:
            raise NotFound('There is no such item.')
        deadline = time.monotonic() + queries.SECONDS
        item = queries.item(name, caches[name], rowid, deadline)
        if item is None:
            raise NotFound('There is no such item any more.')
        is_json = bool(self._json_caches({name: caches[name]}))
        now = time.time()
        parameter = tag_parameter(item)
        tag_shown = _tag_text(item)
        rows: list[tuple[str, str]] = [
            ('key', element('code', literals.key(item, is_json, 10_000))),
            ('value', f'{literals.kind(item)}, {literals.size(item.size)}'),
            ('stored', _moments(item.store_time, literals.ago(item.store_time, now))),
            ('expires', _moments(item.expire_time, _expiry(item, now))),
            (
                'tag',
                tag_shown
                if parameter is None
                else link(tag_shown, 'items', in_=name, tag=parameter),
            ),
            ('accesses', literals.shortened(repr(item.access_count))),
            ('last access', literals.moment(item.access_time)),
            ('row', str(item.rowid)),
        ]
        if name:
            rows.insert(0, ('in', printable(name)))
        if item.filename is not None:
            shown_name = printable(literals.text_of(item.filename))
            rows.append(('file', element('code', literals.shortened(shown_name, 300))))
        if literals.is_signed(item):
            rows.append(('signature', 'there is one, of a SignedDisk; it is not checked here'))
        body = [facts(rows)]
        if changes.can_be_deleted(item):
            key = changes.fingerprint(item.key_type, item.key, item.raw)
            button = self._button('delete', 'Delete this item', in_=name, row=str(rowid), key=key)
            body.append(button or Html())
        body += [
            element('h2', 'Value'),
            *self._value(request, item, caches[name], is_json, deadline),
        ]
        return 'Item', body

    def _value(
        self, request: Request, item: Item, path: str, is_json: bool, deadline: float
    ) -> list[Html]:
        """Return a piece of a value as text, JSON or hexadecimal digits."""
        kind = literals.kind(item)
        start = min(max(request.number('at') or 0, 0), queries.FURTHEST)
        data = queries.piece_of_value(path, item, start, _TEXT_BYTES, deadline)
        if data is None:
            return [element('p', 'The value file is not there, or cannot be read.', class_='error')]
        if kind in ('int', 'float'):
            return [_block(data.decode('ascii', 'replace'))]
        is_last = len(data) < _TEXT_BYTES or start + len(data) >= item.size
        if literals.is_signed(item) and item.filename is None and start == 0:
            data, start = data[literals.SIGNED_BYTES :], literals.SIGNED_BYTES
        is_whole = is_last and request.number('at') is None
        parts = (
            _pickle_parts(data, item.size)
            if kind == 'pickle' and request.number('at') is None
            else []
        )
        unpacked = literals.decompressed(data) if is_json and is_whole else None
        if unpacked is not None:
            parts.append(element('p', 'Decompressed, as a JSONDisk stores it.'))
            text, used = literals.text_of(unpacked), len(data)
        else:  # a letter that is cut in two is left to the next page
            text, used = codecs.utf_8_decode(data, 'surrogateescape', is_last)
        indented = literals.as_json(text) if is_whole else None
        is_text = unpacked is not None or kind == 'str' or literals.is_text(data)
        is_text &= kind in ('str', 'bytes')
        form = request.get('as')
        if form not in ('text', 'hex'):
            form = 'hex' if not is_text else 'text' if indented is None else 'json'
        here: dict[str, Any] = {'in_': item.cache, 'row': item.rowid}
        forms = ['json'] if is_text and indented is not None else []
        parts.append(_choice(form, [*forms, 'text', 'hex'], here))
        if form == 'hex':
            used = min(len(data), _HEX_BYTES)
            parts.append(_block(literals.hex_dump(data[:used], start)))
        else:
            shown = indented if form == 'json' and indented is not None else text
            parts.append(_block(literals.lines(shown), 'text'))
        end = start + used
        if not (is_whole and used == len(data)):
            parts.append(element('p', f'Bytes {start:,} to {end:,} of {item.size:,}.'))
        if used < len(data) or not is_last:
            parts.append(element('p', link('The next ones', 'item', **here, as_=form, at=end)))
        return parts

    def _next(self, request: Request) -> tuple[str, list[Html]]:
        caches = self._scope(request)
        found = self._overviews(caches)
        policies = {
            name: str(each.settings.get('eviction_policy', '')) for name, each in found.items()
        }
        deadline = time.monotonic() + queries.SECONDS
        expiring, errors = queries.next_to_expire(caches, deadline)
        deadline = time.monotonic() + queries.SECONDS
        victims, more_errors = queries.next_to_evict(caches, policies, deadline)
        names = sorted({policy for name, policy in policies.items() if not found[name].error})
        unknown = [policy for policy in names if policy not in EVICTION_POLICY]
        room = sum(max(each.number('size_limit') - each.volume, 0) for each in found.values())
        body = [
            self._chooser(request) or Html(),
            _errors(
                [_named(n, e.error) for n, e in found.items() if e.error] + errors + more_errors
            ),
            element('h2', 'Expires next'),
            self._item_table(expiring, caches)
            if expiring
            else element('p', 'No item has a time to expire.'),
            element('h2', 'Is evicted next'),
            element(
                'p',
                'By the policy ',
                element('b', literals.shortened(printable(', '.join(names)))),
                f', when a cache is over its size limit; {literals.size(room)} are left.'
                ' Items that have expired go first.',
            ),
        ]
        if unknown:
            text = 'This policy is that of another program: it is not known here what goes next.'
            body.append(element('p', text, class_='said'))
        elif victims:
            if len(caches) > 1:
                body.append(element('p', 'Each shard evicts by itself, in this order.'))
            body.append(self._item_table(victims, caches))
        else:
            body.append(element('p', 'Nothing is.'))
        return 'Next to go', body

    def _plots(self, request: Request) -> tuple[str, list[Html]]:
        caches = self._scope(request)
        found = queries.figures(caches, time.monotonic() + queries.SECONDS)
        words = f'Of a sample of {literals.count(len(found.rows))} items, from all over the cache.'
        if not found.is_sample:
            words = f'Of all {_items(len(found.rows))}.'
        body = [self._chooser(request) or Html(), _errors(found.errors), element('p', words)]
        body += [_plot(each) for each in plots(found, time.time())]
        return 'Plots', body

    # --- changes ---

    def _delete(self, request: Request) -> tuple[int, str]:
        caches = self._caches()
        rowid = request.number('row')
        if request.get('in') not in caches or rowid is None:
            raise NotFound('There is no such item.')
        return changes.delete(caches[request.get('in')], rowid, request.get('key')), 'items'

    def _evict(self, request: Request) -> tuple[int, str]:
        try:
            wanted = parse_tag(request.get('tag'))
        except ValueError:
            raise NotFound('There is no such tag.') from None
        return changes.evict(self._scope(request).values(), wanted), ''


# --- parts of pages ---


def _items(number: int) -> str:
    return f'{number:,} item{"" if number == 1 else "s"}'


def _named(name: str, text: str) -> str:
    return f'{name}: {text}' if name else text


def _errors(texts: Iterable[str]) -> Html:
    shown = (element('li', printable(text)) for text in texts)
    items = joined(shown)
    return element('ul', items, class_='error') if items else Html()


def _expiry(item: Item, now: float) -> str:
    text = literals.ago(item.expire_time, now)
    return f'expired {text}' if text.endswith(' ago') else text


def _moments(seconds: Any, text: str) -> str:
    return 'never' if seconds is None else f'{literals.moment(seconds)}, {text}'


def _tag_text(item: Item) -> str:
    return literals.column(item.tag_type, item.tag)


def _block(text: str, class_: str | None = None) -> Html:
    return element('pre', element('code', text), class_=class_, tabindex='0')


def _settings(found: Mapping[str, Overview]) -> Html:
    """Return a table of the settings; those that differ between shards have several values."""
    values: dict[str, list[str]] = {}
    for each in found.values():
        for name, value in each.settings.items():
            if name not in ('count', 'size', 'hits', 'misses'):
                shown = literals.shortened(repr(value))
                seen = values.setdefault(literals.shortened(printable(name)), [])
                if shown not in seen:
                    seen.append(shown)
        if each.origin is not None:
            disks = values.setdefault('(written with the Disk)', [])
            if each.origin.disk not in disks:
                disks.append(literals.shortened(printable(each.origin.disk)))
    return table(('setting', 'value'), ((n, ' or '.join(v)) for n, v in sorted(values.items())))


def _choice(chosen: str, forms: Iterable[str], here: Mapping[str, Any]) -> Html:
    """Return links to the forms in which a value can be shown."""
    links = (
        element('b', form) if form == chosen else link(form, 'item', **here, as_=form)
        for form in forms
    )
    return element('p', 'As ', *(joined((each, ' ')) for each in links))


def _pickle_parts(data: bytes, size: int) -> list[Html]:
    found = literals.pickled(data, size)
    rows = [('names', _list(found.names) or 'no class, no function')]
    if found.missing:
        rows.append(('not here', _list(found.missing)))
    if found.problem:
        rows.append(('damaged', literals.shortened(printable(found.problem), 300)))
    rows.append(('in it', _list(found.atoms) or 'nothing that can be shown'))
    return [element('p', 'A pickle. It is described, and not loaded.'), facts(rows)]


def _list(names: list[str]) -> str:
    text = ', '.join(printable(literals.shortened(name)) for name in names[:_NAMES])
    return f'{text}, …' if len(names) > _NAMES else text


def _plot(plot: Plot) -> Html:
    most = max((number for _, number in plot.bars), default=0)

    def bar(number: int) -> Html:
        width = 100 * number / most if most else 0
        rect = element('rect', width=f'{width:.2f}', height='10')
        return element(
            'svg', rect, viewBox='0 0 100 10', preserveAspectRatio='none', aria_hidden='true'
        )

    rows = (
        element(
            'tr',
            element('th', label, scope='row'),
            element('td', bar(number), class_='bar'),
            element('td', literals.count(number)),
        )
        for label, number in plot.bars
    )
    return element('table', element('caption', plot.title), element('tbody', *rows), class_='plot')
