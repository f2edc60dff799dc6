"""The application of Django: commands, system checks, and a panel for the debug toolbar.

    INSTALLED_APPS = [..., 'diskcache.django']

The backend, ``diskcache.DjangoCache``, needs none of this. Nothing else in the package imports it.

============  ================================================================
``apps``      the configuration that Django finds
``checks``    what ``manage.py check`` says of the caches
``panel``     ``diskcache.django.panel.DiskCachePanel`` for the debug toolbar
``sites``     which caches a site has configured, without opening them
============  ================================================================
"""
