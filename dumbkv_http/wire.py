"""HTTP/1.1 request heads as bytes: one strict grammar, no sockets, no clocks.

Theory of operation
-------------------
Request smuggling needs two parsers that read one byte string in two ways. This one therefore
accepts a narrow grammar (a subset of RFC 9112) and refuses the rest with an error after which the
connection must close, because nothing behind a doubtful head can be trusted to be a request:

* Lines end in CRLF. A bare CR, a bare LF, NUL or any other control byte in the head is an error.
* `method SP target SP HTTP/1.0|1.1`, one space each; at most one empty line in front.
* A field name is a token directly followed by its colon; no line folding.
* `Host` exactly once in 1.1; `Content-Length` at most once, 1 to 18 digits; `Transfer-Encoding`
  at most once, exactly `chunked`, in 1.1 only, and never beside `Content-Length`.

A head is parsed in a fixed number of passes over its bytes, each of them linear: no regular
expression here has nested quantifiers. A client on a kept-alive connection repeats its fields
byte for byte, so `parse_fields` remembers small field blocks; the request line is parsed each time.

A refused head may be refused before it is complete: `parse_head` looks at what has come so far,
so that a client speaking HTTP/0.9 or TLS is answered at once and not after a time-out. Splitting
an acceptable request at any byte changes nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = [
    "FIELD_COUNT_LIMIT",
    "FIELD_LIMIT",
    "HEAD_LIMIT",
    "LINE_LIMIT",
    "Fields",
    "Request",
    "WireError",
    "excerpt",
    "is_address",
    "parse_fields",
    "parse_head",
]

LINE_LIMIT = 8 * 1024
"""Bytes in the request line."""
FIELD_LIMIT = 8 * 1024
"""Bytes in one field line."""
FIELD_COUNT_LIMIT = 64
"""Field lines in a head."""
HEAD_LIMIT = 32 * 1024
"""Bytes in the whole head."""

_REMEMBERED_BLOCK = 1024  # Only blocks this small are cached, so that the cache stays small too.

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "PUT", "DELETE", "POST")}
_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# RFC 3986: unreserved, sub-delims, ":", "@", the separators "/" and "?", and "%" for escapes.
_TARGET_BYTES = (
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~!$&'()*+,;=:@/?%"
)
_VALUE_BYTES = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
_PARTIAL_BAD = re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]|\r(?=[^\n])|(?<!\r)\n")
_HOST = re.compile(rb"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ADDRESS = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\]")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)

# Fields that mean something only when there is one of them (RFC 9110 section 5.3).
_SINGLE = frozenset(
    (
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"expect",
        b"host",
        b"if-unmodified-since",
        b"origin",
        b"sec-fetch-site",
        b"transfer-encoding",
    )
)


class WireError(Exception):
    """A message that cannot be accepted; answer `status` and close the connection.

    `kind` is the stable name of the problem, `detail` a sentence for the person who sent it.
    """

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail


class Fields:
    """The fields of one head, with those that steer framing and access already understood.

    `length` is the Content-Length or -1; `host` the lower-cased host without its port. `get`
    answers for every other field. Instances may be shared between requests: never change one.
    """

    __slots__ = (
        "authority",
        "authorization",
        "chunked",
        "close",
        "expect",
        "has_body",
        "host",
        "if_match",
        "if_none_match",
        "keep_alive",
        "length",
        "origin",
        "sec_fetch_site",
        "values",
    )

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self.values = values
        self.authority = values.get(b"host")
        self.host = None if self.authority is None else _host_name(self.authority)
        self.chunked = b"transfer-encoding" in values
        self.length = _content_length(values.get(b"content-length"))
        if self.chunked:
            _check_transfer_encoding(values[b"transfer-encoding"], self.length)
        self.has_body = self.chunked or self.length > 0
        connection = values.get(b"connection", b"").lower()
        options = {option.strip(b" \t") for option in connection.split(b",")}
        self.close = b"close" in options
        self.keep_alive = b"keep-alive" in options
        self.authorization = values.get(b"authorization")
        self.expect = values.get(b"expect")
        self.if_match = values.get(b"if-match")
        self.if_none_match = values.get(b"if-none-match")
        self.origin = values.get(b"origin")
        self.sec_fetch_site = values.get(b"sec-fetch-site")

    def get(self, name: bytes) -> bytes | None:
        """The value of the field with this lower-case name, or None."""
        return self.values.get(name)


class Request:
    """One request: its head as parsed, and `body` once the caller has read it.

    `target` is in origin form and still percent-encoded. `end` is where the head ended in the
    buffer. `keep_alive` says whether the client wants the connection afterwards.
    """

    __slots__ = ("body", "end", "fields", "http11", "keep_alive", "method", "target")

    def __init__(
        self, method: str, target: bytes, http11: bool, fields: Fields, end: int, body: bytes = b""
    ) -> None:
        self.method = method
        self.target = target
        self.http11 = http11
        self.fields = fields
        self.end = end
        self.body = body
        self.keep_alive = not fields.close and (http11 or fields.keep_alive)


def excerpt(data: bytes) -> str:
    """Printable ASCII for at most 40 of the bytes, for use in a message.

    >>> excerpt(b"caf\\xc3\\xa9")
    "'caf\\\\xc3\\\\xa9'"
    """
    return repr(data[:40])[1:] + ("..." if len(data) > 40 else "")


def parse_head(buf: bytes, start: int = 0, scanned: int = 0) -> Request | None:
    """The request whose head begins at `start`, or None while the head is incomplete.

    `scanned` is how far an earlier call on a shorter prefix of the same bytes has looked, so that
    a head that arrives byte by byte costs O(n). Raises WireError (400, 414, 431).

    >>> request = parse_head(b"GET /v1/kv/a HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    >>> request.method, request.target, request.fields.host, request.end
    ('GET', b'/v1/kv/a', b'localhost', 42)
    """
    end = buf.find(b"\r\n\r\n", scanned - 3 if scanned > start + 3 else start)
    if end < 0:
        _check_partial(buf, start, scanned)
        return None
    eol = buf.find(b"\r\n", start)
    if eol == start:  # RFC 9112 section 2.2: one empty line in front of a request is forgiven.
        start += 2
        eol = buf.find(b"\r\n", start)
    if eol - start > LINE_LIMIT:
        raise _line_too_long()
    if end + 4 - start > HEAD_LIMIT:
        raise _head_too_long()
    method, target, http11 = _parse_line(buf[start:eol])
    block = buf[eol + 2 : end + 2]
    fields = parse_fields(block) if len(block) <= _REMEMBERED_BLOCK else _parse_fields(block)
    if http11:
        if fields.authority is None:
            raise _bad("HTTP/1.1 needs exactly one Host field, got none")
    elif fields.chunked:
        raise _bad("Transfer-Encoding is not part of HTTP/1.0")
    if not target.startswith(b"/"):
        target = _origin_form(method, target, fields.authority)
    return Request(method, target, http11, fields, end + 4)


def _parse_line(line: bytes) -> tuple[str, bytes, bool]:
    """Method, target and whether this is HTTP/1.1, from a request line without its CRLF."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise _bad(
            f"expected 'METHOD target HTTP/1.1' with single spaces, got {excerpt(line)} "
            f"({len(parts)} parts)"
        )
    name, target, version = parts
    method = _METHODS.get(name)
    if method is None:
        if not name or name.translate(None, _TOKEN_BYTES):
            raise _bad(f"expected a method token, got {excerpt(name)}")
        method = name.decode("ascii")
    if version == b"HTTP/1.1":
        http11 = True
    elif version == b"HTTP/1.0":
        http11 = False
    else:
        raise WireError(
            400, "bad-version", f"expected HTTP/1.1 or HTTP/1.0, got {excerpt(version)}"
        )
    if not target or target.translate(None, _TARGET_BYTES):
        raise _bad(
            "expected a target of URI characters with everything else percent-encoded, "
            f"got {excerpt(target)}"
        )
    return method, target, http11


