"""HTTP: who may ask for a page, and what a browser may do with it.

A cache's directory is its owner's alone, and 127.0.0.1 is every user's of the machine, and every
page's that the browser shows. So:

* The address has a secret in its path, which is printed where the command was started. What does
  not know it is told that there is nothing, even by the same port.
* The header Host must name this machine. A page from elsewhere can have its own name lead to
  127.0.0.1 (DNS rebinding), but its browser sends that name.
* Nothing is written unless that was asked for. Then only POST does, with a second secret, which is
  in the forms, and not if the browser says that the request comes from another page.
* The answers let a browser load nothing from anywhere and run nothing, show the page in no frame,
  store it nowhere, and take no answer for another type.
"""

from __future__ import annotations

import contextlib as cl
import hmac
import re
import secrets
import socket
import sys
import threading
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources

from .._core import Timeout
from ..cli.errors import FAILURES, printable
from . import queries
from .pages import NotFound, Request, Site, element

#: The only address that is listened on.
HOST = '127.0.0.1'

#: What the header Host may be, with any port: who forwards a port here has another one.
_HOSTS = re.compile(r'(?:127\.0\.0\.1|localhost)(?::[0-9]{1,5})?', re.IGNORECASE)

#: Bytes of a form, seconds for a request to arrive, parameters of one, requests at a time.
_FORM_BYTES = 2**16
_ARRIVAL = 20
_PARAMETERS = 20
_THREADS = 16

_HEADERS = {
    'Content-Security-Policy': "default-src 'none'; style-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'same-origin',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
}


