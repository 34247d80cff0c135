"""A dump: entries in one file of the encoding in :mod:`dumbkv._record`.

Each record holds entries, 64 KiB of them or one that is larger; the last one says how many
entries there were, so that a file that was cut is seen.

No step takes memory for the whole file: one record is held at a time, and while a file is
checked 8 bytes for each key, to find one that comes twice.
"""

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from dumbkv._arguments import KEY_CEILING, VALUE_CEILING
from dumbkv._files import replacing
from dumbkv._record import (
    BODY_CEILING,
    DUMP,
    KIND_AT,
    KINDS,
    RECORD_SIZE,
    SET_SIZE,
    End,
    Header,
    Operation,
    Reader,
    Set,
    Writer,
    encode_one,
    kind,
    new_header,
)
from dumbkv.errors import CorruptError, InvalidKeyError, TooLargeError, shown

Progress: TypeAlias = Callable[[int, int], object]
"""Called with how much is done and how much there is in all."""

ROOM = 64 * 1024
"""The most bytes in a record's body, unless one entry alone is larger."""

_PARTS = 256


def write(
    path: str, entries: Iterable[Set], total: int = 0, progress: Progress | None = None
) -> int:
    """Make `path` a dump of these entries, of which there are about `total`; how many.

    The old file stays until the new one is whole and on the disk.
    """
    done = 0
    with replacing(path) as file:
        writer = Writer(file, new_header(DUMP))
        for operations in _grouped(map(_encode, entries)):
            writer.write(b"".join(operations))
            done += len(operations)
            if progress is not None:
                progress(done, max(done, total))
        writer.write(encode_one(End(done)))
    if progress is not None:
        progress(done, done)
    return done


def _encode(entry: Set) -> bytes:
    most = BODY_CEILING - SET_SIZE - len(entry.key)
    if len(entry.value) > most:
        raise TooLargeError(
            f"the value at key {shown(entry.key)} has {len(entry.value)} bytes: a file takes at "
            f"most {most}"
        )
    return encode_one(entry)


