"""Which items leave the cache, and when: size_limit, cull_limit and the eviction policies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from interpreter import Clock, Interpreter

import diskcache

ITEM = b'x' * 20_000
POLICIES = [policy for policy in diskcache.EVICTION_POLICY if policy != 'none']
READ = [policy for policy, sql in diskcache.EVICTION_POLICY.items() if sql['get'] is not None]


def fill(cache: diskcache.Cache, clock: Clock, keys: str = 'abcde') -> None:
    """Store one item a second for each of `keys`."""
    for key in keys:
        clock.tick(1)
        cache[key] = ITEM


def force_one_out(cache: diskcache.Cache, clock: Clock) -> set[str]:
    """Add an item to the full cache; return the keys of those that had to go."""
    before = set(cache)
    cache.reset('size_limit', cache.volume())
    clock.tick(1)
    assert cache.set('new', ITEM) is True
    assert 'new' in cache
    return before - set(cache)


@pytest.fixture
def cache_of(directory: str) -> Callable[[str], diskcache.Cache]:
    """A function that opens a cache with the policy given, which removes one item at a time."""

    def open_cache(policy: str, **settings: object) -> diskcache.Cache:
        settings = {'cull_limit': 1, 'disk_min_file_size': 0, **settings}
        return diskcache.Cache(directory, eviction_policy=policy, **settings)

    return open_cache


def test_the_error_for_an_unknown_policy_lists_all(cache_of: Callable) -> None:
    with pytest.raises(ValueError, match='eviction_policy must be') as caught:
        cache_of('least')
    listed = str(caught.value).partition(', not ')[0]
    assert [name for name in diskcache.EVICTION_POLICY if repr(name) not in listed] == []


@pytest.mark.parametrize('policy', POLICIES)
def test_the_oldest_goes_first_if_nothing_was_read(
    cache_of: Callable, clock: Clock, policy: str, assert_intact: Callable
) -> None:
    with cache_of(policy) as cache:
        fill(cache, clock)
        victims = force_one_out(cache, clock)
        assert len(victims) == 1
        if policy != 'least-frequently-used':  # All have the same count.
            assert victims == {'a'}
        assert_intact(cache)


def test_reading_does_not_save_from_least_recently_stored(cache_of: Callable, clock: Clock) -> None:
    with cache_of('least-recently-stored') as cache:
        fill(cache, clock)
        clock.tick(1)
        assert cache['a'] == ITEM
        assert force_one_out(cache, clock) == {'a'}


def test_storing_anew_saves_from_least_recently_stored(cache_of: Callable, clock: Clock) -> None:
    with cache_of('least-recently-stored') as cache:
        fill(cache, clock)
        clock.tick(1)
        cache['a'] = ITEM
        assert force_one_out(cache, clock) == {'b'}


@pytest.mark.parametrize(
    'read',
    [
        lambda cache, key: cache[key],
        lambda cache, key: cache.get(key),
        lambda cache, key: cache.get(key, read=True).close(),
        lambda cache, key: cache.get(key, tag=True, expire_time=True),
        lambda cache, key: cache.read(key).close(),
    ],
    ids=['subscript', 'get', 'get a file', 'get a tuple', 'read'],
)
def test_reading_saves_from_least_recently_used(
    cache_of: Callable, clock: Clock, read: Callable
) -> None:
    with cache_of('least-recently-used') as cache:
        fill(cache, clock)
        clock.tick(1)
        read(cache, 'a')
        assert force_one_out(cache, clock) == {'b'}


def test_looking_whether_it_is_there_does_not_save_an_item(
    cache_of: Callable, clock: Clock
) -> None:
    with cache_of('least-recently-used') as cache:
        fill(cache, clock)
        clock.tick(1)
        assert 'a' in cache
        assert cache.touch('a', 1000)
        assert force_one_out(cache, clock) == {'a'}


def test_the_least_frequently_used_goes_first(cache_of: Callable, clock: Clock) -> None:
    with cache_of('least-frequently-used') as cache:
        fill(cache, clock)
        for key in 'aaabbbbdddee':
            cache.get(key)
        for key in 'ccccc':
            cache.get(key)
        assert force_one_out(cache, clock) == {'e'}


def test_storing_anew_resets_the_frequency(cache_of: Callable, clock: Clock) -> None:
    with cache_of('least-frequently-used') as cache:
        fill(cache, clock)
        for key in 'abcde' * 3:
            cache.get(key)
        cache['c'] = ITEM
        assert force_one_out(cache, clock) == {'c'}


def test_counting_up_is_a_use(cache_of: Callable, clock: Clock) -> None:
    with cache_of('least-frequently-used') as cache:
        for key in 'abc':
            cache[key] = 0
        cache.get('b'), cache.get('c')
        cache.incr('a'), cache.incr('a')
        cache.close()
        counts = dict(cache._sql('SELECT key, access_count FROM Cache').fetchall())
        assert counts == {'a': 2, 'b': 1, 'c': 1}


def test_under_the_policy_none_nothing_goes(cache_of: Callable, clock: Clock) -> None:
    with cache_of('none', size_limit=50_000) as cache:
        fill(cache, clock, 'abcdefghij')
        assert len(cache) == 10
        assert cache.volume() > cache.size_limit
        assert cache.cull() == 0
        assert len(cache) == 10


@pytest.mark.parametrize('policy', [*POLICIES, 'none'])
def test_expired_items_go_first(cache_of: Callable, clock: Clock, policy: str) -> None:
    with cache_of(policy) as cache:
        fill(cache, clock)
        cache.touch('d', 1)
        clock.tick(2)
        assert force_one_out(cache, clock) == {'d'}


@pytest.mark.parametrize('policy', [*POLICIES, 'none'])
def test_expired_items_go_although_there_is_room(
    cache_of: Callable, clock: Clock, policy: str
) -> None:
    with cache_of(policy, cull_limit=10) as cache:
        for number in range(5):
            cache.set(number, ITEM, expire=1)
        clock.tick(2)
        assert len(cache) == 5
        cache['new'] = 1
        assert list(cache) == ['new']


def test_no_more_than_cull_limit_items_go_at_a_time(cache_of: Callable, clock: Clock) -> None:
    with cache_of('least-recently-stored', cull_limit=0) as cache:
        for number in range(30):
            cache.set(number, 1, expire=1)
        clock.tick(2)
        cache.reset('cull_limit', 4)
        cache['first'] = 1
        assert len(cache) == 27
        cache['second'] = 1
        assert len(cache) == 24


def test_with_a_cull_limit_of_zero_nothing_goes(cache_of: Callable, clock: Clock) -> None:
    with cache_of('least-recently-stored', cull_limit=0, size_limit=50_000) as cache:
        cache.set('expired', 1, expire=1)
        clock.tick(2)
        fill(cache, clock, 'abcdefghij')
        assert len(cache) == 11


@pytest.mark.parametrize('policy', POLICIES)
def test_only_as_many_go_as_must(cache_of: Callable, clock: Clock, policy: str) -> None:
    with cache_of(policy, cull_limit=10) as cache:
        fill(cache, clock, 'abcdefghij')
        assert len(force_one_out(cache, clock)) <= 2


@pytest.mark.parametrize('policy', POLICIES)
@pytest.mark.parametrize('size', [100, 20_000], ids=['inline', 'in files'])
def test_the_volume_stays_near_the_limit(
    directory: str, policy: str, size: int, assert_intact: Callable
) -> None:
    settings = {'eviction_policy': policy, 'size_limit': 300_000, 'disk_min_file_size': 1000}
    with diskcache.Cache(directory, **settings) as cache:
        for number in range(60_000 // size + 100):
            for part in range(3):
                cache[number, part] = b'x' * size
            assert cache.volume() < 400_000
        assert len(cache) > 2
        assert_intact(cache)


@pytest.mark.parametrize('policy', POLICIES)
def test_cull_brings_the_volume_below_the_limit(
    cache_of: Callable, clock: Clock, policy: str, assert_intact: Callable
) -> None:
    with cache_of(policy, cull_limit=0) as cache:
        fill(cache, clock, 'abcdefghijklmnopqrstuvwxyz')
        cache.touch('z', 0.5)
        clock.tick(1)
        cache.reset('size_limit', cache.volume() - 8 * len(ITEM))
        removed = cache.cull()
        assert removed == 26 - len(cache)
        assert 'z' not in cache
        assert cache.volume() <= cache.size_limit
        assert removed >= 8
        assert cache.cull() == 0
        assert_intact(cache)


def test_the_policy_can_be_changed_while_open(cache_of: Callable, clock: Clock) -> None:
    with cache_of('none') as cache:
        fill(cache, clock)
        cache.reset('eviction_policy', 'least-recently-used')
        clock.tick(1)
        cache.get('a')
        assert force_one_out(cache, clock) == {'b'}


@pytest.mark.parametrize('policy', READ)
def test_another_process_evicts_by_what_was_read_here(
    cache_of: Callable, clock: Clock, other: Interpreter, policy: str
) -> None:
    with cache_of(policy) as cache:
        for key in 'abcde':
            clock.tick(1)
            cache[key] = ITEM
        clock.tick(1)
        for key in 'abde':
            assert cache.get(key) == ITEM
        cache.close()
        script = """
        cache = Cache(directory)
        cache.reset('size_limit', cache.volume())
        cache.set('new', b'x' * 20_000)
        sorted(cache)
        """
        assert other.run(script, directory=cache.directory) == ['a', 'b', 'd', 'e', 'new']


def test_statistics_are_seen_by_another_process_after_close(
    directory: str, other: Interpreter
) -> None:
    with diskcache.Cache(directory, statistics=1) as cache:
        cache['key'] = 1
        cache.get('key'), cache.get('key'), cache.get('missing')
    assert other.run('Cache(directory).stats()', directory=directory) == (2, 1)


def test_statistics_are_exact_whatever_happens_between(directory: str) -> None:
    with diskcache.Cache(directory, statistics=1) as cache:
        for turn in range(50):
            cache[turn] = turn
            cache.get(turn), cache.get('missing')
            if turn % 10 == 0:
                cache.close()
            if turn % 7 == 0:
                with cache.transact():
                    cache.get(turn)
        assert cache.stats(reset=True) == (50 + 8, 50)
        assert cache.stats() == (0, 0)


def test_statistics_count_what_is_rolled_back_or_not_but_never_twice(directory: str) -> None:
    with diskcache.Cache(directory, statistics=1) as cache:
        cache['key'] = 1
        with pytest.raises(ZeroDivisionError), cache.transact():
            cache.get('key')
            raise ZeroDivisionError
        hits, misses = cache.stats()
        assert hits in (0, 1)
        assert misses == 0


def test_a_row_that_a_trigger_deletes_at_once_disturbs_no_culling(directory: str) -> None:
    with diskcache.Cache(directory, cull_limit=10, disk_min_file_size=10**6) as cache:
        for number in range(30):
            cache[number] = ITEM
        cache._sql(
            "CREATE TRIGGER gone AFTER INSERT ON Cache WHEN new.key = 'gone'"
            ' BEGIN DELETE FROM Cache WHERE rowid = new.rowid; END'
        )
        cache.reset('size_limit', 1000)
        assert cache.set('gone', 1) is True
        assert cache.add('gone', 1) is True
        assert cache.incr('gone', 1) == 1
        assert len(cache) == 0


# Policies of the user's own.

LARGEST_FIRST = {
    'init': 'CREATE INDEX IF NOT EXISTS Cache_size ON Cache (size)',
    'get': 'access_count = access_count + 1, access_time = {now}',
    'cull': 'SELECT {fields} FROM Cache WHERE access_time < {now} - 1 ORDER BY size DESC LIMIT ?',
}


@pytest.fixture
def largest_first(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a policy that evicts the largest values, but what was used just now."""
    monkeypatch.setitem(diskcache.EVICTION_POLICY, 'largest-first', LARGEST_FIRST)
    return 'largest-first'


