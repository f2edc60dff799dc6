"""A Django site of one file, with sessions, pages and fragments in caches on servers.

The environment says where: `SITE_URLS`, JSON with the LOCATION of each cache, and `SITE_DATABASE`,
the file with its database. `application` is what gunicorn serves. Each answer names its process.
"""

from __future__ import annotations

import json
import os
from typing import Any

import django
from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template import Context, Template
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    SECRET_KEY='of the tests',
    ALLOWED_HOSTS=['127.0.0.1'],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    CACHES={
        alias: {
            'BACKEND': 'diskcache.DjangoCache',
            'LOCATION': url,
            'TIMEOUT': 300,
            'OPTIONS': {'name': alias, 'near': True},
        }
        for alias, url in json.loads(os.environ['SITE_URLS']).items()
    },
    DATABASES={
        'default': {
            'ENGINE': 'django.db.backends.sqlite3',
            'NAME': os.environ['SITE_DATABASE'],
        }
    },
    INSTALLED_APPS=['django.contrib.sessions', 'django.contrib.messages'],
    SESSION_ENGINE='django.contrib.sessions.backends.cached_db',
    SESSION_CACHE_ALIAS='sessions',
    MESSAGE_STORAGE='django.contrib.messages.storage.session.SessionStorage',
    MIDDLEWARE=[
        f'{__name__}.name_the_process',
        'django.contrib.sessions.middleware.SessionMiddleware',
        'django.contrib.messages.middleware.MessageMiddleware',
        'django.middleware.cache.UpdateCacheMiddleware',
        'django.middleware.cache.FetchFromCacheMiddleware',
    ],
    TEMPLATES=[
        {
            'BACKEND': 'django.template.backends.django.DjangoTemplates',
            'OPTIONS': {
                'context_processors': ['django.contrib.messages.context_processors.messages']
            },
        }
    ],
)
django.setup()

FRAGMENT = Template('{% load cache %}{% cache 300 box name %}{{ pid }}{% endcache %}')


def name_the_process(get_response: Any) -> Any:
    """Name the process that answers, of what comes from the cache too."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers['X-Served-By'] = str(os.getpid())
        return response

    return answer


def page(request: HttpRequest) -> HttpResponse:
    """A page that the middleware caches."""
    return HttpResponse(f'made by {os.getpid()}')


@never_cache
def fragment(request: HttpRequest) -> HttpResponse:
    """A page with a fragment that is cached."""
    name = request.GET.get('name', '')
    return HttpResponse(FRAGMENT.render(Context({'pid': os.getpid(), 'name': name})))


@never_cache
def session(request: HttpRequest) -> HttpResponse:
    """Count visits in the session."""
    request.session['visits'] = request.session.get('visits', 0) + 1
    found = [str(message) for message in messages.get_messages(request)]
    return JsonResponse({'visits': request.session['visits'], 'messages': found})


@csrf_exempt
def say(request: HttpRequest) -> HttpResponse:
    """Leave a message for the next page."""
    messages.info(request, 'saved')
    return redirect('/session/')


@never_cache
def count(request: HttpRequest) -> HttpResponse:
    """Count among all processes."""
    return JsonResponse({'count': cache.incr('count', default=0)})


urlpatterns = [
    path('page/', page),
    path('fragment/', fragment),
    path('session/', session),
    path('say/', say),
    path('count/', count),
]

call_command('migrate', verbosity=0, interactive=False)

application = get_wsgi_application()