class _Refused(Exception):
    """A request that is not answered as it wants."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Server(ThreadingHTTPServer):
    """The server of the pages of one directory."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, directory: str, port: int = 0, write: bool = False) -> None:
        """Listen.

        :param directory: of the cache
        :param port: of 127.0.0.1; 0: any that is free
        :param write: whether forms may delete, evict, expire and cull
        :raises OSError: if there is no cache in the directory, or the port is taken
        """
        self.site_token: str = secrets.token_urlsafe(24)
        self.form_token: str | None = secrets.token_urlsafe(24) if write else None
        self.site: Site = Site(queries.Directory(directory), self.form_token)
        self.style: bytes = resources.files(__package__).joinpath('style.css').read_bytes()
        #: One thread at a time has databases open: closing a connection takes the locks from
        #: others of the process on some systems, and no page is to be slowed down by many.
        self.lock: threading.Lock = threading.Lock()
        self._free = threading.BoundedSemaphore(_THREADS)
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """The address of the first page, with its secret."""
        return f'http://{HOST}:{self.server_address[1]}/{self.site_token}/'

    def server_bind(self) -> None:
        """Bind the port, without the look-up of this machine's name that HTTPServer does."""
        self.socket.bind(self.server_address)
        self.server_address: tuple[str, int] = self.socket.getsockname()
        self.server_name: str = HOST
        self.server_port: int = self.server_address[1]

    def process_request(self, request: object, client_address: object) -> None:
        """Answer in another thread, of which there are only so many."""
        if self._free.acquire(timeout=_ARRIVAL):
            super().process_request(request, client_address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Answer, in a thread."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has gone away; of the rest one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f'diskcache: {type(error).__name__}: {error}', file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    server_version = 'diskcache'
    sys_version = ''
    timeout = _ARRIVAL
    error_message_format = '%(code)d %(message)s\n'
    error_content_type = 'text/plain; charset=utf-8'

    def setup(self) -> None:
        """Begin to wait for the request; the timeout alone is that of each of its bytes."""
        super().setup()
        self._late = threading.Timer(_ARRIVAL, self._end_request)
        self._late.daemon = True
        self._late.start()

    def _end_request(self) -> None:
        """Let the request end where it is: whoever sends on keeps a thread no longer."""
        with cl.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def finish(self) -> None:
        """Send what is left of the answer."""
        self._late.cancel()
        super().finish()

    def end_headers(self) -> None:
        """Add the headers that each answer has, also one of http.server itself."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the address has the secret in it."""

    def do_GET(self) -> None:
        """Send a page, or the style."""
        self._answer(self._get)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Make a change, and send the browser to the page that tells of it."""
        self._answer(self._post)

    def _answer(self, answer: object) -> None:
        request = Request('', {})
        try:
            request = self._request()
            answer(request)  # type: ignore[operator]
        except _Refused as error:
            self._send_error_page(request, error.status, str(error))
        except NotFound as error:
            self._send_error_page(request, HTTPStatus.NOT_FOUND, str(error))
        except queries.TooLong:
            text = 'The database takes too long to answer. Try again.'
            self._send_error_page(request, HTTPStatus.SERVICE_UNAVAILABLE, text)
        except Timeout:
            text = 'Another process has locked the cache. Try again.'
            self._send_error_page(request, HTTPStatus.SERVICE_UNAVAILABLE, text)
        except (ConnectionError, TimeoutError):
            raise
        except FAILURES as error:
            self._send_error_page(request, HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except Exception as error:
            text = f'{type(error).__name__}: {error}'
            self._send_error_page(request, HTTPStatus.INTERNAL_SERVER_ERROR, text)

    def _request(self) -> Request:
        """Return what is asked for, if it is for who asks."""
        hosts = self.headers.get_all('Host') or []
        if len(hosts) != 1 or not _HOSTS.fullmatch(hosts[0].strip()):
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, 'This is not the host that was asked.')
        path, _, query = self.path.partition('?')
        _, _, rest = path.partition('/')
        secret, slash, page = rest.partition('/')
        if not (slash and _is_same(secret, self.server.site_token)):
            raise _Refused(
                HTTPStatus.NOT_FOUND, 'Use the address that diskcache serve has printed.'
            )
        return Request(page, _parameters(query))

    def _get(self, request: Request) -> None:
        if request.page == 'style.css':
            self._send(HTTPStatus.OK, self.server.style, 'text/css; charset=utf-8')
            return
        with self.server.lock:
            page = self.server.site.page(request)
        self._send_page(HTTPStatus.OK, page)

    def _post(self, request: Request) -> None:
        token = self.server.form_token
        if token is None:
            text = 'Nothing can be changed: diskcache serve was started without --write.'
            raise _Refused(HTTPStatus.FORBIDDEN, text)
        self._refuse_other_pages()
        form = self._form()
        sent = self.headers.get('X-Diskcache-Token') or form.get('token')
        if not _is_same(sent, token):
            raise _Refused(HTTPStatus.FORBIDDEN, 'The form is of another run of the server.')
        with self.server.lock:
            address = self.server.site.change(Request(request.page, form))
        self._send(HTTPStatus.SEE_OTHER, b'', 'text/plain', {'Location': address})

    def _refuse_other_pages(self) -> None:
        origin = self.headers.get('Origin')
        own = f'http://{(self.headers.get("Host") or "").strip()}'
        if origin is not None and origin.lower() != own.lower():
            raise _Refused(HTTPStatus.FORBIDDEN, 'The form is of another page.')
        if self.headers.get('Sec-Fetch-Site', 'same-origin') not in ('same-origin', 'none'):
            raise _Refused(HTTPStatus.FORBIDDEN, 'The form is of another page.')

    def _form(self) -> Mapping[str, str]:
        kind = self.headers.get_content_type()
        if kind != 'application/x-www-form-urlencoded':
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, 'This is no form.')
        length = self.headers.get('Content-Length') or ''
        if not (length.isascii() and length.isdecimal()) or 'Transfer-Encoding' in self.headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, 'The form does not say how long it is.')
        if len(length) > 9 or int(length) > _FORM_BYTES:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 'The form is too long.')
        return _parameters(self.rfile.read(int(length)).decode('ascii', 'replace'))

    def _send_error_page(self, request: Request, status: HTTPStatus, text: str) -> None:
        if not request.page and status in (HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.NOT_FOUND):
            self._send(status, text.encode() + b'\n', 'text/plain; charset=utf-8')
            return
        shown = element('p', printable(text), class_='error')
        framed = self.server.site.framed(Request(request.page, {}), status.phrase, [shown])
        self._send_page(status, framed)

    def _send_page(self, status: HTTPStatus, page: str) -> None:
        data = page.encode('utf-8', 'backslashreplace')
        self._send(status, data, 'text/html; charset=utf-8')

    def _send(
        self, status: HTTPStatus, data: bytes, kind: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        facts = {'Content-Type': kind, 'Content-Length': str(len(data)), **(headers or {})}
        for name, value in facts.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(data)


def _is_same(sent: str | None, secret: str) -> bool:
    """Compare in a time that does not tell where they differ."""
    return hmac.compare_digest((sent or '').encode('utf-8', 'replace'), secret.encode())


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters of an address or a form; of several of one name the first.

    Bytes that are no UTF-8 become lone surrogates.
    """
    try:
        pairs = urllib.parse.parse_qsl(
            query, errors='surrogateescape', max_num_fields=_PARAMETERS, separator='&'
        )
    except ValueError:
        raise _Refused(HTTPStatus.BAD_REQUEST, 'There are too many parameters.') from None
    return dict(reversed(pairs))


def serve(directory: str, port: int, write: bool) -> int:
    """Serve the pages until Ctrl-C.

    :param directory: of the cache
    :param port: of 127.0.0.1; 0: any that is free
    :param write: whether the pages may change the cache
    :return: the exit status, 0
    :raises OSError: if there is no cache in the directory, or the port is taken
    """
    with Server(directory, port, write) as server:
        print(f'{server.url}\nCtrl-C ends it. Keep the address to yourself.', flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
