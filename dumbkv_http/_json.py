"""Keys and values in JSON, lossless: text where it is UTF-8, base64 where it is not.

A key or value `x` is the member `x` when its bytes are UTF-8, and otherwise `x_b64`, in base64 of
the usual alphabet with padding. What comes in may be either, whatever the bytes.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from typing import Any

from dumbkv_http.response import JSON_LINES, ProblemError, Response
from dumbkv_http.wire import excerpt

__all__ = [
    "Members",
    "answer",
    "as_json",
    "bad",
    "check_object",
    "data_of",
    "from_base64",
    "from_text",
    "member",
    "number",
    "parse_object",
    "read",
    "shown",
]

Members = dict[str, Any]

_DIGITS = 40  # Of an integer: more are never needed, and cost quadratic time to read.
_encode = json.JSONEncoder(separators=(",", ":")).encode


def as_json(document: Members) -> bytes:
    """Compact JSON, in ASCII.

    >>> as_json({"value": 1})
    b'{"value":1}'
    """
    return _encode(document).encode("ascii")


def answer(document: Members, headers: bytes = b"") -> Response:
    """200 with a JSON object."""
    return Response(200, JSON_LINES + headers, as_json(document) + b"\n")


def member(name: str, data: bytes) -> tuple[str, str]:
    """The member that holds these bytes: its name and its text.

    >>> member("key", b"caf\\xc3\\xa9"), member("key", b"\\xff")
    (('key', 'café'), ('key_b64', '/w=='))
    """
    try:
        return name, data.decode()
    except UnicodeDecodeError:
        return f"{name}_b64", b64encode(data).decode("ascii")


def read(document: Members, name: str) -> bytes:
    """The bytes that `member` wrote.

    >>> read({"key_b64": "/w=="}, "key")
    b'\\xff'
    """
    coded = document.get(f"{name}_b64")
    text: str = document[name] if coded is None else coded
    return text.encode() if coded is None else b64decode(text)


def parse_object(body: bytes, known: Iterable[str], what: str = "the body") -> Members:
    """The JSON object in a body. Raises ProblemError 400 for anything else."""
    try:
        document = _decoder.decode(body.decode())
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise bad(f"expected a JSON object in UTF-8, got {excerpt(body)}: {reason}") from None
    return check_object(document, known, what)


def check_object(document: object, known: Iterable[str], what: str) -> Members:
    """The same of a part of a body."""
    if not isinstance(document, dict):
        raise bad(f"expected {what} to be a JSON object, got {shown(document)}")
    unknown = document.keys() - set(known)
    if unknown:
        raise bad(
            f"{what} has the unknown member {excerpt(min(unknown).encode('utf-8', 'replace'))}; "
            f"known here: {', '.join(known)}"
        )
    return document


def data_of(document: Members, name: str, what: str) -> bytes:
    """The bytes in `name` or `name_b64`, of which there has to be one."""
    text, coded = document.get(name), document.get(f"{name}_b64")
    if (text is None) == (coded is None):
        raise bad(f"expected {what} to have either {name} or {name}_b64")
    return from_text(text, what) if coded is None else from_base64(coded, what)


def from_text(text: object, what: str) -> bytes:
    """The bytes of a JSON string."""
    if isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError:  # A lone surrogate, which JSON can spell and UTF-8 cannot.
            pass
    raise bad(f"expected {what} in Unicode text, got {shown(text)}")


def from_base64(text: object, what: str) -> bytes:
    """The bytes of a base64 string."""
    if isinstance(text, str):
        try:
            return b64decode(text, validate=True)
        except (Base64Error, ValueError):
            pass
    raise bad(f"expected {what} in base64, got {shown(text)}")


def number(document: Members, name: str, what: str) -> float | None:
    """The number of seconds in `name`, infinity for "never", or None."""
    value = document.get(name)
    if value == "never":
        return float("inf")
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    raise bad(f'expected {name} of {what} to be a number of seconds or "never", got {shown(value)}')


def shown(value: object) -> str:
    """A value for a message."""
    return excerpt(_encode(value).encode("ascii"))


def bad(detail: str) -> ProblemError:
    """The answer to a body that is not what it should be."""
    return ProblemError(400, "bad-body", detail)


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


_decoder = json.JSONDecoder(parse_int=_integer, parse_constant=_constant)
