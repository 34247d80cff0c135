"""Answers become bytes here, and are counted and logged: all of them, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dumbkv_http.metrics import METHODS
from dumbkv_http.response import Response, Streamed, problem, render, render_head
from dumbkv_http.routes import TIMED
from dumbkv_http.wire import Request, WireError

if TYPE_CHECKING:
    from dumbkv_http._later import UnderWay
    from dumbkv_http.server import Server

__all__ = ["Rendering"]

_CLOSE_LINE = b"Connection: close\r\n"
_KEEP_ALIVE_LINE = b"Connection: keep-alive\r\n"
_CHUNKED_LINE = b"Transfer-Encoding: chunked\r\n"
_LABELS = frozenset(METHODS)


class Rendering:
    """The part of a connection that makes bytes of answers. It says when one is the last."""

    __slots__ = ("_arrived", "_closing", "_operations", "_peer", "_server")

    _arrived: float
    _closing: bool
    _operations: int
    _peer: str
    _server: Server

    def _render(self, request: Request, response: Response) -> bytes:
        """Counts an answer and makes it bytes; all answers to understood requests pass here."""
        server = self._server
        method = request.method
        status = response.status
        server.metrics.count(method if method in _LABELS else "OTHER", response.handler, status)
        if response.handler in TIMED and status < 500:
            self._operations += 1
        data = render(response, server.date, self._connection_line(request), method == "HEAD")
        if server.access_log is not None:
            self._log(request, method, status, len(data))
        return data

    def _render_stream(self, request: Request, response: Streamed, later: UnderWay) -> bytes:
        """The same for one whose body follows."""
        self._server.metrics.count(request.method, response.handler, response.status)
        if not later.chunked:
            self._closing = True  # The end of the connection is the end of the body.
        line = self._connection_line(request)
        framing = _CHUNKED_LINE if later.chunked else b""
        data = render_head(response, self._server.date, line, framing)
        if self._server.access_log is not None:
            self._log(request, request.method, response.status, len(data))
        return data

    def _connection_line(self, request: Request) -> bytes:
        if self._closing or not request.keep_alive or self._server.app.draining:
            self._closing = True
            return _CLOSE_LINE
        return b"" if request.http11 else _KEEP_ALIVE_LINE

    def _render_error(self, error: WireError, request: Request | None) -> bytes:
        """The last answer of this connection, for a request that cannot be read further."""
        response = problem(error.status, error.kind, error.detail)
        self._closing = True
        if request is not None:
            response.handler = self._server.app.handler(request)
            return self._render(request, response)
        self._server.metrics.count("OTHER", response.handler, response.status)
        data = render(response, self._server.date, _CLOSE_LINE)
        if self._server.access_log is not None:
            self._log(None, "OTHER", response.status, len(data))
        return data

    def _log(self, request: Request | None, method: str, status: int, sent: int) -> None:
        server = self._server
        assert server.access_log is not None, "logging without a log"
        server.access_log.note(
            method if method in _LABELS else "OTHER",
            "" if request is None else server.app.template(request),
            status,
            server.clock() - self._arrived,
            sent,
            self._peer,
            None if request is None else request.target,
        )
