"""Keys and queries out of a request target: percent-decoded once, normalised never.

`a//b`, `A`, `a+b` and `a%2Fb` are keys as they stand (the last one is the key `a/b`). Only the
segments `.` and `..` are refused: browsers, proxies and most clients resolve them, written as
`%2e` too, so whoever sent one might not mean the key that would arrive (RFC 3986 section 5.2.4).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from dumbkv_http.response import ProblemError
from dumbkv_http.wire import excerpt

__all__ = ["Readable", "decode", "key_from_base64", "key_from_path", "parse_query"]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BASE64 = re.compile(rb"[A-Za-z0-9_-]*={0,2}")
_DOT_SEGMENTS = (b".", b"..")


def key_from_path(path: bytes) -> bytes:
    """The key named by the part of a path that follows the route.

    Raises ProblemError 400 for a dot segment or a bad escape.

    >>> key_from_path(b"users/42%20a")
    b'users/42 a'
    """
    if b"/." in path or b"%" in path or path.startswith(b"."):
        for segment in path.split(b"/"):
            if segment.lower().replace(b"%2e", b".") in _DOT_SEGMENTS:
                raise _dot_segment(segment)
        return decode(path)
    return path


def decode(text: bytes) -> bytes:
    """The bytes that `text` stands for, each `%XX` decoded once. Raises ProblemError 400."""
    if b"%" not in text:
        return text
    bad = _BAD_ESCAPE.search(text)
    if bad is not None:
        raise ProblemError(
            400,
            "bad-escape",
            "expected two hexadecimal digits after each '%', "
            f"got {excerpt(text[bad.start() : bad.start() + 3])}",
        )
    return unquote_to_bytes(text)


def key_from_base64(path: bytes) -> bytes:
    """The key named by base64url (RFC 4648 section 5), with its padding or without.

    Raises ProblemError 400 for anything else, other ways to write the same key among it.

    >>> key_from_base64(b"Li4"), key_from_base64(b"_w==")
    (b'..', b'\\xff')
    """
    text = path.replace(b"%3D", b"=").replace(b"%3d", b"=")  # Some clients escape the padding.
    if _BASE64.fullmatch(text):
        digits = text.rstrip(b"=")
        try:
            key = urlsafe_b64decode(digits + b"=" * (-len(digits) % 4))
        except ValueError:  # A length that no bytes have.
            key = b""
        padded = urlsafe_b64encode(key)
        if text in (padded, padded.rstrip(b"=")):
            return key
    raise ProblemError(
        400,
        "bad-base64",
        f"expected a key in base64url, as 'Li4' is for '..', got {excerpt(path)}",
    )


class Readable(Protocol):
    """What is asked of a parameter: to make a value of its decoded text."""

    def parse(self, text: bytes, /) -> Any: ...


def parse_query(query: bytes, known: Mapping[bytes, Readable]) -> dict[bytes, Any]:
    """The parameters of a query string, decoded and read. `+` is a plus, not a space.

    Raises ProblemError 400 for a parameter that is not known, or given twice.
    """
    values: dict[bytes, Any] = {}
    for part in query.split(b"&") if query else ():
        name, _, value = part.partition(b"=")
        name = decode(name)
        parameter = known.get(name)
        if parameter is None:
            expected = ", ".join(sorted(word.decode("ascii") for word in known)) or "none"
            raise ProblemError(
                400,
                "unknown-parameter",
                f"unknown query parameter {excerpt(name)}; known here: {expected}",
            )
        if name in values:
            raise ProblemError(
                400, "bad-parameter", f"expected {excerpt(name)} at most once, got it twice"
            )
        values[name] = parameter.parse(decode(value))
    return values


def _dot_segment(segment: bytes) -> ProblemError:
    return ProblemError(
        400,
        "dot-segment",
        f"the path has the segment {excerpt(segment)}, which clients and proxies resolve away; "
        "percent-encoding the dots does not help, because they decode them first. Write a slash "
        "that belongs to the key as %2F ('a%2F..%2Fb' is the key 'a/../b'), or give the key in "
        "base64url under /v1/kv64/ ('Li4' is the key '..')",
    )
