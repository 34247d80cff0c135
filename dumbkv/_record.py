"""The one encoding of changes in files: dumps and logs are made of it.

A file is a header and then records. A record is a body behind its length and a checksum; a
body is one or more operations, which are applied together or not at all. ``docs/format.md``
has every byte, for readers in other languages.

A checksum covers more than the record: the header, with the random number that no other file
has, and the record's place in the file. So a record that was moved, repeated, or left over
from an older file on the same blocks is seen, and not only one whose bits have changed.

Nothing read is believed before its checksum fits, except a length, and that is compared with
what the file still has before memory is taken for it.
"""

import io
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple, TypeAlias

from dumbkv.errors import CorruptError, TooLargeError

MAGIC = b"\x89DKV\r\n\x1a\n"
"""As PNG's: not text, and broken by whatever turns line ends around or drops the eighth bit."""

VERSION = 1
DUMP, LOG, SNAPSHOT = 1, 2, 3
KINDS = {DUMP: "dump", LOG: "log", SNAPSHOT: "snapshot"}

BODY_CEILING = 2**32 - 1
_PIECE = 1024 * 1024

_HEADER = struct.Struct("<8sHBxq16s")  # magic, version, kind, created, number
_CHECKSUM = struct.Struct("<I")
_RECORD = struct.Struct("<II")  # body length, checksum
_PLACE = struct.Struct("<QI")  # offset, body length
_SET = struct.Struct("<BHIQq")  # kind, key length, value length, version, expiry
_DELETE = struct.Struct("<BH")  # kind, key length
_EXPIRE = struct.Struct("<BHq")  # kind, key length, expiry
_END = struct.Struct("<BQ")  # kind, entries
_SYNCED = struct.Struct("<BQ")  # kind, offset

VERSION_AT, KIND_AT = 8, 10
HEADER_SIZE = _HEADER.size + _CHECKSUM.size
RECORD_SIZE = _RECORD.size
SET_SIZE = _SET.size
CLOSING_SIZE = RECORD_SIZE + _SYNCED.size + _END.size
"""Of the last record of a log that was closed."""

_VERSIONS = range(1, 2**63)
_EXPIRIES = range(10**17 + 1)
"""What ``expire_at=`` takes, in microseconds; 0 is for never."""


class Set(NamedTuple):
    """A key has this value, version and expiry from here on."""

    key: bytes
    value: bytes
    version: int
    expiry: int = 0
    """Microseconds since 1970 (UTC), 0 for never."""


class Delete(NamedTuple):
    """A key is gone."""

    key: bytes


class Clear(NamedTuple):
    """All keys are gone."""


class Expire(NamedTuple):
    """A key has another expiry, and its value and version as before."""

    key: bytes
    expiry: int


class End(NamedTuple):
    """Here ends a dump of so many entries, or a log with so many records before this one."""

    entries: int


class Synced(NamedTuple):
    """All of this file before the offset was on the disk when this was written."""

    offset: int


Operation: TypeAlias = Set | Delete | Clear | Expire | End | Synced
_KINDS = (Set, Delete, Clear, Expire, End, Synced)


def kind(operation: Operation) -> int:
    """The number that stands for an operation in a file."""
    return _KINDS.index(type(operation)) + 1


class Header(NamedTuple):
    """What stands at the beginning of a file."""

    kind: int
    created: int
    """Microseconds since 1970 (UTC)."""
    number: bytes
    """16 random bytes that no other file has."""

    def encode(self) -> bytes:
        fields = _HEADER.pack(MAGIC, VERSION, *self)
        return fields + _CHECKSUM.pack(zlib.crc32(fields))

    @property
    def seed(self) -> int:
        """What the checksums of the file's records start from."""
        return zlib.crc32(_HEADER.pack(MAGIC, VERSION, *self))