def test_a_policy_of_ones_own_says_what_goes(
    cache_of: Callable, clock: Clock, largest_first: str, assert_intact: Callable
) -> None:
    with cache_of(largest_first) as cache:
        for number in range(1, 6):
            clock.tick(1)
            cache[number] = ITEM * number
        assert len(cache) == 5
        cache.reset('size_limit', cache.volume())
        clock.tick(1)
        assert cache.get(4)
        clock.tick(1)
        assert force_one_out(cache, clock) == {5}
        cache.reset('cull_limit', 0)
        clock.tick(5)
        assert cache.get(4)
        cache.reset('size_limit', 1)
        assert cache.cull() == 4
        assert list(cache) == [4]
        assert_intact(cache)


def test_what_a_policy_of_ones_own_notes_is_written_at_once(
    cache_of: Callable, clock: Clock, largest_first: str
) -> None:
    with cache_of(largest_first, statistics=1) as cache:
        cache['key'] = 1
        clock.tick(5)
        assert cache['key'] == cache.get('key') == cache.get_many(['key', 'missing'])['key'] == 1
        cache.get('missing')
        row = cache._sql('SELECT access_count, access_time FROM Cache')
        assert row.fetchall() == [(3, clock.now)]
        clock.tick(5)
        assert cache.incr('key') == 2
        assert cache.incr('new') == 1
        rows = cache._sql('SELECT access_count, access_time FROM Cache ORDER BY rowid')
        assert rows.fetchall() == [(4, clock.now), (0, clock.now)]
        assert cache.stats() == (3, 2)


