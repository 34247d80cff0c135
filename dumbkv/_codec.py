"""Codecs: how a view makes bytes of what its caller has, and the other way round."""

import json
import reprlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dumbkv._arguments import bytes_from
from dumbkv.errors import DecodeError, InvalidKeyError, shown

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


@dataclass(frozen=True)
class Codec(Generic[T]):
    """Two callables: `encode` makes bytes of a key or value, `decode` makes it of them again.

    `encode` raises what it likes, and the caller gets it. What `decode` raises is in the
    DecodeError the caller gets; its message calls the codec by `name`. A codec for keys has to
    give equal keys equal bytes; the order of the bytes is the order of scans.

    >>> import dumbkv
    >>> number = dumbkv.Codec(lambda n: n.to_bytes(8, "big"), lambda b: int.from_bytes(b, "big"))
    >>> squares = dumbkv.open().view(number, number)
    >>> squares[12] = 144
    >>> dict(squares)
    {12: 144}
    """

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    name: str = "the codec"


def _same(data: bytes) -> bytes:
    return data


def _text(what: str) -> Codec[str]:
    def encode(text: str) -> bytes:
        try:
            return str.encode(text)
        except UnicodeEncodeError as error:
            where, why = (error.start, error.end), f"{error.reason} in {what} {text!r:.60}"
            raise UnicodeEncodeError("utf-8", text, *where, why) from None
        except TypeError:
            raise TypeError(f"{what} must be str, not {type(text).__name__}") from None

    return Codec(encode, bytes.decode, "text")


# An encoder with options of its own would otherwise be made for every value.
_TO_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _json_encode(value: Any) -> bytes:
    try:
        return _TO_JSON(value).encode()
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"value cannot be JSON: {error}: {reprlib.repr(value)}") from error


def _json_decode(data: bytes) -> Any:
    return json.loads(data.decode())  # from bytes it would also take UTF-16, UTF-32, surrogates


BYTES = Codec(_same, _same, "bytes")
TEXT_KEY, TEXT_VALUE = _text("key"), _text("value")
JSON_VALUE: Codec[Any] = Codec(_json_encode, _json_decode, "JSON")


class Coded(Generic[K, V]):
    """What a view does with its codecs: `raw` is a key as the store has it, `data` a value."""

    __slots__ = ("_keys", "_max_key", "_prefix", "_values")

    def __init__(self, prefix: bytes, max_key: int, keys: Codec[K], values: Codec[V]) -> None:
        self._prefix = prefix
        self._max_key = max_key
        self._keys = keys
        self._values = values

    def _raw(self, key: Any) -> bytes:
        encoded = self._keys.encode(key)
        return self._inside(encoded) if self._prefix else encoded

    def _inside(self, encoded: bytes) -> bytes:
        raw = self._prefix + bytes_from("key", encoded)
        if len(raw) > self._max_key:
            raise InvalidKeyError(
                f"the key has {len(raw)} bytes, {len(self._prefix)} of them the namespace's "
                f"prefix: expected at most {self._max_key}: {shown(raw)}"
            )
        return raw

    def _longer(self, prefix: K) -> bytes:
        """The prefix of a namespace in here."""
        longer = self._prefix + bytes_from("prefix", self._keys.encode(prefix))
        if len(longer) > self._max_key:
            raise InvalidKeyError(
                f"the prefix has {len(longer)} bytes: expected at most {self._max_key}, the "
                f"longest key: {shown(longer)}"
            )
        return longer

    def _start(self, key: K) -> bytes:
        """How keys may start, or where a range does: of any length, even none."""
        return self._prefix + bytes_from("key", self._keys.encode(key))

    def _bounds(
        self, prefix: K | None, start: K | None, end: K | None, after: K | None
    ) -> dict[str, bytes]:
        """What a scan of the store is given for what a scan in here was."""
        given = {"start": start, "end": end, "after": after}
        bounds = {name: self._start(key) for name, key in given.items() if key is not None}
        return bounds | {"prefix": self._prefix if prefix is None else self._start(prefix)}

    def _raw_pairs(self, pairs: Iterable[tuple[K, V]]) -> Iterator[tuple[bytes, bytes]]:
        return ((self._raw(key), self._values.encode(value)) for key, value in pairs)

    def _key(self, raw: bytes) -> K:
        try:
            return self._keys.decode(raw[len(self._prefix) :])
        except MemoryError:
            raise
        except Exception as error:
            what = f"{self._keys.name} cannot decode the key {shown(raw)}"
            raise DecodeError(f"{what}: {error}", raw) from error

    def _value(self, raw: bytes, data: bytes) -> V:
        try:
            return self._values.decode(data)
        except MemoryError:
            raise
        except Exception as error:
            what = f"{self._values.name} cannot decode the value at key {shown(raw)}"
            raise DecodeError(f"{what}: {error}: {shown(data)}", bytes(raw), data) from error

    def _pair(self, raw: bytes, data: bytes) -> tuple[K, V]:
        return self._key(raw), self._value(raw, data)
