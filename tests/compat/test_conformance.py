"""The same script gives the same answers here and with the original.

Each scenario is a script over a fresh `cache` in `directory`. Where this package differs on
purpose there is no scenario: test_defects.py tells what happens instead.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest
from interpreter import Interpreter

FLAGS = ('', 'expire_time=True', 'tag=True', 'expire_time=True, tag=True')
DEFAULTS = ('', 'default=5', 'default=None')


def combinations(template: str) -> str:
    """Return one line of `template` for each combination of a default and the two flags."""
    return '\n'.join(
        template.format(', '.join(filter(None, (default, flags))))
        for default in DEFAULTS
        for flags in FLAGS
    )


def indented(lines: Iterable[str]) -> str:
    """Return `lines` in the form in which they can be added to a script below."""
    return '\n' + '\n'.join(f'        {line}' for line in lines)


SCENARIOS = {
    'set returns True and get the value': """
        cache.set('key', 'value')
        cache.get('key')
        cache.get(key='key')
        cache['key']
        'key' in cache
        'other' in cache
        len(cache)
    """,
    'set takes its arguments by position and by name': """
        cache.set('a', 1, 60, False, 'tag', False)
        cache.set(key='b', value=2, expire=60, read=False, tag='tag', retry=True)
        cache.get('a', None, False, True, True, False)
        cache.get(key='b', default=None, read=False, expire_time=True, tag=True, retry=True)
        cache.add('c', 3, 60, False, 'tag', False)
        cache.add(key='d', value=4, expire=None, read=False, tag=None, retry=True)
        cache.get('c', tag=True, expire_time=True)
        cache.touch('c', 30, True)
        cache.touch(key='c', expire=30, retry=False)
        cache.incr('a', 2, 0, False)
        cache.incr(key='a', delta=2, default=0, retry=False)
        cache.decr('a', 2, 0, True)
        cache.decr(key='a', delta=2, default=0, retry=True)
        cache.read(key='a', retry=True)
        cache.read('a', False)
        cache.pop('a', None, True, True, False)
        cache.pop(key='b', default=None, expire_time=True, tag=True, retry=True)
        cache.delete('c', True)
        cache.delete(key='d', retry=False)
        cache.push('v', 'p', 'back', 60, False, 't', False)
        cache.push(value='w', prefix='p', side='front', expire=1, read=False, tag=None, retry=True)
        cache.peek('p', None, 'front', True, True, False)
        cache.peek(prefix='p', default=0, side='back', expire_time=True, tag=True, retry=True)
        cache.peekitem(True, True, True, True)
        cache.peekitem(last=False, expire_time=True, tag=False, retry=False)
        cache.pull('p', None, 'front', True, True, False)
        cache.pull(prefix='p', default=0, side='back', expire_time=True, tag=True, retry=True)
        cache.evict('t', False)
        cache.evict(tag='t', retry=True)
        cache.expire(clock.now, False)
        cache.expire(now=None, retry=True)
        cache.cull(True)
        cache.cull(retry=False)
        list(cache.iterkeys(True))
        list(cache.iterkeys(reverse=True))
        cache.stats(False, True)
        cache.stats(enable=False, reset=True)
        cache.reset('cull_limit', 5, True)
        cache.reset(key='cull_limit', value=6, update=True)
        cache.check(False, False)
        cache.check(fix=True, retry=True)
        cache.clear(True)
        cache.clear(retry=False)
    """,
    'wrong arguments are a TypeError': """
        cache.set()
        cache.set('key')
        cache.set('key', 1, keyword=2)
        cache.set('key', 1, key='key')
        cache.set('key', 1, None, False, None, False, None)
        cache.get()
        cache.get('key', colour='red')
        cache.get('key', None, False, False, False, False, False)
        cache.get('key', None, default=None)
        cache.pop()
        cache.delete()
        cache.touch()
        cache.incr()
        cache.push()
        cache.pull('a', 'b', 'front', False, False, False, False)
        cache.peekitem(first=True)
        cache.evict()
        cache.clear(tag=1)
        cache.close(True)
        cache.volume(1)
        cache.reset()
        len(cache)
    """,
    'get returns its default with and without the tuple': combinations("cache.get('key', {})"),
    'get returns the item with and without the tuple': """
        cache.set('key', 'value', expire=10, tag='tag')
        cache.set('plain', 'value')
    """
    + indented(f'cache.get({key!r}, {flags})' for key in ('key', 'plain') for flags in FLAGS),
    'pop returns its default with and without the tuple': combinations("cache.pop('key', {})"),
    'pop returns the item with and without the tuple': '\n'.join(
        f"cache.set('key', 'value', expire=10, tag=b'tag')\ncache.pop('key', {flags})"
        for flags in FLAGS
    ),
    'pull returns its default with and without the tuple': combinations('cache.pull({})'),
    'peek returns its default with and without the tuple': combinations('cache.peek({})'),
    'pull and peek return the item with and without the tuple': '\n'.join(
        f"cache.push('value', expire=10, tag=7)\ncache.peek({flags})\ncache.pull({flags})"
        for flags in FLAGS
    ),
    'peekitem returns the item with and without the tuple': """
        cache.peekitem()
        cache.peekitem(last=False, expire_time=True, tag=True)
        cache.set('a', 1, expire=10, tag=1.5)
        cache.set(('b',), 2)
    """
    + indented(
        f'cache.peekitem(last={last}, {flags})' for last in (True, False) for flags in FLAGS
    ),
    'missing keys': """
        cache['missing']
        del cache['missing']
        cache.delete('missing')
        cache.read('missing')
        cache.touch('missing')
        cache.touch('missing', expire=5)
        cache.incr('missing', default=None)
        cache.decr('missing', default=None)
        cache[1, 'missing']
        cache.__delitem__('missing', retry=False)
        len(cache)
    """,
    'deleting': """
        cache.set('a', 1)
        cache.delete('a')
        cache.delete('a')
        cache.set('b', 1)
        cache.__delitem__('b')
        'b' in cache
        cache.set('c', 1)
        del cache['c']
        len(cache)
    """,
    'add keeps what is there': """
        cache.add('key', 1)
        cache.add('key', 2)
        cache['key']
        cache.set('gone', 1, expire=5)
        clock.tick(6)
        cache.add('gone', 2, expire=5, tag='new')
        cache.get('gone', expire_time=True, tag=True)
    """,
    'incr and decr': """
        cache.incr('count')
        cache.incr('count', 5)
        cache.decr('count', 10)
        cache.decr('other')
        cache.incr('from', default=10)
        cache.incr('total', 123.4)
        cache.incr('total', 0.5)
        cache.incr('total', 1)
        cache.incr('half', default=0.5)
        cache.incr('zero', 0)
        cache['total'], cache['count']
        cache.set('tagged', 1, expire=100, tag='tag')
        cache.incr('tagged')
        cache.get('tagged', expire_time=True, tag=True)
        clock.tick(101)
        cache.incr('tagged', default=None)
        cache.incr('tagged', default=40)
        cache.get('tagged', expire_time=True, tag=True)
        cache.set('maximum', 2 ** 63 - 2)
        cache.incr('maximum')
        cache.decr('minimum', 2 ** 63)
        cache.set('text', 'one')
        cache.incr('text')
        cache['text']
    """,
    'an item expires when its time has come': """
        cache.set('key', 'value', expire=10)
        cache.add('added', 'value', expire=10)
        cache.push('pushed', expire=10)
        clock.tick(9.5)
        cache.get('key'), cache['key'], 'key' in cache, cache.get('added'), cache.peek()
        clock.tick(1)
        cache.get('key'), 'key' in cache, cache.get('added')
        cache['key']
        cache.pop('key', 'default')
        cache.delete('key')
        cache.touch('key', 100)
        del cache['key']
        cache.read('key')
        len(cache), list(cache)
        cache.peek()
        cache.peekitem()
        len(cache), list(cache)
    """,
    'an item at the very moment of its expiry': """
        cache.set('key', 'value', expire=10)
        cache.set('number', 1, expire=10)
        cache.push('pushed', expire=10)
        clock.tick(10)
        cache.get('key'), 'key' in cache, cache.pop('key'), cache.delete('key')
        cache.touch('key')
        cache.peek()
        cache.peekitem()
        cache.expire()
        cache.incr('number')
        cache.add('key', 'other')
    """,
    'odd expiry times': """
        cache.set('past', 1, expire=-1)
        cache.get('past')
        cache.set('now', 1, expire=0)
        cache.get('now')
        cache.set('never', 1, expire=float('inf'))
        cache.get('never', expire_time=True)
        cache.set('fraction', 1, expire=0.25)
        cache.get('fraction', expire_time=True)
        cache.set('true', 1, expire=True)
        cache.get('true', expire_time=True)
    """,
    'touch sets and clears the expiry': """
        cache.set('key', 'value', expire=10, tag='tag')
        cache.touch('key', expire=100)
        cache.get('key', expire_time=True, tag=True)
        cache.touch('key')
        cache.get('key', expire_time=True, tag=True)
    """,
    'set replaces expiry and tag': """
        cache.set('key', 'value', expire=10, tag='tag')
        cache.set('key', 'value')
        cache.get('key', expire_time=True, tag=True)
        cache['key'] = 'other'
        cache.get('key', expire_time=True, tag=True)
    """,
    'equal numbers of different types': """
        cache[1] = 'int'
        cache[1.0] = 'float'
        cache[True] = 'bool'
        cache[0] = 'zero'
        cache[False] = 'false'
        cache[-0.0] = 'minus zero'
        cache[1], cache[1.0], cache[True], cache[0], cache[False], cache[0.0]
        list(cache)
        len(cache)
        2 ** 53 in cache
        cache[2 ** 53 + 1] = 'large'
        float(2 ** 53) in cache
    """,
    'types of keys are told apart': """
        Str = type('Str', (str,), {})
        Int = type('Int', (int,), {})
        cache['a'], cache[b'a'] = 'str', 'bytes'
        cache[('a',)], cache[('a', None)] = 'tuple', 'longer tuple'
        cache['1'], cache[1], cache[b'1'] = 'digit', 'one', 'digit bytes'
        cache[None], cache[''], cache[b''] = 'none', 'empty', 'empty bytes'
        cache['a'], cache[b'a'], cache[('a',)], cache[('a', None)]
        cache['1'], cache[1], cache[b'1'], cache[None], cache[''], cache[b'']
        list(cache)
    """,
    'a subclass of str is a key of its own': """
        import collections
        cache[collections.UserString('a')] = 1
        'a' in cache
        from enum import Enum
        class Colour(str, Enum):
            RED = 'red'
        diskcache.Colour = Colour
        Colour.__module__ = 'diskcache'
        cache['red'] = 'text'
        cache[Colour.RED] = 'enum'
        cache['red'], cache[Colour.RED]
        len(cache)
    """,
    'keys that are pickled': """
        import datetime, decimal
        cache[(1, 'a', b'b', 2.5, None, True)] = 1
        cache[frozenset([1])] = 2
        cache[2 ** 63] = 3
        cache[-2 ** 63 - 1] = 4
        cache[[1, [2]]] = 5
        cache[{'a': 1}] = 6
        cache[bytearray(b'a')] = 7
        cache[datetime.date(2020, 2, 29)] = 8
        cache[decimal.Decimal('1.50')] = 9
        cache[1 + 2j] = 10
        cache[int] = 11
        cache[...] = 12
        cache[(1, 'a', b'b', 2.5, None, True)], cache[frozenset([1])], cache[2 ** 63]
        cache[-2 ** 63 - 1], cache[[1, [2]]], cache[{'a': 1}], cache[bytearray(b'a')]
        cache[datetime.date(2020, 2, 29)], cache[decimal.Decimal('1.50')], cache[1 + 2j]
        cache[int], cache[...], (1, 'a', b'b', 2.5, None, 1) in cache
        list(cache)
        list(cache.iterkeys())
        list(cache.iterkeys(reverse=True))
    """,
    'keys that cannot be pickled': """
        cache[memoryview(b'')] = 1
        memoryview(b'') in cache
        cache.get(threading.Lock())
        len(cache)
    """,
    'extreme keys': """
        cache[2 ** 63 - 1], cache[-2 ** 63] = 'largest', 'smallest'
        cache[float('inf')], cache[float('-inf')] = 'inf', '-inf'
        cache[1e308], cache[5e-324] = 'huge', 'tiny'
        cache['a\\0b'], cache['a'], cache[b'a\\0b'] = 'nul', 'a', 'nul bytes'
        cache['\\u20ac\\U0001f600'] = 'wide'
        cache['x' * 100_000] = 'long'
        cache[2 ** 63 - 1], cache[-2 ** 63], cache[float('inf')], cache[float('-inf')]
        cache[1e308], cache[5e-324], cache['a\\0b'], cache['a'], cache[b'a\\0b']
        cache['\\u20ac\\U0001f600'], cache['x' * 100_000]
        list(cache) == list(reversed(list(reversed(cache))))
    """,
    'values of every type come back': """
        import collections, datetime, fractions
        values = [0, -1, 2 ** 63 - 1, -2 ** 63, 2 ** 63, 1.5, float('inf'), True, False, None]
        values += ['', 'a\\0b', '\\u20ac\\U0001f600', b'', b'\\0\\xff', bytearray(b'a'), ()]
        values += [[1, [2]], {'a': (1,)}, {1}, frozenset(), 1j, ..., range(3), int, slice(1)]
        values += [datetime.datetime(2020, 1, 1), fractions.Fraction(1, 3)]
        values += [collections.OrderedDict(a=1), 'x' * 40_000, b'x' * 40_000, ['x' * 40_000]]
        values += ['\\u20ac' * 32_767, '\\u20ac' * 32_768, 'x' * 32_767, b'x' * 32_768]
        [cache.set(index, value) for index, value in enumerate(values)].count(True)
        [(index, value) for index, value in enumerate(values) if cache[index] != value]
        [index for index, value in enumerate(values) if type(cache[index]) is not type(value)]
        str([cache[index] for index in range(29)])
        [cache.pop(index) == value for index, value in enumerate(values)].count(False)
        len(cache), cache.check()
    """,
    'values that cannot be pickled': """
        cache.set('key', lambda: None)
        cache.set('key', threading.Lock())
        cache.set('key', memoryview(b''))
        len(cache), cache.check()
    """,
    'values read from files': """
        cache.set('key', io.BytesIO(b'contents'), read=True)
        cache.read('key')
        cache.get('key', read=True)
        cache.get('key')
        cache.get('key', read=True, expire_time=True, tag=True)[1:]
        cache.set('empty', io.BytesIO(b''), read=True)
        cache.read('empty')
        cache.add('added', io.BytesIO(b'x' * 100_000), read=True, tag='tag')
        len(cache.get('added'))
        cache.push(io.BytesIO(b'pushed'), read=True)
        cache.pull()
        cache.set('large', b'x' * 40_000)
        len(cache.read('large').read())
        cache.set('large', 'x' * 40_000)
        len(cache.get('large', read=True))
        cache.set('object', [1, 2])
        cache.get('object', read=True)
        cache.get('missing', 7, read=True)
        cache.pop('key')
    """,
    'queues': """
        [cache.push(letter) for letter in 'abc']
        cache.push('first', side='front')
        cache.peek(), cache.peek(side='back')
        cache.pull(), cache.pull(side='back')
        list(cache)
        cache[500000000000000]
        cache.pull(side='back'), cache.pull(), cache.pull()
        cache.push('again')
        [cache.push(number, prefix='p') for number in range(3)]
        cache.push('front', 'p', 'front')
        cache.push('dashed', 'p-q')
        cache.push('empty', '')
        cache.push('wide', '\\u20ac')
        cache.peek('p'), cache.peek('p', side='back'), cache.peek('p-q'), cache.peek('')
        cache.pull('p'), cache.pull('p', side='back'), cache.pull('p-q'), cache.pull('')
        cache.pull('absent'), cache.pull('\\u20ac')
        cache.pull('p'), cache.pull('p'), cache.pull('p'), cache.pull('p')
        cache.push(b'x' * 50_000, 'files'), cache.push('x' * 50_000, 'files')
        [len(cache.pull('files')[1]) for _ in range(2)]
        cache.check()
    """,
    'queues continue after the last key': """
        cache[500000000000005] = 'own'
        cache.push('next')
        cache.push('before', side='front')
        cache['p-500000000000010'] = 'own'
        cache.push('next', 'p')
        cache.push('before', 'p', side='front')
        cache.pull(), cache.pull('p')
    """,
    'expired items of queues are skipped': """
        [cache.push(number, expire=10 * (number % 2) + 1) for number in range(6)]
        clock.tick(5)
        cache.peek()
        len(cache)
        cache.pull(), cache.pull(side='back')
        cache.push('next')
        clock.tick(100)
        cache.peek()
        cache.pull()
        cache.pull()
        len(cache)
    """,
    'iteration is in the order of insertion': """
        list(cache), list(reversed(cache)), list(cache.iterkeys())
        for key in [4, 'b', 1, b'c', (2,), 0.5, 'a']:
            cache[key] = key
        list(cache)
        list(reversed(cache))
        cache[4] = 'replaced'
        list(cache)
        del cache['b']
        cache['b'] = 'again'
        list(cache)
        list(cache.iterkeys())
        list(cache.iterkeys(reverse=True))
        iter(cache) is iter(cache)
        hasattr(iter(cache), '__next__'), hasattr(cache.iterkeys(), '__next__')
    """,
    'iteration over many items': """
        for number in range(350):
            cache[number * 11 % 350] = number
        list(cache) == [number * 11 % 350 for number in range(350)]
        list(cache.iterkeys()) == list(range(350))
        list(cache.iterkeys(reverse=True)) == list(range(349, -1, -1))
        list(reversed(cache)) == list(cache)[::-1]
        len(cache)
    """,
    'iteration does not see what is inserted meanwhile': """
        cache[1], cache[2] = 1, 2
        iterator = iter(cache)
        cache[3] = 3
        list(iterator)
        iterator = reversed(cache)
        cache[4] = 4
        list(iterator)
        next(iterator)
    """,
    'settings': """
        sorted(diskcache.DEFAULT_SETTINGS.items())
        [(name, getattr(cache, name)) for name in sorted(diskcache.DEFAULT_SETTINGS)]
        cache.directory, cache.timeout, type(cache.disk).__name__
        cache.disk.min_file_size, cache.disk.pickle_protocol
        cache.reset('size_limit', 1000), cache.size_limit, cache.reset('size_limit')
        cache.reset('size_limit', 2 ** 30), cache.reset('cull_limit', 3), cache.cull_limit
        cache.reset('disk_min_file_size', 10), cache.disk.min_file_size, cache.disk_min_file_size
        cache.set('file', b'x' * 10), cache.check()
        cache.reset('disk_pickle_protocol', 2), cache.disk.pickle_protocol
        cache.reset('sqlite_mmap_size', 2 ** 20), cache.sqlite_mmap_size
        cache.reset('sqlite_cache_size', 100), cache.sqlite_cache_size
        cache.reset('sqlite_synchronous', 2), cache.sqlite_synchronous
        cache.reset('eviction_policy', 'least-recently-used'), cache.eviction_policy
        cache.reset('cull_limit', 7, update=False), cache.cull_limit, cache.reset('cull_limit')
        cache.reset('count'), cache.count, cache.reset('size'), cache.size
        cache.reset('hits'), cache.reset('misses'), cache.hits, cache.misses
        cache.reset('nonexistent')
        cache.reset('own', 5), cache.own
        cache.close()
        sorted(cache._sql('SELECT key, value FROM Settings'))
    """,
    'settings are stored': """
        first = Cache(directory + '/settings', size_limit=1000, cull_limit=2, own='value')
        first.size_limit, first.cull_limit, first.own
        second = Cache(directory + '/settings')
        second.size_limit, second.cull_limit, second.own
        third = Cache(directory + '/settings', size_limit=2000, disk_min_file_size=5)
        third.size_limit, third.cull_limit, third.disk.min_file_size
        first.size_limit, first.reset('size_limit'), first.size_limit
        fourth = Cache(directory + '/settings')
        fourth.disk.min_file_size, fourth.disk_min_file_size
        first.close(), second.close(), third.close(), fourth.close()
    """,
    'settings of SQLite apply to the connection': """
        def pragma(name): return cache._sql('PRAGMA ' + name).fetchall()
        pragma('cache_size'), pragma('journal_mode'), pragma('mmap_size'), pragma('synchronous')
        pragma('auto_vacuum')
        changed = Cache(directory + '/other', sqlite_cache_size=77, sqlite_synchronous=0)
        cache.close()
        cache = Cache(directory + '/other')
        pragma('cache_size'), pragma('synchronous')
        journal = Cache(directory + '/journal', sqlite_journal_mode='delete', sqlite_auto_vacuum=0)
        cache = journal
        pragma('journal_mode'), pragma('auto_vacuum')
        cache.set('key', 1), cache['key']
    """,
    'statistics': """
        cache.stats()
        cache['a'] = 1
        cache.get('a'), cache.get('b'), cache['a'], 'a' in cache, cache.pop('a'), cache.get('a')
        cache.stats()
        cache.stats(reset=True)
        cache.stats()
        cache.get('a')
        cache.stats(enable=False)
        cache.get('a')
        cache.stats(enable=False)
        cache.reset('statistics')
        counting = Cache(directory + '/counting', statistics=1)
        counting.get('a', default=1), counting.incr('n'), counting.get('n')
        counting['n'], counting.get('n', read=True), counting.get('a', 1, tag=True)
        counting.stats()
        counting.close()
    """,
    'evict': """
        for number in range(250):
            cache.set(number, number, tag=['odd', 'even', 3, 2.5, b'bytes', None][number % 6])
        cache.evict('odd'), cache.evict('odd'), cache.evict(3), cache.evict(2.5), len(cache)
        cache.evict(b'bytes'), cache.evict('bytes'), cache.evict(None), cache.evict(3.0)
        len(cache)
        cache.create_tag_index(), cache.tag_index
        cache.evict('even')
        cache.drop_tag_index(), cache.tag_index
        len(cache)
    """,
    'tags': """
        for tag in ['text', '', b'bytes', 5, -1.5, None, True, '\\u20ac', 2 ** 63 - 1]:
            cache.set('key', 1, tag=tag)
            assert cache.add(repr(tag), 1, tag=tag)
        [cache.get(key, tag=True) for key in cache]
        cache.push(1, tag='pushed')
        cache.peek(tag=True)
    """,
    'tag index': """
        def indexes(cache): return [name for (name,) in cache._sql(
            "SELECT name FROM sqlite_master WHERE name LIKE 'Cache_tag%'")]
        indexes(cache)
        cache.create_tag_index()
        cache.create_tag_index()
        indexes(cache)
        indexed = Cache(directory + '/indexed', tag_index=True)
        indexes(indexed), indexed.tag_index == 1
        indexed.close()
        again = Cache(directory + '/indexed')
        indexes(again), again.tag_index
        again.drop_tag_index(), indexes(again), again.tag_index
        again.close()
    """,
    'expire': """
        for number in range(10):
            cache.set(number, number, expire=number + 1)
        cache['never'] = 1
        cache.expire()
        clock.tick(5.5)
        cache.expire(), len(cache)
        cache.expire(now=clock.now + 3), len(cache)
        cache.expire(clock.now + 100), len(cache), list(cache)
    """,
    'clear': """
        cache.clear()
        for number in range(250):
            cache.set(number, 'x' * 10)
        cache.set('file', 'x' * 100_000)
        cache.clear(), len(cache), list(cache), cache.clear(), cache.check()
        cache.reset('size')
    """,
    'cull': """
        for number in range(5):
            cache.set(number, number, expire=1)
        cache['never'] = 1
        cache.cull(), len(cache)
        clock.tick(2)
        cache.cull(), len(cache)
        cache.reset('size_limit', 0)
        cache.cull(), len(cache)
    """,
    'volume': """
        cache.volume() == cache._page_size * cache._sql('PRAGMA page_count').fetchone()[0]
        cache.set('file', b'x' * 100_000)
        cache.reset('size')
        cache.set('file', b'x' * 50_000), cache.reset('size')
        cache.volume() - cache._page_size * cache._sql('PRAGMA page_count').fetchone()[0]
        cache.delete('file'), cache.reset('size')
    """,
    'transactions': """
        with cache.transact():
            cache['a'] = 1
            with cache.transact(retry=True):
                cache['b'] = 2
        list(cache)
        with cache.transact(True):
            cache['a'] = 5
            del cache['b']
            cache.push('x')
            cache.incr('n')
            raise ValueError
        list(cache), cache['a']
        with cache.transact() as nothing:
            assert nothing is None
            assert len(cache) == 2
        with cache.transact():
            with cache.transact():
                cache['a'] = 6
                raise KeyError('inner')
        cache['a']
        with cache.transact():
            try:
                with cache.transact():
                    cache['kept'] = 7
                    raise KeyError('caught')
            except KeyError:
                pass
        cache['kept']
    """,
    'a transaction is a context and a decorator': """
        @cache.transact()
        def both():
            cache['a'], cache['b'] = 1, 2
            return len(cache)
        both()
        both()
        transaction = cache.transact()
        transaction.__enter__()
        cache['c'] = 3
        bool(transaction.__exit__(None, None, None))
        cache['c']
    """,
    'memoize': """
        calls = []
        @cache.memoize()
        def function(*args, **kwargs):
            'Its documentation.'
            calls.append((args, kwargs))
            return len(calls)
        function(1), function(1), function(1.0), function(True), function(1, 2), function(a=1)
        function(a=1), function(b=2, a=1), function(a=1, b=2), function(), function(None)
        calls
        function.__name__, function.__doc__, function.__wrapped__(1), hasattr(function, '__dict__')
        function.__cache_key__(1, a=2)
        list(cache)
    """,
    'keys of memoize': """
        def function(*args, **kwargs): pass
        function.__qualname__ = 'Class.function'
        def keys(**options):
            key = cache.memoize(**options)(function).__cache_key__
            return [key(), key(1), key(1, 'x'), key(x=1), key(b=1, a=2.0), key(1, b=2, a=[3])]
        keys()
        keys(name='name')
        keys(name='')
        keys(typed=True)
        keys(ignore=[0])
        keys(ignore={1, 'a'})
        keys(ignore=('a', 'b'))
        keys(typed=True, ignore=(0, 'b'), name='n')
        cache.memoize(function)
        cache.memoize(name=len)
        diskcache.core.args_to_key(('base',), (1, 2), {'a': 3}, True, {0})
        diskcache.core.args_to_key(('base',), (1, 2), {'a': 3, 'b': 4}, False, ('a',))
        diskcache.core.full_name(json.dumps)
    """,
    'options of memoize': """
        calls = []
        @cache.memoize('name', True, 10, 'tag', {'ignored'})
        def function(number, ignored=None):
            calls.append(number)
        function(1), function(1), function(1.0), function(1, ignored=5)
        calls
        cache.get(function.__cache_key__(1), expire_time=True, tag=True)
        clock.tick(11)
        function(1), calls
        @cache.memoize(expire=0)
        def unkept(number):
            calls.append('unkept')
        unkept(1), unkept(1), calls, len(cache)
        @cache.memoize()
        def failing():
            raise LookupError
        failing()
        len(cache)
    """,
    'closing': """
        cache['a'] = 1
        cache.close()
        cache.close()
        cache['a']
        with cache as same:
            assert same is cache
        cache['a']
        cache.__enter__() is cache, cache.__exit__(None, None, None), cache.__exit__()
    """,
    'pickling': """
        copy = pickle.loads(pickle.dumps(cache))
        copy.directory == cache.directory, copy.timeout, type(copy.disk).__name__
        cache['a'] = 1
        copy['a']
        cache.__getstate__()
        short = Cache(directory, 5, JSONDisk)
        copy = pickle.loads(pickle.dumps(short))
        copy.timeout, type(copy.disk).__name__
        [hasattr(pickle.loads(pickle.dumps(cache, protocol)), 'disk') for protocol in range(6)]
    """,
    'names of the module': """
        from diskcache import core
        core.DBNAME, core.ENOVAL, core.UNKNOWN, core.MODE_NONE, core.MODE_RAW
        core.MODE_BINARY, core.MODE_TEXT, core.MODE_PICKLE, sorted(core.METADATA.items())
        isinstance(core.ENOVAL, tuple), type(core.ENOVAL).__name__, core.Constant('X')
        tuple(core.ENOVAL), core.Constant('X') == core.Constant('X')
        names = ['least-recently-stored', 'least-recently-used', 'least-frequently-used', 'none']
        [(name, sorted(diskcache.EVICTION_POLICY[name])) for name in names]
        [name for name in 'io os op time tempfile json pickle sqlite3 codecs errno'.split()
            if not hasattr(core, name)]
        [name for name in 'ft cl functools struct threading warnings zlib pickletools'.split()
            if name != 'functools' and not hasattr(core, name)]
        core.op is os.path, core.json is json
        issubclass(diskcache.Timeout, Exception), diskcache.Timeout.__module__
        issubclass(diskcache.UnknownFileWarning, UserWarning), Cache.__module__, Cache.__qualname__
        issubclass(diskcache.EmptyDirWarning, UserWarning), JSONDisk.__mro__[1].__name__
        Disk.__module__, JSONDisk.__module__
    """,
    'check of a sound cache': """
        cache.check()
        cache['a'], cache['b'], cache['c'] = 1, 'x' * 100_000, ['x' * 100_000]
        cache.check()
        cache.check(fix=True)
        len(cache['b']), len(cache)
    """,
    'check of a damaged cache': """
        cache.set('missing', 'x' * 100_000)
        cache.set('short', b'x' * 100_000)
        def path(key): return cache._sql(
            'SELECT filename FROM Cache WHERE key = ?', (key,)).fetchone()[0]
        cache.disk.remove(path('missing'))
        open(os.path.join(directory, path('short')), 'wb').write(b'y' * 10)
        os.mkdir(os.path.join(directory, 'empty'))
        open(os.path.join(directory, 'unknown'), 'w').close()
        open(os.path.join(directory, 'my-cache.db.copy'), 'w').close()
        cache._sql("UPDATE Settings SET value = value + 5 WHERE key = 'count'").fetchall()
        cache._sql("UPDATE Settings SET value = value + 7 WHERE key = 'size'").fetchall()
        cache.check()
        os.remove(os.path.join(directory, 'unknown'))
        isinstance(cache.check(fix=True), list)
        cache.check()
        os.path.exists(os.path.join(directory, 'empty')), 'missing' in cache
    """,
    'JSONDisk': """
        cache = Cache(directory + '/json', disk=JSONDisk, disk_compress_level=6)
        cache.disk.compress_level, cache.disk_compress_level, type(cache.disk).__name__
        cache['a'] = [1, 'x', None, {'b': 2.5}]
        cache['a'], 'a' in cache, list(cache)
        cache[1, 2] = (3, 4)
        cache[1, 2], cache[[1, 2]], list(cache)
        cache['large'] = list(range(100_000))
        cache['large'] == list(range(100_000))
        cache['key'] = {1}
        cache[{1}] = 'key'
        cache[b'bytes']
        cache.get('missing', 'default')
        cache.pop('a'), len(cache), cache.peekitem(last=False)
        cache.set('file', io.BytesIO(b'raw'), read=True)
        cache.read('file')
        cache.check()
        [cache.disk.hash(key) for key in ['a', 1, [1, 2], None]]
    """,
    'bad arguments of the constructor': """
        Cache(directory + '/x', disk=int)
        Cache(directory + '/x', disk=Disk(directory))
        Cache(directory + '/x', disk=None)
        os.path.exists(directory + '/x')
        Cache(directory, colour_space=5).colour_space
    """,
    'hash': """
        disk = cache.disk
        [disk.hash(key) for key in ['', 'a', '\\u20ac', 'x' * 10_000, b'', b'a', b'x' * 10_000]]
        [disk.hash(key) for key in [0, 1, -1, 2 ** 32 - 1, 2 ** 32, 2 ** 63 - 1, -2 ** 63]]
        [disk.hash(key) for key in [0.0, -0.0, 1.0, 1.5, float('inf'), 1e-300]]
        [disk.hash(key) for key in [None, True, (), (1, 'a'), 2 ** 63, frozenset(), ('a',) * 50]]
    """,
    'put and get of keys by the disk': """
        disk = cache.disk
        def put(key):
            database_key, raw = disk.put(key)
            assert disk.get(database_key, raw) == key
            return type(database_key).__name__, bytes(database_key) if isinstance(
                database_key, memoryview) else database_key, raw
        put('a'), put(1), put(1.5), put(b'a'), put(None), put(True), put((1, 'a', ('b',)))
        put(2 ** 63), put(-2 ** 63), put(frozenset()), put([1, 'same', 'same'])
        disk.get(b'a', True), disk.get(memoryview(b'a'), True), disk.get('a', 1)
    """,
    'store and fetch of values by the disk': """
        disk = cache.disk
        def store(value, read=False):
            size, mode, filename, stored = disk.store(value, read, key='key')
            fetched = disk.fetch(mode, filename, stored, False)
            if filename is not None:
                disk.remove(filename)
            stored = bytes(stored) if isinstance(stored, memoryview) else stored
            return size, mode, filename is None, stored, fetched == value
        store(1), store('a'), store(b'a'), store(1.5), store(None), store(True), store([1])
        store('x' * 40_000), store(b'x' * 40_000), store(['x' * 40_000])
        store(io.BytesIO(b'file'), True)
        disk.store('a', False), disk.store(value='a', read=False)
        filename, full_path = disk.filename()
        full_path == os.path.join(directory, filename), len(filename), filename.count(os.sep)
        disk.filename('key', 'value')[0] == disk.filename('key', 'value')[0]
        disk.remove('not/there.val')
        disk.fetch(diskcache.core.MODE_BINARY, 'not/there.val', None, False)
        plain = Disk(directory)
        plain.min_file_size, plain.pickle_protocol, plain._directory
        Disk(directory, 5, 2).min_file_size, Disk(directory, pickle_protocol=2).pickle_protocol
    """,
}


@pytest.mark.parametrize('script', SCENARIOS.values(), ids=SCENARIOS.keys())
def test_the_answers_are_those_of_the_original(
    script: str, tmp_path: Path, other: Interpreter, original: Interpreter
) -> None:
    script = 'cache = Cache(directory)\n' + textwrap.dedent(script)
    ours = other.transcript(script, directory=str(tmp_path / 'ours'))
    theirs = original.transcript(script, directory=str(tmp_path / 'original'))
    assert ours == theirs


FANOUT_SCENARIOS = {
    'values': """
        fanout.set('a', 1, 60, False, 'tag', False), fanout.set('a', 2), fanout.get('a')
        fanout.set(key='b', value=2, expire=60, read=False, tag='tag', retry=True)
        fanout.get('b', None, False, True, True, False)
        fanout.get(key='b', default=None, read=False, expire_time=True, tag=True, retry=True)
        fanout.get('missing'), fanout.get('missing', 5), fanout.get('missing', 5, tag=True)
        fanout['c'] = ['value']
        fanout['c'], 'c' in fanout, 'missing' in fanout
        fanout['missing']
        del fanout['c']
        del fanout['c']
        fanout.add('a', 3), fanout.add('d', 4, 60, False, 'tag', True), fanout.get('d', tag=True)
        fanout.touch('d'), fanout.touch('missing', 5), fanout.get('d', expire_time=True)
        fanout.delete('d'), fanout.delete('d', retry=True)
        fanout.pop('b', expire_time=True, tag=True), fanout.pop('b', 'default'), fanout.pop('b')
        fanout.pop('b', None, True, True, True)
        clock.tick(61)
        fanout.get('a'), len(fanout), list(fanout)
    """,
    'counting': """
        fanout.incr('a'), fanout.incr('a', 5), fanout.decr('a', 2), fanout.incr('b', default=10)
        fanout.decr('c', 1, 100, True), fanout.incr('d', 1.5, 0.25)
        fanout.incr('missing', default=None)
        fanout.decr('missing', 1, None)
    """,
    'files': """
        fanout.set('large', io.BytesIO(b'x' * 100_000), read=True)
        len(fanout['large'])
        fanout.set('small', io.BytesIO(b'contents'), read=True)
        fanout.read('small'), fanout.get('small', read=True), fanout.get('missing', read=True)
        fanout.read('missing')
    """,
    'order of the keys': """
        for key in ['a', 'b', b'a', 1, 2, 3, 4, 1.5, None, True, (1, 'a'), 2 ** 70]:
            fanout[key] = key
        list(fanout)
        list(reversed(fanout))
        len(fanout)
        [fanout[key] for key in fanout]
        next(iter(fanout)), next(reversed(fanout))
    """,
    'removing': """
        for number in range(60):
            fanout.set(number, number, expire=number + 1, tag=['a', 'b', None][number % 3])
        fanout.evict('a'), fanout.evict(tag='a', retry=True), len(fanout)
        clock.tick(30)
        fanout.expire(), fanout.expire(retry=True), len(fanout)
        fanout.cull(), fanout.cull(True), len(fanout)
        fanout.clear(), fanout.clear(retry=True), len(fanout), list(fanout)
    """,
    'settings': """
        fanout.reset('cull_limit', 5), fanout.reset('cull_limit'), fanout.cull_limit
        fanout.size_limit, fanout.timeout, type(fanout.disk).__name__, fanout.statistics
        fanout.tag_index, fanout.create_tag_index(), fanout.tag_index, fanout.drop_tag_index()
        fanout.tag_index, fanout.directory, fanout.__getstate__()
        fanout.reset('size_limit', 10_000_000), fanout.size_limit
    """,
    'stats, volume and check': """
        fanout.stats(), fanout.get('a'), fanout.set('a', 1), fanout.get('a'), fanout['a']
        fanout.stats(False, True), fanout.get('a'), fanout.stats(enable=True, reset=False)
        fanout.check(), fanout.check(fix=True, retry=True)
        fanout.volume() > 0
    """,
    'transactions': """
        with fanout.transact():
            fanout['a'] = 1
            with fanout.transact(retry=True):
                fanout['b'] = 2
        sorted(fanout)
        with fanout.transact():
            fanout['a'] = fanout['c'] = 5
            del fanout['b']
            raise ValueError
        sorted(fanout), fanout['a']
        with fanout.transact() as nothing:
            assert nothing is None
    """,
    'named parts': """
        fanout.cache('a') is fanout.cache('a'), fanout.cache('a/b').directory
        fanout.deque('a/b').directory, fanout.deque('a') is fanout.deque('a')
        fanout.index('a/b').directory, fanout.index('a') is fanout.index('a')
        fanout.cache('a').timeout, fanout.cache('c', 5, size_limit=123_456).size_limit
        fanout.cache('c').timeout, fanout.cache('c').eviction_policy
        fanout.deque('m', maxlen=2).extend('abc'), list(fanout.deque('m')), fanout.deque('m').maxlen
        fanout.deque('m').cache.eviction_policy, fanout.index('a').cache.eviction_policy
        fanout.deque('m').cache.timeout, list(fanout.deque('m')), list(fanout.index('a'))
        fanout.index('a').update(b=1), list(fanout.index('a').items()), len(fanout)
    """,
    'memoize': """
        calls = []
        @fanout.memoize('name', True, 10, 'tag', {'ignored'})
        def function(number, ignored=None):
            calls.append(number)
            return number
        function(1), function(1), function(1.0), function(1, ignored=5), calls
        fanout.get(function.__cache_key__(1), expire_time=True, tag=True)
        clock.tick(11)
        function(1), calls
        fanout.memoize(len)
    """,
    'closing and copies': """
        with fanout as same:
            assert same is fanout
        fanout.set('a', 1), fanout.close(), fanout.close(), fanout['a']
        copy = pickle.loads(pickle.dumps(fanout))
        copy.directory, copy.timeout, type(copy.disk).__name__, copy['a'], copy.close()
    """,
    'wrong arguments': """
        fanout.set()
        fanout.set('key')
        fanout.get('key', colour='red')
        fanout.read('key', False)
        fanout.expire(5, 6)
        fanout.evict()
        fanout.transact(5, 6)
        fanout.volume(1)
        len(fanout)
    """,
}

DEQUE_SCENARIOS = {
    'both ends': """
        deque.append('a'), deque.append(['b']), deque.appendleft('c'), list(deque), len(deque)
        deque.peek(), deque.peekleft(), deque.pop(), deque.popleft(), list(deque)
        deque.extend('xyz'), deque.extendleft('123'), list(deque), list(reversed(deque))
        deque.clear(), list(deque), len(deque)
        deque.pop()
        deque.popleft()
        deque.peek()
        deque.peekleft()
    """,
    'items': """
        deque += 'abcde'
        [deque[index] for index in range(-5, 5)]
        deque[1], deque[-1] = 'B', ['E']
        list(deque)
        deque[5]
        deque[-6]
        deque[5] = 1
        del deque[-6]
        del deque[0], deque[-1], deque[1]
        list(deque)
        'd' in deque, 'x' in deque, deque.count('d'), deque.count(5), deque.index('d')
        deque.index('x')
        deque.remove('x')
        deque.extend('dad'), deque.remove('d'), list(deque), deque.remove('d'), list(deque)
    """,
    'turning': """
        deque.rotate(), deque.reverse(), list(deque)
        deque.extend(range(7))
        deque.rotate(), list(deque)
        deque.rotate(3), list(deque)
        deque.rotate(-2), list(deque)
        deque.rotate(steps=700), deque.rotate(-701), deque.rotate(0), list(deque)
        deque.reverse(), list(deque)
        deque.rotate('a')
        deque.rotate(1.5)
        deque.append('last'), deque.appendleft('first'), list(deque)
    """,
    'the most items': """
        deque.maxlen, deque.extend(range(9))
        deque.maxlen = 5
        deque.maxlen, list(deque), deque.append(9), list(deque), deque.appendleft(0), list(deque)
        deque.extend('abc'), list(deque), deque.extendleft('xy'), list(deque)
        short = diskcache.Deque('abcdef', directory + '/short', maxlen=2)
        list(short), short.maxlen
        same = diskcache.Deque(directory=directory + '/short', maxlen=3)
        list(same), same.extend('123'), list(same), list(short)
        none = diskcache.Deque('abc', directory + '/none', maxlen=0)
        list(none), none.append(1), list(none)
    """,
    'comparisons': """
        deque.extend([1, 2, 3])
        deque == [1, 2, 3], deque != [1, 2, 3], deque == (1, 2, 3), deque == [1, 2], deque != [1]
        deque < [1, 2, 4], deque <= [1, 2, 3], deque > [1, 2], deque >= [2], deque < [], [1] < deque
        deque == 5, deque != 5, deque == None, deque == {1, 2, 3}
        same = diskcache.Deque([1, 2, 3], directory + '/same')
        deque == same, deque != same, deque < same, deque <= same
        deque < 5
        deque > None
        hash(deque)
    """,
    'transactions, copies, pickles': """
        with deque.transact():
            deque.extend('abc')
            deque.popleft()
        list(deque)
        with deque.transact():
            deque.clear()
            raise ValueError
        list(deque), deque.directory, deque.cache.eviction_policy, deque.__getstate__()
        copy = deque.copy()
        copy.append('d'), list(deque), copy.directory, type(copy).__name__, copy.maxlen
        copy = pickle.loads(pickle.dumps(deque))
        list(copy), copy.maxlen, copy.directory
        cache = Cache(directory + '/cache')
        from_cache = diskcache.Deque.fromcache(cache, iterable='abc', maxlen=2)
        from_cache.cache is cache, list(from_cache), from_cache.maxlen, cache.eviction_policy
        diskcache.Deque('abc', directory + '/abc') == 'abc', copy != 'abc'
    """,
}

INDEX_SCENARIOS = {
    'items': """
        index['a'], index['b'], index[1, 2] = 1, ['b'], 'x' * 50_000
        index['a'], index['b'], len(index[1, 2]), len(index), 'a' in index, 'x' in index
        index['missing']
        index.get('a'), index.get('missing'), index.get('missing', 5)
        list(index), list(reversed(index))
        index['a'] = 'new'
        list(index)
        del index['b']
        del index['b']
        index.setdefault('a', 5), index.setdefault('c', [5]), index.setdefault('d'), list(index)
        index.pop('c'), index.pop('c', 'default'), index.pop('c', None), index.pop('d')
        index.pop('c')
        index.peekitem(), index.peekitem(last=False), index.popitem(), index.popitem(last=False)
        index.popitem()
        index.peekitem()
        index.clear(), len(index)
    """,
    'construction and update': """
        len(diskcache.Index(directory + '/new')), index.update({'a': 1}, b=2)
        index.update([('c', 3), ('a', 4)]), list(index.items()), index.update(x=1, y=2), len(index)
        dict(diskcache.Index(directory + '/pairs', [('a', 1), ('b', 2)], c=3))
        dict(diskcache.Index(directory + '/named', a=1))
        again = diskcache.Index(directory, {'z': 26})
        list(again), list(index) == list(again), again.directory
        diskcache.Index(directory, directory, directory)
        diskcache.Index(directory + '/number', 5)
        cache = Cache(directory + '/cache')
        from_cache = diskcache.Index.fromcache(cache, {'a': 1}, b=2)
        from_cache.cache is cache, dict(from_cache), cache.eviction_policy
        index.cache.eviction_policy, list(index)
    """,
    'views': """
        index.update(zip('cab', range(3)))
        list(index.keys()), list(index.values()), list(index.items()), len(index.keys())
        'a' in index.keys(), 2 in index.values(), ('a', 1) in index.items()
        ('a', 2) in index.items(), 5 in index.values(), 'x' in index.keys()
        sorted(index.keys() & {'a', 'x'}), sorted(index.keys() | {'x'})
        sorted(index.keys() - {'a'}), sorted(index.items() ^ {('a', 1), ('x', 5)})
        index.keys() == {'a', 'b', 'c'}, index.items() == {('c', 0), ('a', 1), ('b', 2)}
        from collections.abc import ItemsView, KeysView, ValuesView
        isinstance(index.keys(), KeysView), isinstance(index.values(), ValuesView)
        isinstance(index.items(), ItemsView), isinstance(index.keys() - {'a'}, set)
    """,
    'comparisons': """
        import collections
        index.update([('a', 1), ('b', 2)])
        index == {'b': 2, 'a': 1}, index == collections.OrderedDict([('a', 1), ('b', 2)])
        index == collections.OrderedDict([('b', 2), ('a', 1)]), index != {'a': 1}, index == {'a': 1}
        index == diskcache.Index(directory + '/ba', [('b', 2), ('a', 1)])
        index == diskcache.Index(directory + '/ab', a=1, b=2)
        index != {'a': 1, 'b': 3}, index == {'a': 1, 'c': 2}
        hash(index)
    """,
    'queues': """
        index.push('a'), index.push(['b'], side='front'), index.push('c', prefix='queue')
        index.push('d', 'queue', 'front'), index.pull(), index.pull(side='back'), index.pull()
        index.pull('queue'), index.pull(prefix='queue', default='default', side='back')
        index.pull('queue', 'default'), len(index)
    """,
    'transactions, memoize, pickles': """
        with index.transact():
            index['a'] = 1
            with index.transact():
                index['b'] = 2
        list(index)
        with index.transact():
            index.clear()
            raise ValueError
        list(index), index.__getstate__()
        calls = []
        @index.memoize('name', typed=True, ignore={'ignored'})
        def function(number, ignored=None):
            calls.append(number)
            return number
        function(1), function(1), function(1.0), function(1, ignored=5), calls
        index[function.__cache_key__(1)], len(index)
        index.memoize(len)
        copy = pickle.loads(pickle.dumps(index))
        dict(copy) == dict(index), copy.directory
    """,
}

LAYERS = {
    f'{name} {title}': f'{name} = {make}\n{textwrap.dedent(script)}'
    for name, make, scenarios in (
        ('fanout', 'diskcache.FanoutCache(directory, 3)', FANOUT_SCENARIOS),
        ('deque', 'diskcache.Deque(directory=directory)', DEQUE_SCENARIOS),
        ('index', 'diskcache.Index(directory)', INDEX_SCENARIOS),
    )
    for title, script in scenarios.items()
}


@pytest.mark.parametrize('script', LAYERS.values(), ids=LAYERS.keys())
def test_the_answers_of_the_layers_are_those_of_the_original(
    script: str, tmp_path: Path, other: Interpreter, original: Interpreter
) -> None:
    ours = other.transcript(script, directory=str(tmp_path / 'ours'))
    theirs = original.transcript(script, directory=str(tmp_path / 'original'))
    assert len(ours) > 1
    assert ours == theirs


def eviction_script(policy: str, accesses: str) -> str:
    """Return a script that fills a cache, accesses items, and tells which one goes first."""
    return f"""