def _parse_fields(block: bytes) -> Fields:
    values: dict[bytes, bytes] = {}
    if not block:
        return Fields(values)
    lines = block[:-2].split(b"\r\n")
    if len(lines) > FIELD_COUNT_LIMIT:
        raise WireError(
            431,
            "too-many-fields",
            f"expected at most {FIELD_COUNT_LIMIT} fields, got {len(lines)}",
        )
    for line in lines:
        name, value = _parse_field(line)
        if name not in values:
            values[name] = value
        elif name in _SINGLE:
            raise _bad(f"expected {name.decode('ascii')} at most once, got it twice")
        else:
            values[name] += b", " + value
    return Fields(values)


parse_fields = lru_cache(maxsize=512)(_parse_fields)
"""The fields of a block of `name: value CRLF` lines; remembered, so call it for small blocks."""


def _parse_field(line: bytes) -> tuple[bytes, bytes]:
    if len(line) > FIELD_LIMIT:
        raise WireError(
            431,
            "field-too-long",
            f"expected fields of at most {FIELD_LIMIT} bytes, got one of {len(line)}",
        )
    if line.translate(None, _VALUE_BYTES):
        raise _bad(f"a control byte (bare CR, bare LF, NUL or the like) in {excerpt(line)}")
    name, colon, value = line.partition(b":")
    if line[:1] in b" \t":
        raise _bad("a field continued on a second line; line folding is not accepted")
    if not colon:
        raise _bad(f"expected 'name: value', got a field without a colon: {excerpt(line)}")
    if not name or name.translate(None, _TOKEN_BYTES):
        raise _bad(f"expected a field name directly followed by a colon, got {excerpt(name)}")
    return name.lower(), value.strip(b" \t")


