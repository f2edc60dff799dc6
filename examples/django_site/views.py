"""The views: one for each use of a cache."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, TypedDict, cast

from django.conf import settings
from django.core.cache import cache as django_cache
from django.core.cache import caches
from django.core.cache.utils import make_template_fragment_key
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.http.response import HttpResponseBase
from django.shortcuts import render

from diskcache import DjangoCache, FanoutCache

from . import TOUR

# The cast changes nothing. It tells editors and type checkers what this backend can do beyond
# Django's interface: memoize, read, tags and more.
cache = cast(DjangoCache, django_cache)

LONGEST_NAME = 100
PRIMES_BELOW = 1_000_000
LARGEST_NUMBER = 10**12


def index(request: HttpRequest) -> HttpResponse:
    """Render a page of which one box is cached; `urls` has it a second time, cached as a whole."""
    return render(request, 'index.html', {'pid': os.getpid(), 'tour': TOUR})


# --- sessions ----------------------------------------------------------------------------------


def session(request: HttpRequest) -> HttpResponse:
    """Count the visits of a browser in its session.

    This is plain Django: that sessions are in diskcache is a matter of the settings.
    """
    request.session.setdefault('started_by', os.getpid())
    request.session['visits'] = request.session.get('visits', 0) + 1
    return JsonResponse({name: request.session[name] for name in ('visits', 'started_by')})


# --- a fragment for each of many ----------------------------------------------------------------


def hello(request: HttpRequest) -> HttpResponse:
    """Greet by the name in the session, with a fragment that is cached for each name.

    A POST has a new name, or has the fragment of the present one made anew.
    """
    name = request.session.get('name', 'stranger')
    if request.method == 'POST':
        if 'name' in request.POST:
            request.session['name'] = request.POST['name'][:LONGEST_NAME] or 'stranger'
        else:
            cache.delete(make_template_fragment_key('hello', [name]))
        return HttpResponseRedirect(request.path)
    return render(request, 'hello.html', {'pid': os.getpid(), 'name': name})


# --- a file ------------------------------------------------------------------------------------


def primes(request: HttpRequest) -> HttpResponseBase:
    """Send a file that is in the cache; it is never in memory as a whole."""
    reader = open_primes()
    if not settings.USE_X_SENDFILE:
        return FileResponse(reader, content_type='text/plain')
    # The web server opens the file after us. Should it be evicted in between, that is a 404.
    with reader:
        return HttpResponse(content_type='text/plain', headers={'X-Sendfile': reader.name})


def open_primes() -> BinaryIO:
    """Return the file out of the cache, open for reading; it is made first if it is not there.

    :raises KeyError: if the cache does not keep it: its size limit is smaller than this file
    """
    try:
        return cache.read('primes.txt')
    except KeyError:
        text = '\n'.join(map(str, primes_below(PRIMES_BELOW))) + '\n'
        # read=True: the value is what the file holds, and is stored as a file itself.
        cache.set('primes.txt', io.BytesIO(text.encode()), timeout=None, read=True)
        return cache.read('primes.txt')


def primes_below(end: int) -> list[int]:
    """Return the primes below `end`, by the sieve of Eratosthenes."""
    is_prime = bytearray([0, 0]) + bytearray([1]) * (end - 2)
    for number in range(2, int(end**0.5) + 1):
        if is_prime[number]:
            multiples = slice(number * number, end, number)
            is_prime[multiples] = bytes(len(range(end)[multiples]))
    return [number for number in range(end) if is_prime[number]]


# --- a memoized function -----------------------------------------------------------------------


class Factors(TypedDict):
    """What `factorize` found, and in which process."""

    factors: list[int]
    computed_by: int


@cache.memoize(timeout=None)
def factorize(number: int) -> Factors:
    """Find the prime factors of `number`, by trial division."""
    found = []
    rest, divisor = number, 2
    while divisor * divisor <= rest:
        while rest % divisor == 0:
            found.append(divisor)
            rest //= divisor
        divisor += 1
    if rest > 1:
        found.append(rest)
    return {'factors': found, 'computed_by': os.getpid()}


def factors(request: HttpRequest, number: int) -> HttpResponse:
    """Give the prime factors of `number`."""
    if not 1 <= number <= LARGEST_NUMBER:
        return HttpResponseBadRequest(f'a number from 1 to {LARGEST_NUMBER}, please')
    return JsonResponse(factorize(number))


# --- a counter ---------------------------------------------------------------------------------


def counter(request: HttpRequest) -> HttpResponse:
    """Add one (POST), or only look (GET). `incr` is atomic among all processes."""
    lasting = cast(DjangoCache, caches['lasting'])
    if request.method == 'POST':
        count = lasting.incr('counter', default=0)
    elif request.method == 'GET':
        count = lasting.get('counter', default=0, retry=True)
    else:
        return HttpResponseNotAllowed(['GET', 'POST'])
    return JsonResponse({'count': count})


# --- what the caches say of themselves ---------------------------------------------------------


def status(request: HttpRequest) -> HttpResponse:
    """Give this process's id and the figures of both caches, which are those of all processes."""
    figures = {alias: measure(options['LOCATION']) for alias, options in settings.CACHES.items()}
    return JsonResponse({'pid': os.getpid(), 'caches': figures})


def measure(directory: str) -> dict[str, int]:
    """Return how many items a cache has, its hits and misses, and its volume in bytes.

    A directory of DjangoCache is one of FanoutCache, which any program can open: a nightly job
    that removes what has expired would begin like this.
    """
    with FanoutCache(directory) as shards:
        hits, misses = shards.stats()
        return {'items': len(shards), 'hits': hits, 'misses': misses, 'volume': shards.volume()}
