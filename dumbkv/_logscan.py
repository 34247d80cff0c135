"""One file of a log: how far it is whole, and whether what is behind that was torn or damaged.

A log grows at its end, in room that was zeros before. When its process or its machine stops,
what was written last may be there in part, or not at all, or with holes; what had been synced
is there. So a record that does not fit is either the *torn* end of the file, and a matter of
course, or it is *damage*: bytes that were on the disk and are not what they were.

Records themselves tell which. After every sync the next record begins by saying up to where
the file was on the disk. If a whole record behind the first bad one says so of a place behind
that one, it is damage, and nothing of the file may be taken for what it was. If no record does,
what does not fit was never known to be on the disk.

To look for such a record every offset counts, because the length of the bad one cannot be
believed. That is fast enough, since few places look like the begin of a record.
"""

import errno
import os
import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from dumbkv._record import (
    CLOSING_SIZE,
    HEADER_SIZE,
    KIND_AT,
    KINDS,
    LOG,
    RECORD_SIZE,
    End,
    Header,
    Operation,
    Reader,
    Synced,
    closing,
    decode_header,
    encode_one,
    kind,
)
from dumbkv.errors import CorruptError

_HELD = 64 * 1024
"""Of a longer record only so much of its body is held, and all of it checked."""

_MARK = struct.Struct("<BQ")
_CLOSED = struct.Struct("<BQBQ")
_WINDOW = 1024 * 1024
_FIRST = 32
"""The head of a record and the lengths of its first operation are within so many bytes."""

_LIMIT = 64
"""A search reads at most so many times what it searches: more takes a forged file."""


class Cut(NamedTuple):
    """What stands behind the last whole record and was not known to be on the disk."""

    size: int
    """Bytes to the end of the file."""
    whole: int
    """How many whole records are among them, behind one that is not."""


class Scan(NamedTuple):
    """How far a file of a log is whole."""

    header: Header
    valid_end: int
    """Where the last whole record ends; of a closed log, the record that closes it."""
    mark: int
    """All before this was on the disk, as the file itself says."""
    records: int
    """Without the one that closes it."""
    closed: bool
    size: int
    """Bytes in the file; those behind `valid_end` are zeros, or what `torn` says."""
    torn: Cut | None = None


def header_of(file: BinaryIO, path: str) -> Header:
    """The header of a log; CorruptError for anything else."""
    file.seek(0)
    header = decode_header(file.read(HEADER_SIZE), path)
    if header.kind != LOG:
        raise CorruptError(path, KIND_AT, f"this is a {KINDS[header.kind]}: expected a log")
    return header


def closed(file: BinaryIO, path: str) -> Scan | None:
    """A log of which the last bytes are the record that closes it, by a look at these and at
    its header; None for one that ends otherwise."""
    header = header_of(file, path)
    size = os.fstat(file.fileno()).st_size
    at = size - CLOSING_SIZE
    if at < HEADER_SIZE:
        return None
    file.seek(at)
    last = file.read(CLOSING_SIZE)
    if len(last) < CLOSING_SIZE:
        return None
    records = _CLOSED.unpack_from(last, RECORD_SIZE)[3]
    if last != closing(header.seed, at, records):
        return None
    return Scan(header, size, at, records, closed=True, size=size)


def scan(file: BinaryIO, path: str) -> Scan:
    """Read a log to the end of what is whole; CorruptError for damage."""
    header_of(file, path)
    reader = Reader(file, path, most=_HELD)
    mark = records = 0
    while reader.offset < reader.size:
        at = reader.offset
        try:
            begin = reader.skim()
        except CorruptError as error:
            torn = _torn(file, reader, error)
            return Scan(reader.header, at, mark, records, False, reader.size, torn)
        if begin[0] == 6:
            mark = _mark(begin, at, path)
            if _closes(begin, reader.offset - at):
                _expect_end(file, reader, at, begin, records)
                return Scan(reader.header, reader.offset, mark, records, True, reader.size)
        records += 1
    return Scan(reader.header, reader.offset, mark, records, False, reader.size)


def read(file: BinaryIO, path: str, end: int) -> Iterator[tuple[int, list[Operation]]]:
    """Where each record of a log begins that is whole up to `end`, and its operations without
    the marks and the end; CorruptError for what is not allowed in a log."""
    header_of(file, path)
    for records, (at, operations) in enumerate(Reader(file, path, end=end)):
        first, changes = operations[0], operations
        if isinstance(first, Synced):
            _mark(encode_one(first), at, path)
            changes = operations[1:]
        match changes:
            case [End(said)] if operations[0] == Synced(at) and said == records:
                if at + CLOSING_SIZE != end:
                    raise CorruptError(path, at + CLOSING_SIZE, "records after the end")
                return
            case []:
                raise CorruptError(path, at, "a record of no change")
        for each in changes:
            if isinstance(each, End | Synced):
                what = f"an operation of kind {kind(each)} among the changes"
                raise CorruptError(path, at, what)
        yield at, changes


def _mark(begin: bytes, at: int, path: str) -> int:
    if len(begin) >= _MARK.size:
        _, mark = _MARK.unpack_from(begin)
        if HEADER_SIZE <= mark <= at:
            return int(mark)
    raise CorruptError(path, at, "a record says that what comes behind it was on the disk")


def _closes(begin: bytes, size: int) -> bool:
    return size == CLOSING_SIZE and begin[_MARK.size] == 5