def new_header(kind: int) -> Header:
    """The header of a file that is made now."""
    return Header(kind, time.time_ns() // 1000, os.urandom(16))


def decode_header(data: bytes, path: str) -> Header:
    """The header of a file that begins with `data`; CorruptError when it is none."""
    if not data:
        raise CorruptError(path, 0, "the file is empty")
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise CorruptError(path, 0, "this is not a DumbKV file: it does not begin like one")
    if len(data) < HEADER_SIZE:
        raise CorruptError(path, len(data), "the file ends in the middle of its header")
    _, version, kind, created, number = _HEADER.unpack_from(data)
    if zlib.crc32(data[: _HEADER.size]) != _CHECKSUM.unpack_from(data, _HEADER.size)[0]:
        raise CorruptError(path, 0, "the checksum does not fit the header")
    if version != VERSION:
        raise CorruptError(
            path,
            VERSION_AT,
            f"this is format version {version}, and this DumbKV reads version {VERSION}",
        )
    if kind not in KINDS:
        what = f"this is a file of kind {kind}: expected 1 to {len(KINDS)}"
        raise CorruptError(path, KIND_AT, what)
    return Header(kind, created, number)


def encode(operations: Iterable[Operation]) -> bytes:
    """The body of a record that holds these operations.

    >>> encode([Set(b"key", b"value", version=7), Delete(b"other")]).hex(" ", 4)[:35]
    '010300 05000000 07000000 00000000 0'
    """
    return b"".join(map(encode_one, operations))


def encode_one(operation: Operation) -> bytes:
    match operation:
        case Set(key, value, version, expiry):
            return _SET.pack(1, len(key), len(value), version, expiry) + key + value
        case Delete(key):
            return _DELETE.pack(2, len(key)) + key
        case Clear():
            return b"\x03"
        case Expire(key, expiry):
            return _EXPIRE.pack(4, len(key), expiry) + key
        case End(entries):
            return _END.pack(5, entries)
        case Synced(offset):
            return _SYNCED.pack(6, offset)


def decode(body: bytes, path: str = "the record", offset: int = 0) -> list[Operation]:
    """The operations of a body, all of them or CorruptError; `offset` is where in `path` it is.

    >>> decode(encode([Set(b"key", b"value", version=7), Clear()]))
    [Set(key=b'key', value=b'value', version=7, expiry=0), Clear()]
    """
    operations: list[Operation] = []
    at = 0
    try:
        while at < len(body):
            operation, at = (_decode_set if body[at] == 1 else _decode_other)(body, at)
            operations.append(operation)
    except struct.error:
        raise CorruptError(path, offset + at, "an operation is cut") from None
    except ValueError as error:
        raise CorruptError(path, offset + at, str(error)) from None
    return operations


def _decode_set(body: bytes, at: int) -> tuple[Operation, int]:
    """The operation at `at` and where the next one begins."""
    _, key_size, value_size, version, expiry = _SET.unpack_from(body, at)
    begin = at + SET_SIZE
    middle = begin + key_size
    end = middle + value_size
    if end > len(body):
        left = len(body) - begin
        if key_size > left:
            raise ValueError(f"a key of {key_size} bytes, and only {left} are left")
        raise ValueError(f"a value of {value_size} bytes, and only {left - key_size} are left")
    if not key_size:
        raise ValueError("an empty key")
    if version not in _VERSIONS:
        raise ValueError(f"version {version}: expected 1 to 2**63 - 1")
    return Set(body[begin:middle], body[middle:end], version, _expiry(expiry)), end


def _decode_other(body: bytes, at: int) -> tuple[Operation, int]:
    match body[at]:
        case 2:
            _, key_size = _DELETE.unpack_from(body, at)
            key, end = _key(body, at + _DELETE.size, key_size)
            return Delete(key), end
        case 3:
            return Clear(), at + 1
        case 4:
            _, key_size, expiry = _EXPIRE.unpack_from(body, at)
            key, end = _key(body, at + _EXPIRE.size, key_size)
            return Expire(key, _expiry(expiry)), end
        case 5:
            _, entries = _END.unpack_from(body, at)
            return End(entries), at + _END.size
        case 6:
            _, offset = _SYNCED.unpack_from(body, at)
            return Synced(offset), at + _SYNCED.size
        case other:
            raise ValueError(f"an operation of kind {other}: expected 1 to {len(_KINDS)}")


def _key(body: bytes, begin: int, size: int) -> tuple[bytes, int]:
    end = begin + size
    if end > len(body):
        raise ValueError(f"a key of {size} bytes, and only {len(body) - begin} are left")
    if not size:
        raise ValueError("an empty key")
    return body[begin:end], end


def _expiry(microseconds: int) -> int:
    if microseconds not in _EXPIRIES:
        raise ValueError(f"expiry {microseconds}: expected microseconds since 1970 up to 1e17")
    return microseconds


def seal(seed: int, offset: int, body: bytes) -> bytes:
    """A record of this body for one place, in the file with this seed."""
    return _RECORD.pack(len(body), checksum(seed, offset, len(body), body)) + body


def checksum(seed: int, offset: int, length: int, body: bytes) -> int:
    """Of a record, or as far as there is of its body."""
    return zlib.crc32(body, zlib.crc32(_PLACE.pack(offset, length), seed))


def closing(seed: int, offset: int, records: int) -> bytes:
    """The last record of a log, which says that all before it is on the disk."""
    return seal(seed, offset, encode([Synced(offset), End(records)]))


class Writer:
    """Writes a file from its beginning on: the header, and record after record."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        encoded = header.encode()
        file.write(encoded)
        self._file = file
        self._seed = header.seed
        self.offset = len(encoded)
        """Where the next record goes."""

    def write(self, body: bytes) -> None:
        fits = checksum(self._seed, self.offset, len(body), body)
        self._file.write(_RECORD.pack(len(body), fits))
        self._file.write(body)
        self.offset += RECORD_SIZE + len(body)


class Reader:
    """Reads a file from its beginning on; CorruptError at the first thing that is wrong.

    Takes memory for one record. One of more than `most` bytes is checked, piece by piece, and
    refused with TooLargeError. With `end`, the file is read as if it ended there, and with
    `header` as if it had that one.
    """

    def __init__(
        self,
        file: BinaryIO,
        path: str,
        most: int = BODY_CEILING,
        end: int | None = None,
        header: Header | None = None,
    ) -> None:
        self.path = path
        self.size = file.seek(0, io.SEEK_END) if end is None else end
        file.seek(0)
        begin = file.read(HEADER_SIZE)
        self.header = decode_header(begin, path) if header is None else header
        self.offset = HEADER_SIZE
        """The end of what was whole so far."""
        self._file = file
        self._most = most
        self._seed = self.header.seed

    def __iter__(self) -> Iterator[tuple[int, list[Operation]]]:
        """Where a record begins and its operations, for all records of the file."""
        while self.offset < self.size:
            yield self.offset, self._next()

    def go(self, offset: int) -> None:
        """Go on with the record that begins there."""
        self.offset = offset
        self._file.seek(offset)

    def skim(self) -> bytes:
        """Pass over a record whose checksum fits; how its body begins, at most `most` bytes."""
        at = self.offset
        length, held = self._record(at)
        self.offset = at + RECORD_SIZE + length
        return held

    def _next(self) -> list[Operation]:
        at = self.offset
        length, body = self._record(at)
        if length > self._most:
            raise TooLargeError(
                f"{self.path} has a record of {length} bytes at byte {at}, and the store takes "
                f"at most {self._most}: open it with a larger max_value or max_key"
            )
        operations = decode(body, self.path, at + RECORD_SIZE)
        self.offset = at + RECORD_SIZE + length
        return operations

    def _record(self, at: int) -> tuple[int, bytes]:
        """The length of the record at `at`, and its body or how that begins."""
        head = self._file.read(RECORD_SIZE)
        if len(head) < RECORD_SIZE:
            raise CorruptError(self.path, at, "the file ends in the middle of a record's head")
        length, expected = _RECORD.unpack(head)
        left = self.size - at - RECORD_SIZE
        if length > left:
            what = f"a record of {length} bytes, and only {left} are left in the file"
            raise CorruptError(self.path, at, what)
        if not length:
            raise CorruptError(self.path, at, "a record of 0 bytes: expected at least 1")
        return length, self._body(at, length, expected)

    def _body(self, at: int, length: int, expected: int) -> bytes:
        held = self._file.read(min(length, self._most))
        seen = checksum(self._seed, at, length, held)
        left = length - len(held)
        while left and (piece := self._file.read(min(left, _PIECE))):
            seen = zlib.crc32(piece, seen)
            left -= len(piece)
        if seen != expected:
            what = f"the checksum does not fit the record of {length} bytes"
            raise CorruptError(self.path, at, what)
        return held
