"""Responses, and how they become bytes: one head and one body, for one send.

Whatever varies in a head is a number, a date or a constant of this package; the one thing of a
client's that comes back is a key, percent-encoded, in the Link to the next page. `field_line`
checks all the same.

Some answers are not there at once. A `Deferred` one is made in turns, one a round of the loop, so
that long work does not keep other clients waiting; it may also wait to be woken. A `Streamed` one
has its head at once and its body in pieces, the next when the client has taken the last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

__all__ = [
    "CONTINUE",
    "JSON_LINES",
    "LAST_CHUNK",
    "Deferred",
    "ProblemError",
    "Response",
    "Streamed",
    "chunk",
    "field_line",
    "http_date",
    "problem",
    "render",
    "render_head",
]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The interim answer to `Expect: 100-continue`."""
JSON_LINES = (
    b"Content-Type: application/json\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Cache-Control: no-store\r\n"
)
"""The header lines of an answer in JSON."""
LAST_CHUNK = b"0\r\n\r\n"
"""The end of a body in chunks."""

_STATUS_LINES = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\nDate: ".encode()
    for status in HTTPStatus
    if status >= 200
}
_TITLES = {int(status): status.phrase for status in HTTPStatus}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
# RFC 9110 section 8.6 forbids Content-Length in these, and a 304's would describe the 200.
_NO_CONTENT = frozenset((204, 304))
_PROBLEM_LINES = (
    b"Content-Type: application/problem+json\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Cache-Control: no-store\r\n"
)


class Response:
    """A status, its header lines (each ending in CRLF) and a body.

    `handler` names the route for the metrics. Date, Content-Length and Connection are added when
    the response is rendered.
    """

    __slots__ = ("body", "handler", "headers", "status")

    def __init__(
        self, status: int, headers: bytes = b"", body: bytes = b"", handler: str = "other"
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.handler = handler


class Deferred(Response):
    """An answer that `turns` gives in the end, as what the generator returns.

    It is advanced in the round of the loop that made it and then once a round for as long as it
    yields True. When it yields False it is advanced after `App.wake`, which any thread may call,
    and each second to be safe. The connection's other requests wait; other connections do not.
    """

    __slots__ = ("turns",)

    def __init__(self, turns: Generator[bool, None, Response]) -> None:
        super().__init__(200)
        self.turns = turns


class Streamed(Response):
    """A body that comes in pieces, each made when the one before has gone to the client.

    `pieces` yields b"" while there is nothing. An `endless` one is asked again after `App.tell`
    and each second, has `keep_alive` sent into silences, and its connection closes behind it.
    """

    __slots__ = ("endless", "keep_alive", "pieces")

    def __init__(
        self,
        headers: bytes,
        pieces: Generator[bytes, None, None],
        *,
        endless: bool = False,
        keep_alive: bytes = b"",
    ) -> None:
        super().__init__(200, headers)
        self.pieces = pieces
        self.endless = endless
        self.keep_alive = keep_alive


class ProblemError(Exception):
    """Raised to answer with `problem(...)`; the connection stays open if the body was read."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        headers: bytes = b"",
        more: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers
        self.more = more

    def response(self) -> Response:
        """The answer this error stands for."""
        return problem(self.status, self.kind, self.detail, self.headers, self.more)


def render(
    response: Response, date: bytes, connection: bytes = b"", head_only: bool = False
) -> bytes:
    """The response as it goes on the wire.

    `date` is the value of Date (`http_date`), `connection` a whole Connection line or nothing.
    `head_only` is for HEAD: the lengths of GET's answer, without its body.

    >>> render(Response(204), b"Thu, 01 Jan 1970 00:00:00 GMT")
    b'HTTP/1.1 204 No Content\\r\\nDate: Thu, 01 Jan 1970 00:00:00 GMT\\r\\n\\r\\n'
    """
    status = response.status
    body = response.body
    if status in _NO_CONTENT:
        return b"%b%b\r\n%b%b\r\n" % (_STATUS_LINES[status], date, response.headers, connection)
    return b"%b%b\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
        _STATUS_LINES[status],
        date,
        response.headers,
        connection,
        len(body),
        b"" if head_only else body,
    )


def render_head(response: Response, date: bytes, connection: bytes, framing: bytes) -> bytes:
    """The head of a response whose body follows in pieces; `framing` is a whole line, or nothing
    when the body ends with the connection."""
    status_line = _STATUS_LINES[response.status]
    return b"%b%b\r\n%b%b%b\r\n" % (status_line, date, response.headers, connection, framing)


def chunk(piece: bytes) -> bytes:
    """A piece of a body as a chunk (RFC 9112 section 7.1).

    >>> chunk(b"hello")
    b'5\\r\\nhello\\r\\n'
    """
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def problem(
    status: int,
    kind: str,
    detail: str,
    headers: bytes = b"",
    more: dict[str, str] | None = None,
) -> Response:
    """An error as `application/problem+json` (RFC 9457); `kind` is stable, `detail` is not.

    `more` are members of its own.

    >>> problem(404, "key-not-found", "no value under this key").body
    b'{"type": "urn:dumbkv:problem:key-not-found", "title": "Not Found", "status": 404, \
"detail": "no value under this key"}\\n'
    """
    document = {
        "type": f"urn:dumbkv:problem:{kind}",
        "title": _TITLES[status],
        "status": status,
        "detail": detail,
        **(more or {}),
    }
    return Response(status, _PROBLEM_LINES + headers, json.dumps(document).encode("ascii") + b"\n")


def field_line(name: str, value: str) -> bytes:
    """`name: value CRLF`. Raises ValueError for anything that could end the line early.

    >>> field_line("Allow", "GET, HEAD")
    b'Allow: GET, HEAD\\r\\n'
    """
    if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise ValueError(
            f"expected a field name and a value of printable ASCII, got {name!r}: {value!r}"
        )
    return f"{name}: {value}\r\n".encode("ascii")


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> bytes:
    """An IMF-fixdate (RFC 9110 section 5.6.7) for seconds since the epoch.

    >>> http_date(784111777)
    b'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    return formatdate(seconds, usegmt=True).encode("ascii")