def _expect_end(file: BinaryIO, reader: Reader, at: int, begin: bytes, records: int) -> None:
    _, mark, _, said = _CLOSED.unpack(begin)
    if mark != at:
        what = f"the end says that {mark} bytes were on the disk, and {at} are before it"
        raise CorruptError(reader.path, at, what)
    if said != records:
        what = f"the end says {said} records, and there are {records}"
        raise CorruptError(reader.path, at, what)
    behind = nonzero(file, reader.offset)
    if behind is not None:
        raise CorruptError(reader.path, behind, "bytes after the end")


def _torn(file: BinaryIO, reader: Reader, error: CorruptError) -> Cut | None:
    """What is behind the last whole record: nothing but zeros, or a torn end; raises the error
    where it is damage."""
    at = reader.offset
    if nonzero(file, at) is None:
        return None
    whole = 0
    for found, mark in whole_behind(file, reader.header, at, reader.size, error):
        if mark > at:
            what = (
                f"{error.what}: the record at byte {found} shows that this was on the disk, so "
                "it was damaged since"
            )
            raise CorruptError(error.path, at, what)
        whole += 1
    return Cut(reader.size - at, whole)


def nonzero(file: BinaryIO, at: int) -> int | None:
    """Where a file has its first byte from `at` on that is not zero."""
    found = next(_pieces(file, at, os.fstat(file.fileno()).st_size), None)
    return None if found is None else found[0]


def whole_behind(
    file: BinaryIO, header: Header, at: int, size: int, error: CorruptError
) -> Iterator[tuple[int, int]]:
    """Where whole records begin behind a bad one at `at`, and the mark of each or 0.

    Raises the error when this takes too long, as it does in no file that a store wrote.
    """
    left = _LIMIT * (size - at) + _WINDOW
    seed, after = header.seed, at + 1
    for found, length, mark, expected in _candidates(file, at + 1, size):
        if found < after:
            continue
        left -= length
        if left < 0:
            raise error
        seen = zlib.crc32(struct.pack("<QI", found, length), seed)
        for _, piece in _read(file, found + RECORD_SIZE, found + RECORD_SIZE + length):
            seen = zlib.crc32(piece, seen)
        if seen == expected:
            yield found, mark
            after = found + RECORD_SIZE + length


def _candidates(file: BinaryIO, at: int, size: int) -> Iterator[tuple[int, int, int, int]]:
    """Places that look like the head of a record: where, its length, mark and checksum."""
    highest = re.escape(bytes([min(255, (size - at) >> 24)]))
    # Little-endian: the last byte of the length, the checksum, and the first operation's kind.
    likely = re.compile(rb"(?s)(?=.{3}[\x00-%b].{4}[\x01-\x06])" % highest)
    for base, window in _pieces(file, at, size, more=_FIRST):
        for match in likely.finditer(window, 0, min(len(window), _WINDOW + RECORD_SIZE)):
            begin = match.start()
            length, expected = struct.unpack_from("<II", window, begin)
            offset = base + begin
            if 0 < length <= size - offset - RECORD_SIZE and begin < _WINDOW:
                body = window[begin + RECORD_SIZE : begin + _FIRST]
                mark = _plausible(body, length, offset)
                if mark is not None:
                    yield offset, length, mark, expected


def _plausible(body: bytes, length: int, at: int) -> int | None:
    """The mark of a record at `at` whose body begins like this, 0 for none; None where this is
    the begin of no body of this length."""
    first = body[0]
    try:
        if first == 1:
            key, value = struct.unpack_from("<HI", body, 1)
            return 0 if key and 23 + key + value <= length else None
        if first in (2, 4):
            (key,) = struct.unpack_from("<H", body, 1)
            return 0 if key and (3 if first == 2 else 11) + key <= length else None
        if first == 3:
            return 0 if length == 1 or 1 <= body[1] <= 4 else None
        if first == 5:
            return 0 if length == _MARK.size else None
        _, mark = _MARK.unpack_from(body)
        return mark if HEADER_SIZE <= mark <= at and _MARK.size < length else None
    except (struct.error, IndexError):
        return None


def _pieces(file: BinaryIO, at: int, end: int, more: int = 0) -> Iterator[tuple[int, bytes]]:
    """The file from its first byte at or after `at` that is not zero, in windows: where each
    begins, and its bytes with `more` of those behind it. Windows of zeros are left out, and
    what the file system says is a hole is not even read."""
    while at < end and (data := _data_from(file, at)) is not None:
        # A record's length may begin with zeros, three at most.
        at = max(at, data - 3) if more else data
        window = os.pread(file.fileno(), min(_WINDOW + more, end - at), at)
        if not window:
            return
        zeros = len(window) - len(window.lstrip(b"\0"))
        if zeros < len(window):
            skipped = max(0, zeros - 3) if more else zeros
            if skipped:
                at += skipped
                continue
            yield at, window
        at += _WINDOW


def _data_from(file: BinaryIO, at: int) -> int | None:
    """Where data begins at or after `at`, as far as the file system can tell; None for no more."""
    descriptor = file.fileno()
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        return max(at, os.lseek(descriptor, at, os.SEEK_DATA))
    except OSError as error:
        return None if error.errno == errno.ENXIO else at
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)  # where the file object believes it is


def _read(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at < end and (piece := os.pread(file.fileno(), min(_WINDOW, end - at), at)):
        yield at, piece
        at += len(piece)
