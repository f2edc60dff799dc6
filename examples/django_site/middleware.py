"""The header that tells which process gave an answer."""

from __future__ import annotations

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


def name_the_process(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Return a handler that adds the header `X-Served-By`: the worker's process id.

    The header is no part of what `cache_page` stores, because that decorates a view and is done by
    the time the answer gets here.
    """

    def handle(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response['X-Served-By'] = str(os.getpid())
        return response

    return handle
