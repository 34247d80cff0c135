"""The parameters of query strings: how each is read, and what openapi.json says of it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol

from dumbkv_http.response import ProblemError
from dumbkv_http.wire import excerpt

__all__ = [
    "AFTER",
    "BY",
    "END",
    "EXPIRE_AT",
    "KEEP_TTL",
    "LIMIT",
    "MOST_IN_PAGE",
    "PREFIX",
    "REVERSE",
    "SINCE",
    "START",
    "TTL",
    "VALUES",
    "Parameter",
    "required",
]

MOST_IN_PAGE = 10_000
"""Items in one page of a scan, at most."""

_SECONDS = re.compile(rb"[0-9]{1,11}(?:\.[0-9]{1,9})?")
_INTEGER = re.compile(rb"-?[0-9]{1,19}")
_FLAGS = {b"": True, b"1": True, b"true": True, b"0": False, b"false": False}


class Parse(Protocol):
    """Makes a value of a parameter's text; raises ProblemError 400."""

    def __call__(self, text: bytes, /) -> Any: ...


class Parameter(NamedTuple):
    """A parameter's name, how it is read, its JSON schema and a line about it."""

    name: bytes
    parse: Parse
    schema: dict[str, Any]
    text: str
    required: bool = False


def required(parameter: Parameter) -> Parameter:
    """The same parameter where it may not be left out."""
    return parameter._replace(required=True)


def ttl(text: bytes) -> float:
    """A time to live in seconds, infinity for `never`.

    >>> ttl(b"1.5"), ttl(b"never")
    (1.5, inf)
    """
    seconds = _seconds(text)
    if (seconds is not None and 0 < seconds <= 1e10) or text == b"never":
        return float("inf") if seconds is None else seconds
    raise ProblemError(
        400,
        "bad-ttl",
        "expected ttl to be a decimal number of seconds above 0, at most 1e10, or 'never', "
        f"got {excerpt(text)}",
    )


def _epoch(text: bytes) -> float:
    seconds = _seconds(text)
    if text == b"never":
        return float("inf")
    if seconds is None:
        raise _bad("expire_at", "to be decimal seconds since 1970 or 'never'", text)
    return seconds


def _seconds(text: bytes) -> float | None:
    return float(text) if _SECONDS.fullmatch(text) else None


def _flag(name: str) -> Parse:
    def parse(text: bytes) -> bool:
        if text not in _FLAGS:
            raise _bad(name, "to be true or false", text)
        return _FLAGS[text]

    return parse


def _integer(name: str, least: int, most: int) -> Parse:
    def parse(text: bytes) -> int:
        if _INTEGER.fullmatch(text) and least <= int(text) <= most:
            return int(text)
        raise _bad(name, f"to be an integer from {least} to {most}", text)

    return parse


def _bytes(text: bytes) -> bytes:
    return text


def _bad(name: str, expected: str, got: bytes) -> ProblemError:
    return ProblemError(400, "bad-parameter", f"expected {name} {expected}, got {excerpt(got)}")


_BYTES = {"type": "string"}
_TIME = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?|never)$"}
_BOOLEAN = {"type": "boolean"}

TTL = Parameter(b"ttl", ttl, _TIME, "Seconds until the key expires, above 0, or `never`.")
EXPIRE_AT = Parameter(
    b"expire_at", _epoch, _TIME, "When the key expires, in seconds since 1970 (UTC), or `never`."
)
KEEP_TTL = Parameter(
    b"keep_ttl", _flag("keep_ttl"), _BOOLEAN, "Leave the expiry of a present key as it is."
)
BY = Parameter(
    b"by",
    _integer("by", -(2**63), 2**63 - 1),
    {"type": "integer", "format": "int64", "default": 1},
    "What to add; below 0 it subtracts.",
)
PREFIX = Parameter(b"prefix", _bytes, _BYTES, "Only keys that begin with these bytes.")
START = Parameter(b"start", _bytes, _BYTES, "Only keys from this one on.")
END = Parameter(b"end", _bytes, _BYTES, "Only keys below this one.")
AFTER = Parameter(
    b"after", _bytes, _BYTES, "Go on behind this key, in reverse below it; it need not be there."
)
LIMIT = Parameter(
    b"limit",
    _integer("limit", 1, MOST_IN_PAGE),
    {"type": "integer", "minimum": 1, "maximum": MOST_IN_PAGE, "default": 1000},
    "Items in the page.",
)
REVERSE = Parameter(b"reverse", _flag("reverse"), _BOOLEAN, "From the last key to the first.")
VALUES = Parameter(
    b"values", _flag("values"), {"type": "boolean", "default": True}, "With values, or keys alone."
)
SINCE = Parameter(
    b"since",
    _integer("since", 0, 2**63 - 1),
    {"type": "integer", "format": "int64", "minimum": 0},
    "Only events after this version. The field Last-Event-ID says the same, and wins.",
)
