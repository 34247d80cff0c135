"""Requests of a client: kept connections, and what is sent again and what never.

A request is sent again on a new connection in two cases only: when the connection could not be
made, because then nothing was sent; and when it only reads, because then it does not matter. A
write whose answer did not come may have been done, so its error is the caller's to judge. To make
that rare, a kept connection that the server has closed meanwhile is noticed before it is used.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import ssl
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = ["Answer", "Transport"]

_MOST_KEPT = 16
_READS = frozenset(("GET", "HEAD"))


class Answer(NamedTuple):
    """A status, its header and the body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Transport:
    """The way to one server, for any number of threads.

    `url` is `http://`, `https://`, or `http+unix://` with the percent-encoded path of a socket in
    the place of the host. Raises ValueError for any other.
    """

    def __init__(
        self, url: str, token: str | None, timeout: float, context: ssl.SSLContext | None
    ) -> None:
        parts = urlsplit(url)
        schemes = ("http", "https", "http+unix")
        if parts.scheme not in schemes or not parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                f"url is {url!r}: expected http://host:port, https://host:port or "
                "http+unix://%2Fpath%2Fof%2Fsocket"
            )
        if parts.username is not None:
            raise ValueError("url has a user in it: expected the token as token=")
        self.url = url.rstrip("/")
        self._scheme = parts.scheme
        self._base = parts.path.rstrip("/")
        self._path = unquote(parts.netloc)
        self._host, self._port = (
            ("localhost", None) if parts.scheme == "http+unix" else (parts.hostname, parts.port)
        )
        self._context = context
        self._timeout = timeout
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._kept: deque[http.client.HTTPConnection] = deque()
        self._process = os.getpid()
        self.closed = False

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """The answer to one request. Raises OSError, TimeoutError among it, when there is none."""
        fields = {**self._headers, **(headers or {})}
        again = 2 if method in _READS else 0
        while True:
            kept = self._take()
            connection = self._connected() if kept is None else kept
            try:
                connection.request(method, self._base + target, body, fields)
                response = connection.getresponse()
                if response.status != 204 and "Content-Length" not in response.headers:
                    # http.client takes a head that was cut off for a whole one.
                    raise http.client.HTTPException("no Content-Length")
                answer = Answer(response.status, response.headers, response.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if again and not isinstance(error, TimeoutError):
                    # A kept one may have been closed at any time: that says nothing of a new one.
                    again -= kept is None
                    continue
                if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
                    raise ConnectionError(
                        f"{self.url}: the answer is no HTTP: {error!r}"
                    ) from error
                raise
            except BaseException:
                connection.close()
                raise
            if response.will_close or self.closed or len(self._kept) >= _MOST_KEPT:
                connection.close()
            else:
                self._kept.append(connection)
            return answer

    def stream(self, target: str, headers: dict[str, str]) -> socket.socket:
        """A connection of its own on which a GET was sent; what comes back is the caller's to
        read."""
        connection = self._connected()
        fields = {"Host": self._authority(connection), **self._headers, **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        try:
            sock = connection.sock
            sock.sendall(f"GET {self._base}{target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        except BaseException:
            connection.close()
            raise
        return sock

    def close(self) -> None:
        """Closes the kept connections; may be called twice."""
        self.closed = True
        while self._kept:
            self._kept.pop().close()

    def _take(self) -> http.client.HTTPConnection | None:
        """A kept connection that still stands, the last one used."""
        if self._process != os.getpid():  # The connections are the parent's.
            self._process = os.getpid()
            self._kept = deque()
        while True:
            try:
                connection = self._kept.pop()
            except IndexError:
                return None
            if not _readable(connection.sock):
                return connection
            connection.close()  # The server has closed it, or said something nobody asked.

    def _connected(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._scheme == "http+unix":
            connection = _UnixConnection(self._path, self._timeout)
        elif self._scheme == "https":
            connection = http.client.HTTPSConnection(
                str(self._host), self._port, timeout=self._timeout, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(
                str(self._host), self._port, timeout=self._timeout
            )
        try:
            connection.connect()
        except ConnectionRefusedError:
            raise
        except OSError as error:
            connection.close()
            if isinstance(error, (TimeoutError, ssl.SSLError, FileNotFoundError, socket.gaierror)):
                raise
            connection.connect()  # Nothing was sent: once more.
        return connection

    def _authority(self, connection: http.client.HTTPConnection) -> str:
        host = f"[{connection.host}]" if ":" in connection.host else connection.host
        return host if self._scheme == "http+unix" else f"{host}:{connection.port}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            raise


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
