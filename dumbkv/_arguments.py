"""What a caller may give a table, checked in one place, with the message for what it may not.

The C table's twin is ``csrc/pyargs.h``; a test holds the two to the same words.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from dumbkv.errors import InvalidKeyError, NotAnIntegerError, TooLargeError, shown

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What keys and values may be given as. They are copied, and come back as bytes."""

NEVER = 2**63 - 1
"""The deadline of what does not expire."""

INT64 = range(-(2**63), 2**63)
KEY_CEILING = 2**16 - 1
VALUE_CEILING = 2**32 - 1
LEAST_MAX_BYTES = 65536
_VERSIONS = range(1, 2**63)
_TTL_CEILING = 1e10
_EPOCH_CEILING = 1e11


def key_from(given: object, most: int) -> bytes:
    key = given if type(given) is bytes else bytes_from("key", given)
    if 0 < len(key) <= most:
        return key
    if not key:
        raise InvalidKeyError(f"the key is empty: expected 1 to {most} bytes")
    raise InvalidKeyError(f"the key has {len(key)} bytes: expected 1 to {most}: {shown(key)}")


def value_from(given: object, most: int) -> bytes:
    value = given if type(given) is bytes else bytes_from("value", given)
    if len(value) > most:
        raise TooLargeError(f"the value has {len(value)} bytes: expected at most {most}")
    return value


def bytes_from(what: str, given: object) -> bytes:
    try:
        return bytes(memoryview(given))  # type: ignore[arg-type]  # the except answers it
    except TypeError:
        hint = ": encode it first, or use store.text()" if isinstance(given, str) else ""
        raise TypeError(f"{what} must be bytes-like, not {_type_name(given)}{hint}") from None


def _type_name(given: object) -> str:
    return type(given).__name__


def limit(name: str, given: int, least: int, most: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"{name} must be an int, not {_type_name(given)}")
    if not least <= given <= most:
        raise ValueError(f"{name} is out of range: expected {least} to {most}")
    return given


def _number(name: str, given: float) -> None:
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise TypeError(f"{name} must be a number of seconds, not {_type_name(given)}")


def microseconds(name: str, given: float) -> int:
    _number(name, given)
    if given == math.inf:
        return NEVER
    if not 0 < given <= _TTL_CEILING:
        raise ValueError(
            f"{name} is {given!r}: expected seconds above 0, at most 1e10, or infinity for never"
        )
    return max(1, int(given * 1e6 + 0.5))


def epoch_microseconds(given: float) -> int:
    _number("expire_at", given)
    if given == math.inf:
        return NEVER
    if not 0 <= given <= _EPOCH_CEILING:
        raise ValueError(
            f"expire_at is {given!r}: expected seconds since 1970, at most 1e11, "
            "or infinity for never"
        )
    return int(given * 1e6 + 0.5)


def check_expiry(ttl: float | None, expire_at: float | None, keep_ttl: bool = False) -> None:
    if (ttl is not None) + (expire_at is not None) + bool(keep_ttl) > 1:
        raise ValueError("expected at most one of ttl, expire_at and keep_ttl")


def check_expiry_now(ttl: float | None, expire_at: float | None) -> None:
    """All that a write would say of them, for methods that first run a caller's code."""
    check_expiry(ttl, expire_at)
    if ttl is not None:
        microseconds("ttl", ttl)
    if expire_at is not None:
        epoch_microseconds(expire_at)


def room_from(max_bytes: int | None, eviction: str) -> tuple[int, bool]:
    """The limit in bytes, 0 for none, and whether to evict."""
    least, most = LEAST_MAX_BYTES, 2**63 - 1
    size = 0 if max_bytes is None else limit("max_bytes", max_bytes, least, most)
    if eviction not in ("reject", "lru"):
        raise ValueError(f"eviction is {eviction!r}: expected 'reject' or 'lru'")
    if eviction == "lru" and not size:
        raise ValueError("eviction='lru' needs max_bytes")
    return size, eviction == "lru"


def check_version(given: int) -> None:
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"if_version must be an int, not {_type_name(given)}")
    if given not in _VERSIONS:
        raise ValueError(f"if_version is {given!r}: expected a version that set or entry gave")


def step_from(by: int, sign: int) -> int:
    if not isinstance(by, int) or isinstance(by, bool):
        raise TypeError(f"by must be an int, not {_type_name(by)}")
    if by not in INT64 or by * sign not in INT64:
        raise OverflowError("by does not fit a signed 64-bit integer")
    return by * sign


def integer_from(key: bytes, value: bytes) -> int:
    digits = value[1:] if value.startswith(b"-") else value
    canonical = digits.isdigit() and len(digits) <= 19 and (digits[:1] != b"0" or value == b"0")
    if not canonical or int(value) not in INT64:
        raise NotAnIntegerError(
            f"the value at key {shown(key)} is not a decimal 64-bit integer: {shown(value)}"
        )
    return int(value)


PUT, PUT_KEEPING, DROP, LOOK = range(4)
"""What to do with one key of many: write it, write it and leave its expiry, remove it, or
only look at its version."""


class Operation(NamedTuple):
    """What to do with one key of many, checked."""

    act: int
    key: bytes
    want: int | None
    value: bytes
    span: int | None
    epoch: int | None


def operation_from(given: tuple[Any, ...], max_key: int, max_value: int) -> Operation:
    act, key, want, value, ttl, expire_at = given
    if want is not None and want != 0:
        check_version(want)
    check_expiry(ttl, expire_at, act == PUT_KEEPING)
    span = None if ttl is None else microseconds("ttl", ttl)
    epoch = None if expire_at is None else epoch_microseconds(expire_at)
    checked = key_from(key, max_key)
    writes = act in (PUT, PUT_KEEPING)
    return Operation(
        act, checked, want, value_from(value, max_value) if writes else b"", span, epoch
    )


def pairs_from(
    function: str, other: Mapping[Any, Any] | Iterable[Any]
) -> Iterable[tuple[Any, Any]]:
    pairs: Iterable[Any] = other.items() if hasattr(other, "items") else other
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{function}: element {index} must be a (key, value) pair")
        yield pair[0], pair[1]
