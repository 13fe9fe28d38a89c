"""HTTP on loopback: the page, what there is to see as JSON, and settings taken in as JSON.

Whoever can open a page in this machine's browser can make that browser send requests here, so each
must name this server as its host (no rebound DNS name does), and one that changes something must be
JSON from this server's own page. Everything else is refused in one line of text.
"""

from __future__ import annotations

import errno
import logging
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, NoReturn, cast

import msgspec

from ...errors import AdaspringError, UsageError
from .session import Session
from .settings import read_settings

LOOPBACK = "127.0.0.1"
MOST_BODY_BYTES = 4096
_MOST_DISCARDED_BYTES = 1 << 16  # so that a client reads why, and is not cut off while it sends
_MOST_CONNECTIONS = 32
_TIMEOUT_S = 5.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_JSON, _HTML, _TEXT = "application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8"

_log = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """Serves a session at a port of loopback; 0 takes any that is free.

    Raises:
        UsageError: the port cannot be listened at.

    """

    daemon_threads = True
    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, session: Session, port: int) -> None:
        self.session = session
        self.page = files(__package__).joinpath("page.html").read_bytes()
        self._room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "another program listens there" if taken else error.strerror
            raise UsageError(
                f"cannot listen at {LOOPBACK}:{port}: {why}; give another --port, or 0 for any"
            ) from error

    def server_bind(self) -> None:
        """Bind, without asking the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request may call this server."""
        names = (LOOPBACK, "localhost")
        with_port = tuple(f"{name}:{self.server_port}" for name in names)
        return (*with_port, *names) if self.server_port == 80 else with_port

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread, while there are not too many."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection, then make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say under --verbose what a connection broke off with: it is the client's affair."""
        _log.debug("a connection broke off", exc_info=True)


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    timeout = _TIMEOUT_S
    server_version, sys_version = "adaspring", ""

    def do_GET(self) -> None:
        self._answer({"/": self._page, "/api/library": self._library, "/api/state": self._state})

    def do_POST(self) -> None:
        self._answer({"/api/settings": self._settings})

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)

    @property
    def _watched(self) -> Server:
        return cast(Server, self.server)

    def _answer(self, routes: dict[str, Any]) -> None:
        path = self.path.partition("?")[0]
        try:
            self._check_origin()
            kind, body = routes.get(path, self._nothing)()
            self._send(HTTPStatus.OK, kind, body)
        except _Refused as refused:
            self._refuse(refused.status, refused)
        except UsageError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, error)
        except AdaspringError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, error)

    def _check_origin(self) -> None:
        """Refuse what was sent to another name than ours, or by another site's page."""
        hosts = self._watched.hosts
        given = self.headers.get_all("Host", [])
        if len(given) != 1 or given[0].lower() not in hosts:
            raise _Refused(HTTPStatus.FORBIDDEN, f"this is {hosts[0]}; ask for that host")
        origin = self.headers.get("Origin")
        ours = origin is None or origin.lower() == f"http://{given[0].lower()}"
        api = self.path.startswith("/api/")
        site = self.headers.get("Sec-Fetch-Site", "same-origin")
        if not ours or (api and site not in ("same-origin", "none")):
            raise _Refused(HTTPStatus.FORBIDDEN, "another site's page may not ask this")

    def _nothing(self) -> NoReturn:
        raise _Refused(HTTPStatus.NOT_FOUND, "nothing is there; the page is at /")

    def _page(self) -> tuple[str, bytes]:
        return _HTML, self._watched.page

    def _library(self) -> tuple[str, bytes]:
        return _JSON, msgspec.json.encode(self._watched.session.facts)

    def _state(self) -> tuple[str, bytes]:
        return _JSON, msgspec.json.encode(self._watched.session.state())

    def _settings(self) -> tuple[str, bytes]:
        session = self._watched.session
        session.change(read_settings(self._body(), session.policies))
        return self._state()

    def _body(self) -> bytes:
        """Read a body of JSON."""
        kind = self.headers.get_content_type()
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "give the body's Content-Length")
        if len(length) > 9 or int(length) > MOST_BODY_BYTES:
            self.rfile.read(min(int(length[:9]), _MOST_DISCARDED_BYTES))
            raise _Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"settings are {MOST_BODY_BYTES} bytes at most"
            )
        body = self.rfile.read(int(length))
        if kind != _JSON or "Content-Type" not in self.headers:
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"settings are {_JSON}, not {kind}")
        return body

    def _refuse(self, status: HTTPStatus, why: Exception) -> None:
        text = " ".join(str(why).split())
        self._send(status, _TEXT, f"{text}\n".encode(errors="replace"))

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