def test_a_policy_may_change_when_an_item_expires(
    directory: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SQL is the user's: what is kept in memory of the row must not outlive it."""
    sliding = {'init': None, 'get': 'expire_time = {now} + 10', 'cull': None}
    monkeypatch.setitem(diskcache.EVICTION_POLICY, 'sliding', sliding)
    with diskcache.Cache(directory, eviction_policy='sliding') as cache:
        cache.set('key', 'value', expire=10)
        for _ in range(5):
            clock.tick(8)
            assert cache.get('key') == 'value'
        clock.tick(11)
        assert cache.get('key') is None
        cache['other'] = 1
        assert list(cache) == ['other']


def test_a_stored_policy_of_ones_own_holds_for_who_knows_it(
    cache_of: Callable,
    directory: str,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(diskcache.EVICTION_POLICY, 'largest-first', LARGEST_FIRST)
        with cache_of('least-recently-used') as cache:
            cache.reset('eviction_policy', 'largest-first')
            select = "SELECT name FROM sqlite_master WHERE name = 'Cache_size'"
            assert cache._sql(select).fetchall()
        with diskcache.Cache(directory) as cache, diskcache.FanoutCache(directory + '-f') as fanout:
            assert cache.eviction_policy == 'largest-first'
            cache['a'], cache['b'] = ITEM, ITEM * 2
            clock.tick(2)
            assert force_one_out(cache, clock) == {'b'}
            fanout.reset('eviction_policy', 'largest-first')
            fanout['a'] = 1
            assert fanout['a'] == 1
    with diskcache.Cache(directory) as cache:
        assert cache.eviction_policy == 'least-recently-stored'
        assert 'largest-first' in caplog.text
        assert cache._setting('eviction_policy') == 'largest-first'
        with pytest.raises(ValueError, match='eviction_policy'):
            cache.reset('eviction_policy', 'largest-first')


def test_a_native_policy_can_be_replaced(
    cache_of: Callable, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = {'init': None, 'get': None}
    newest['cull'] = 'SELECT {fields} FROM Cache WHERE key <> "new" ORDER BY rowid DESC LIMIT ?'
    monkeypatch.setitem(diskcache.EVICTION_POLICY, 'least-recently-stored', newest)
    with cache_of('least-recently-stored') as cache:
        fill(cache, clock)
        assert force_one_out(cache, clock) == {'e'}


def test_the_original_has_the_same_policy_of_ones_own(
    original: Interpreter, other: Interpreter, directory: str
) -> None:
    def run(directory: str, policy: dict) -> list:
        diskcache.EVICTION_POLICY['largest-first'] = policy
        with diskcache.Cache(directory, cull_limit=2, disk_min_file_size=0) as cache:
            cache.reset('eviction_policy', 'largest-first')
            for number in range(10):
                cache[number] = b'x' * 20_000 * (number * 7 % 10 + 1)
                cache._sql('UPDATE Cache SET access_time = access_time - 10')
            cache.reset('size_limit', cache.volume() - 10_000)
            found = [cache[3]]
            cache['new'] = b'x' * 20_000
            steps = [list(cache)]
            cache._sql('UPDATE Cache SET access_time = access_time - 10')
            cache.reset('size_limit', cache.volume() - 100_000)
            found.append(cache.incr('counter'))
            steps += [list(cache), cache.cull(), list(cache)]
            counts = cache._sql('SELECT key, access_count FROM Cache').fetchall()
            return [len(found), steps, counts]

    ours = other.run(run, directory=directory, policy=LARGEST_FIRST)
    assert ours == original.run(run, directory=directory + '-original', policy=LARGEST_FIRST)
