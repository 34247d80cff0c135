"""Keys and parameters out of a request target: percent-decoded once, normalised never.

`a//b`, `A`, `a+b` and `a%2Fb` are keys as they stand (the last one is the key `a/b`). Only the
segments `.` and `..` are refused: browsers, proxies and most clients resolve them, written as
`%2e` too, so whoever sent one might not mean the key that would arrive (RFC 3986 section 5.2.4).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from dumbkv_http.response import ProblemError
from dumbkv_http.wire import excerpt

__all__ = ["decode", "key_from_path", "parse_query", "parse_ttl"]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TTL = re.compile(rb"[0-9]{1,10}(?:\.[0-9]{1,9})?")
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


def parse_query(query: bytes, known: frozenset[bytes]) -> dict[bytes, bytes]:
    """The parameters of a query string, decoded. `+` is a plus, not a space.

    Raises ProblemError 400 for a parameter that is not known, or given twice.

    >>> parse_query(b"ttl=5", frozenset([b"ttl"]))
    {b'ttl': b'5'}
    """
    values: dict[bytes, bytes] = {}
    for part in query.split(b"&") if query else ():
        name, _, value = part.partition(b"=")
        name = decode(name)
        if name not in known:
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
        values[name] = decode(value)
    return values


def parse_ttl(text: bytes) -> float:
    """A time to live in seconds. Raises ProblemError 400.

    >>> parse_ttl(b"1.5")
    1.5
    """
    if _TTL.fullmatch(text) is not None:
        ttl = float(text)
        if ttl > 0:
            return ttl
    raise ProblemError(
        400,
        "bad-ttl",
        f"expected ttl to be a decimal number of seconds above 0, got {excerpt(text)}",
    )


def _dot_segment(segment: bytes) -> ProblemError:
    return ProblemError(
        400,
        "dot-segment",
        f"the path has the segment {excerpt(segment)}, which clients and proxies resolve away; "
        "percent-encoding the dots does not help, because they decode them first. Write a slash "
        "that belongs to the key as %2F ('a%2F..%2Fb' is the key 'a/../b'), or choose another key",
    )
