"""A Django site that keeps everything it remembers in diskcache, and has no database.

Read it in this order: `settings` (two caches, and the sessions in one of them), `urls` (where a
whole page is cached), `views` (one view for each use of a cache), `templates/index.html` and
`templates/hello.html` (where fragments are cached). `server` is the configuration of gunicorn,
which runs the site in four processes:

    make django-demo [PORT=8000] [CACHE_DIR=/where/the/caches/are]

Every answer names the process that gave it, in the header `X-Served-By`. So one can see that what
one process has stored, the others use.
"""

from __future__ import annotations

TOUR = (
    ('/', 'a page of which one box is cached: reload it, and compare the process ids'),
    ('/page/', 'the same page, cached as a whole'),
    ('/hello/', 'a fragment for each name; the name is in your session'),
    ('/session/', 'counts the visits of your browser, in its session'),
    ('/primes.txt', 'a file, made once and then sent out of the cache'),
    ('/factors/999962000357/', 'a memoized function: slow only for the first who asks'),
    ('/counter/', 'a counter; every POST adds one, and none is lost'),
    ('/status/', 'hits, misses and volume, as JSON'),
)