cache = Cache(directory, eviction_policy={policy!r}, cull_limit=1, disk_min_file_size=0)
for key in 'abcde':
    clock.tick(1)
    cache[key] = b'x' * 20_000
clock.tick(1)
{accesses}
_ = cache.reset('size_limit', cache.volume())  # pages are of different sizes
clock.tick(1)
cache.set('new', b'x' * 20_000)
sorted(cache)
"""


ACCESSES = {
    'none': '',
    'get of the oldest': "_ = cache.get('a')",
    'subscript of the oldest': "_ = cache['a']",
    'every one but c': "for key in 'abdeabde': clock.tick(1); _ = cache.get(key)",
    'rewrite of the oldest': "cache['a'] = b'x' * 20_000",
    'touch of the oldest': "_ = cache.touch('a', 100)",
    'membership of the oldest': "_ = 'a' in cache",
    'gets and a rewrite': (
        "for key in 'aabbbbccdddeee': clock.tick(1); _ = cache.get(key)\ncache['b'] = b''"
    ),
    'an expired one': "_ = cache.touch('d', 0.5)",
}


@pytest.mark.parametrize('accesses', ACCESSES.values(), ids=ACCESSES.keys())
@pytest.mark.parametrize('policy', ['least-recently-stored', 'least-recently-used', 'none'])
def test_the_original_evicts_the_same_item(
    policy: str, accesses: str, tmp_path: Path, other: Interpreter, original: Interpreter
) -> None:
    script = eviction_script(policy, accesses)
    ours = other.transcript(script, directory=str(tmp_path / 'ours'))
    theirs = original.transcript(script, directory=str(tmp_path / 'original'))
    assert ours == theirs
