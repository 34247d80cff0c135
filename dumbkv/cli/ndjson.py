"""Entries as lines of JSON, one object a line.

Keys and values are text where they are UTF-8, and else ``{"base64": "..."}``, so that any
bytes survive the way there and back. Reading is strict: what it does not know it refuses.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from dumbkv._arguments import KEY_CEILING
from dumbkv._record import Set

_FIELDS = {"key", "value", "version", "expires_at"}
_LATEST = 1e11


class BadLineError(ValueError):
    """A line that is not an entry; the message has its number."""


def line(entry: Set) -> bytes:
    r"""An entry as one line.

    >>> line(Set(b"colour", b"\xff", 7, 1_800_000_000_500_000)).decode()
    '{"key": "colour", "value": {"base64": "/w=="}, "version": 7, "expires_at": 1800000000.5}\n'
    """
    fields = {
        "key": text(entry.key),
        "value": text(entry.value),
        "version": entry.version,
        "expires_at": entry.expiry / 1e6 if entry.expiry else None,
    }
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def text(data: bytes) -> str | dict[str, str]:
    """Bytes as JSON has them."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def entries(lines: Iterable[bytes], name: str) -> Iterator[Set]:
    """The entries of these lines; BadLineError for the first that is none.

    Lines of white space are passed over. A key that comes twice is an error.
    """
    seen: set[bytes] = set()
    for number, each in enumerate(lines, 1):
        if not each.strip():
            continue
        try:
            entry = _entry(each)
            if entry.key in seen:
                raise ValueError("its key came before")
        except (ValueError, RecursionError) as error:
            raise BadLineError(f"{name}: line {number}: {error}") from None
        seen.add(entry.key)
        yield entry


def _entry(data: bytes) -> Set:
    fields = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant)
    if not isinstance(fields, dict):
        raise ValueError("expected an object with key and value")
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}: expected {', '.join(sorted(_FIELDS))}")
    key, value = _bytes("key", fields), _bytes("value", fields)
    if not 0 < len(key) <= KEY_CEILING:
        raise ValueError(f"key has {len(key)} bytes: expected 1 to {KEY_CEILING}")
    return Set(key, value, _version(fields.get("version")), _expiry(fields.get("expires_at")))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field comes twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _bytes(field: str, fields: dict[str, Any]) -> bytes:
    match fields.get(field):
        case str(given):
            return given.encode()
        case {"base64": str(given), **more} if not more:
            try:
                return base64.b64decode(given, validate=True)
            except ValueError as error:
                raise ValueError(f"{field} is not base64: {error}") from None
        case _:
            raise ValueError(f'{field}: expected text or {{"base64": "..."}}')


def _version(given: Any) -> int:
    """Checked and then of no use: an entry gets a new version where it is loaded."""
    if given is None:
        return 0
    if type(given) is not int or not 0 < given < 2**63:
        raise ValueError(f"version is {given!r}: expected a whole number from 1 to 2**63 - 1")
    return given


def _expiry(given: Any) -> int:
    if given is None:
        return 0
    if type(given) not in (int, float) or not 0 <= given <= _LATEST:
        raise ValueError(f"expires_at is {given!r}: expected seconds since 1970, or null for never")
    return max(1, round(Fraction(given) * 10**6))  # as a float it may be off by one
