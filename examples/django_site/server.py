"""Configuration of gunicorn.

    gunicorn --config examples/django_site/server.py

The environment says where: `PORT` (8000 without it; 0 is any that is free) and `CACHE_DIR` (a
temporary directory without it, which goes when the server ends).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

bind = f'127.0.0.1:{os.environ.get("PORT") or 8000}'
workers = 4
wsgi_app = 'django_site.wsgi:application'
pythonpath = str(Path(__file__).resolve().parent.parent)
control_socket_disable = True  # one in the user's home directory, for tools that are not used here


def use_temporary_directory() -> None:
    """Let the caches be in a new directory, which is removed at the end of this process."""
    directory, owner = tempfile.mkdtemp(prefix='django-site-'), os.getpid()
    os.environ['CACHE_DIR'] = directory

    @atexit.register
    def remove() -> None:
        if os.getpid() == owner:  # The workers are forks of this process, and end too.
            shutil.rmtree(directory)


def when_ready(server: Any) -> None:
    """Print where the site is and what there is to see; gunicorn calls this when it listens."""
    from django_site import TOUR  # Only now: `pythonpath` holds once this file has been read.

    url = str(server.LISTENERS[0])
    width = max(len(address) for address, _ in TOUR)
    print(f'\n{url}/  {workers} processes share the caches in {os.environ["CACHE_DIR"]}\n')
    for address, what in TOUR:
        print(f'  {url}{address:{width}}  {what}')
    footer = 'Each answer names its process: curl -i shows the header X-Served-By. Ctrl-C ends.'
    print(f'\n{footer}\n', flush=True)


if not os.environ.get('CACHE_DIR'):
    use_temporary_directory()