def _grouped(pieces: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The pieces in groups of at most `ROOM` bytes, or of one piece."""
    group: list[bytes] = []
    size = 0
    for piece in pieces:
        if group and size + len(piece) > ROOM:
            yield group
            group, size = [], 0
        group.append(piece)
        size += len(piece)
    if group:
        yield group


@dataclass
class Contents:
    """What a dump holds, as far as it was read."""

    header: Header | None = None
    file_bytes: int = 0
    entries: int = 0
    data_bytes: int = 0
    """Bytes in all keys and values."""
    expiring: int = 0
    """Entries with an expiry."""
    expired: int = 0
    """Those of them whose time has come."""
    live_bytes: int = 0
    """`data_bytes` without theirs."""
    longest_key: int = 0
    longest_value: int = 0

    def add(self, entries: list[Set], now: int) -> None:
        keys, values, _, expiries = zip(*entries, strict=True)
        size = sum(map(len, keys)) + sum(map(len, values))
        self.entries += len(entries)
        self.data_bytes += size
        self.live_bytes += size
        self.longest_key = max(self.longest_key, *map(len, keys))
        self.longest_value = max(self.longest_value, *map(len, values))
        if any(expiries):
            self.expiring += sum(map(bool, expiries))
            gone = [entry for entry in entries if 0 < entry.expiry <= now]
            self.expired += len(gone)
            self.live_bytes -= sum(len(entry.key) + len(entry.value) for entry in gone)


def check(
    file: BinaryIO,
    path: str,
    contents: Contents,
    *,
    max_key: int = KEY_CEILING,
    max_value: int = VALUE_CEILING,
    progress: Progress | None = None,
) -> None:
    """Look at every byte of a dump, and fill `contents`, also when there is an error.

    CorruptError at the first damage; InvalidKeyError or TooLargeError for an entry that is
    larger than `max_key` and `max_value` say.
    """
    reader = Reader(file, path, max(ROOM, SET_SIZE + max_key + max_value))
    contents.header, contents.file_bytes = reader.header, reader.offset
    keys = _Keys()
    now = time.time_ns() // 1000
    for entries in records(reader):
        contents.add(entries, now)
        if contents.longest_key > max_key or contents.longest_value > max_value:
            _refuse(entries, path, max_key, max_value)
        keys.add(entries)
        contents.file_bytes = reader.offset
        if progress is not None:
            progress(reader.offset, reader.size)
    contents.file_bytes = reader.size
    suspects = keys.suspects()
    if suspects:
        _expect_once(Reader(file, path), suspects)


def live(reader: Reader) -> Iterator[list[Set]]:
    """The entries of a dump that have not expired, record by record."""
    now = time.time_ns() // 1000
    for entries in records(reader):
        yield [entry for entry in entries if not entry.expiry or entry.expiry > now]


def records(reader: Reader) -> Iterator[list[Set]]:
    """The entries of a dump, record by record; CorruptError where it is not what a dump is."""
    if reader.header.kind != DUMP:
        what = f"this is a {KINDS[reader.header.kind]}: expected a dump"
        raise CorruptError(reader.path, KIND_AT, what)
    count = 0
    for at, operations in reader:
        entries = [operation for operation in operations if isinstance(operation, Set)]
        if len(entries) < len(operations):
            _expect_end(reader, at, operations, count)
            return
        if len(entries) > 1 and reader.offset - at > ROOM + RECORD_SIZE:
            what = f"{len(entries)} entries in a record of more than {ROOM} bytes"
            raise CorruptError(reader.path, at, what)
        count += len(entries)
        yield entries
    what = f"the file ends after {count} entries without the record that counts them: it was cut"
    raise CorruptError(reader.path, reader.offset, what)


def _expect_end(reader: Reader, at: int, operations: list[Operation], count: int) -> None:
    match operations:
        case [End(said)]:
            if said != count:
                what = f"the end says {said} entries, and there are {count}"
                raise CorruptError(reader.path, at, what)
            if reader.offset != reader.size:
                what = f"{reader.size - reader.offset} bytes after the end"
                raise CorruptError(reader.path, reader.offset, what)
        case _:
            other = next(each for each in operations if not isinstance(each, Set))
            what = f"an operation of kind {kind(other)} among a dump's entries"
            raise CorruptError(reader.path, at, what)


def _refuse(entries: list[Set], path: str, max_key: int, max_value: int) -> None:
    for key, value, _, _ in entries:
        if len(key) > max_key:
            raise InvalidKeyError(
                f"{path} has a key of {len(key)} bytes, and the store takes at most {max_key}: "
                f"open it with a larger max_key: {shown(key)}"
            )
        if len(value) > max_value:
            raise TooLargeError(
                f"{path} has a value of {len(value)} bytes at key {shown(key)}, and the store "
                f"takes at most {max_value}: open it with a larger max_value"
            )


class _Keys:
    """Tells whether a key came twice, for 8 bytes a key.

    Keeps the keys' hashes, in parts, so that a set of all of them is never made. Python's
    hash of bytes is keyed and has 64 bits: two keys with one hash are rare, and looked at.
    """

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(_PARTS)]

    def add(self, entries: list[Set]) -> None:
        parts = self._parts
        for entry in entries:
            found = hash(entry.key)
            parts[found % _PARTS].append(found)

    def suspects(self) -> set[int]:
        """The hashes that came more than once."""
        return {
            each
            for part in self._parts
            if len(set(part)) != len(part)
            for each, times in Counter(part).items()
            if times > 1
        }


def _expect_once(reader: Reader, suspects: set[int]) -> None:
    seen: set[bytes] = set()
    at = reader.offset
    for entries in records(reader):
        for entry in entries:
            if hash(entry.key) in suspects:
                if entry.key in seen:
                    what = f"the key {shown(entry.key)} comes a second time"
                    raise CorruptError(reader.path, at, what)
                seen.add(entry.key)
        at = reader.offset
