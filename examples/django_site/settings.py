"""Settings of the site. What concerns diskcache comes first; the rest is the least Django needs."""

from __future__ import annotations

import os
from pathlib import Path

# A local disk, and a place where nobody but the server may write: values are pickles, and who can
# write a pickle can run code in the process that reads it.
CACHE_DIR = Path(os.environ['CACHE_DIR']).resolve()

# Two caches, for what the site stores is of two kinds.
CACHES = {
    # What can be made again: pages, fragments, files, results. When it is full, the oldest items
    # go. A read waits a hundredth of a second for a lock and is a miss then.
    'default': {
        'BACKEND': 'diskcache.DjangoCache',
        'LOCATION': str(CACHE_DIR / 'default'),
        'TIMEOUT': 300,  # seconds until an item expires, if it is stored without a timeout
        'DATABASE_TIMEOUT': 0.01,  # seconds
        'OPTIONS': {'size_limit': 2**28, 'statistics': True},  # bytes
    },
    # What cannot: sessions and the counter. Nothing goes before it expires, and a read waits ten
    # seconds for a lock, for a session that is missed is a user who is logged out.
    'lasting': {
        'BACKEND': 'diskcache.DjangoCache',
        'LOCATION': str(CACHE_DIR / 'lasting'),
        'TIMEOUT': None,
        'DATABASE_TIMEOUT': 10,
        'OPTIONS': {'eviction_policy': 'none', 'statistics': True},
    },
}

SESSION_ENGINE = 'django.contrib.sessions.backends.cache'
SESSION_CACHE_ALIAS = 'lasting'

# Whether the web server in front sends the bytes of a file itself: Apache with mod_xsendfile, say,
# or lighttpd. It must be allowed to read CACHE_DIR.
USE_X_SENDFILE = os.environ.get('USE_X_SENDFILE') == '1'

# --- what every site has -----------------------------------------------------------------------

# The caches work without it. It brings system checks, and commands such as
# `django-admin diskcache check default`.
INSTALLED_APPS = ['diskcache.django']

SECRET_KEY = os.environ.get('SECRET_KEY', 'known to everyone, so for this example only')
ALLOWED_HOSTS = ['127.0.0.1', 'localhost']
ROOT_URLCONF = 'django_site.urls'
TIME_ZONE = 'UTC'

# A site with users adds django.middleware.csrf. Here a forged POST could only count one more, or
# begin a session with a name: the browser sends no cookie of a session with it.
MIDDLEWARE = [
    'django_site.middleware.name_the_process',
    'django.contrib.sessions.middleware.SessionMiddleware',
    'django.middleware.common.CommonMiddleware',
]

TEMPLATES = [
    {
        'BACKEND': 'django.template.backends.django.DjangoTemplates',
        'DIRS': [Path(__file__).parent / 'templates'],
    }
]

# Without this, an error in a view would go nowhere but to the administrators' mail.
LOGGING = {
    'version': 1,
    'disable_existing_loggers': False,
    'handlers': {'console': {'class': 'logging.StreamHandler'}},
    'root': {'handlers': ['console'], 'level': 'WARNING'},
}