def _host_name(authority: bytes) -> bytes:
    found = _HOST.fullmatch(authority)
    if found is None:
        raise _bad(f"expected Host to be a name or address with a port, got {excerpt(authority)}")
    name: bytes = found[1]
    return name.lower()


def is_address(host: bytes) -> bool:
    """Whether the host of a Host field is an IP address and not a name.

    >>> is_address(b"192.0.2.1"), is_address(b"[::1]"), is_address(b"localhost")
    (True, True, False)
    """
    return _ADDRESS.fullmatch(host) is not None


def _content_length(value: bytes | None) -> int:
    if value is None:
        return -1
    if len(value) > 18 or not value.isdigit():  # bytes.isdigit() knows ASCII digits only
        raise WireError(
            400, "bad-framing", f"expected Content-Length of 1 to 18 digits, got {excerpt(value)}"
        )
    return int(value)


def _check_transfer_encoding(value: bytes, length: int) -> None:
    if value != b"chunked":
        # RFC 9112 section 6.1 suggests 501; a 5xx would blame the server for a client's bytes.
        raise WireError(
            400, "bad-framing", f"expected Transfer-Encoding 'chunked', got {excerpt(value)}"
        )
    if length >= 0:
        raise WireError(
            400, "bad-framing", "expected Transfer-Encoding or Content-Length, got both"
        )


def _origin_form(method: str, target: bytes, authority: bytes | None) -> bytes:
    """The target as a path; only `*` and CONNECT's are left alone, for the 405 they will get."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        # RFC 9112 section 3.2: the client sends the same authority twice. Two different ones are
        # a disagreement in the making between us and whatever stands in front of us.
        if authority is None or absolute[1].lower() != authority.lower():
            raise _bad("expected the target's authority to be the same as Host")
        path: bytes = absolute[2]
        return path if path.startswith(b"/") else b"/" + path
    if method == "CONNECT" or (method == "OPTIONS" and target == b"*"):
        return target
    raise _bad(f"expected a target that starts with '/', got {excerpt(target)}")


def _check_partial(buf: bytes, start: int, scanned: int) -> None:
    """Raises WireError when no continuation can make these bytes an acceptable head."""
    bad = _PARTIAL_BAD.search(buf, scanned - 1 if scanned > start else start)
    if bad is not None:
        raise _bad(f"a control byte, or a line that does not end in CRLF, at byte {bad.start()}")
    line = start + 2 if buf.startswith(b"\r\n", start) else start
    eol = buf.find(b"\r\n", line)
    if (len(buf) - 1 if eol < 0 else eol) - line > LINE_LIMIT:  # The last byte may be its CR.
        raise _line_too_long()
    if eol >= 0:
        _parse_line(buf[line:eol])
    if len(buf) - line > HEAD_LIMIT:
        raise _head_too_long()


def _bad(detail: str) -> WireError:
    return WireError(400, "bad-request", detail)


def _line_too_long() -> WireError:
    return WireError(
        414, "target-too-long", f"expected a request line of at most {LINE_LIMIT} bytes"
    )


def _head_too_long() -> WireError:
    return WireError(431, "head-too-long", f"expected a head of at most {HEAD_LIMIT} bytes")
