"""What can still be read of files that are damaged, and what has to be left out.

Every record has its own checksum, so those around a damaged place are as good as ever. What a
record said that is gone cannot be known: a key that was changed there has the value from
before, and a key that was deleted there is back. Whoever asks for this is told which bytes.
"""

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from dumbkv._dumpfile import Progress
from dumbkv._files import reading, sync_directory
from dumbkv._logscan import nonzero, whole_behind
from dumbkv._record import (
    DUMP,
    HEADER_SIZE,
    LOG,
    RECORD_SIZE,
    End,
    Header,
    Operation,
    Reader,
    Set,
    Synced,
    Writer,
    closing,
    decode,
    decode_header,
)
from dumbkv._recovery import name, numbers
from dumbkv.errors import CorruptError


class Gap(NamedTuple):
    """Bytes that cannot be read."""

    path: str
    offset: int
    size: int
    """0 for a file that is missing as a whole."""
    what: str


@dataclass
class Salvaged:
    """What was read so far of a file or of a directory's files."""

    files: int = 0
    records: int = 0
    gaps: list[Gap] = field(default_factory=list)


class Log(NamedTuple):
    """A file of a log, as far as it can be read."""

    path: str
    header: Header
    records: Iterator[bytes]
    """The bodies in order, without marks and end: operations that belong together."""


def logs(directory: str, found: Salvaged, progress: Progress | None = None) -> Iterator[Log]:
    """The files of a data directory in order; each is to be read before the next."""
    every = numbers(directory)
    paths = [os.path.join(directory, name(number)) for number in every]
    missing = {after: range(before + 1, after) for before, after in pairwise(every)}
    total = sum(os.lstat(path).st_size for path in paths)
    done = 0
    for number, path in zip(every, paths, strict=True):
        for absent in missing.get(number, ()):
            what = "the file is missing"
            found.gaps.append(Gap(os.path.join(directory, name(absent)), 0, 0, what))
        with reading(path) as file:
            header = _header(file, path, LOG, found)
            if header is not None:
                found.files += 1
                yield Log(path, header, _changes(file, path, header, found))
            done += os.fstat(file.fileno()).st_size
        if progress is not None:
            progress(done, total)


def entries(path: str, found: Salvaged, progress: Progress | None = None) -> Iterator[Set]:
    """The entries of a dump; of a key that comes twice the first."""
    seen: set[bytes] = set()
    with reading(path) as file:
        header = _header(file, path, DUMP, found)
        if header is None:
            return
        found.files += 1
        size = os.fstat(file.fileno()).st_size
        ended = False
        for at, _, operations in _records(file, path, header, found):
            for each in operations:
                if isinstance(each, Set) and each.key not in seen:
                    seen.add(each.key)
                    yield each
            ended = isinstance(operations[-1], End)
            if progress is not None:
                progress(at, size)
        if not ended and not found.gaps:
            what = "the record that counts the entries is missing"
            found.gaps.append(Gap(path, size, 0, what))


def _changes(file: BinaryIO, path: str, header: Header, found: Salvaged) -> Iterator[bytes]:
    for _, body, operations in _records(file, path, header, found):
        mark = 9 if isinstance(operations[0], Synced) else 0
        if not isinstance(operations[-1], End) and len(body) > mark:
            found.records += 1
            yield body[mark:]


def _records(
    file: BinaryIO, path: str, header: Header, found: Salvaged
) -> Iterator[tuple[int, bytes, list[Operation]]]:
    reader = Reader(file, path, header=header)
    while reader.offset < reader.size:
        at = reader.offset
        try:
            body = reader.skim()
            yield at, body, decode(body, path, at + RECORD_SIZE)
        except CorruptError as error:
            if reader.offset == at:
                if nonzero(file, at) is None:
                    return
                reader.go(_next(file, reader, error))
            found.gaps.append(Gap(path, at, reader.offset - at, error.what))


def _next(file: BinaryIO, reader: Reader, error: CorruptError) -> int:
    """Where the next whole record begins, or the end of the file."""
    try:
        behind = whole_behind(file, reader.header, reader.offset, reader.size, error)
        at, _ = next(behind, (reader.size, 0))
    except CorruptError:
        return reader.size
    return at


def _header(file: BinaryIO, path: str, kind: int, found: Salvaged) -> Header | None:
    """The header, also when one bit of it is wrong: without it no checksum of a record fits."""
    begin = file.read(HEADER_SIZE)
    try:
        header = decode_header(begin, path)
    except CorruptError as error:
        size = os.fstat(file.fileno()).st_size
        mended = _one_bit_off(begin, path)
        if mended is None:
            found.gaps.append(Gap(path, 0, size, f"{error.what}: nothing of it can be read"))
            return None
        header = mended
        found.gaps.append(Gap(path, 0, 0, "a wrong bit in the header was put right"))
    if header.kind != kind:
        size = os.fstat(file.fileno()).st_size
        found.gaps.append(Gap(path, 0, size, f"a file of kind {header.kind}: expected {kind}"))
        return None
    return header


def _one_bit_off(begin: bytes, path: str) -> Header | None:
    for bit in range(len(begin) * 8):
        changed = bytearray(begin)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            return decode_header(bytes(changed), path)
        except CorruptError:
            continue
    return None


def write_logs(path: str, found: Iterable[Log]) -> None:
    """Make a new data directory at `path` of these files; it is there whole or not at all."""
    parent, base = os.path.split(os.path.abspath(path))
    other = os.path.join(parent, f".{base}.{secrets.token_hex(4)}.tmp")
    os.mkdir(other, 0o700)
    try:
        created = 0
        for number, log in enumerate(found, 1):
            created = max(created, log.header.created)
            _write_log(os.path.join(other, name(number)), created, log.records)
        sync_directory(other)
        os.rename(other, path)
    except BaseException:
        shutil.rmtree(other, ignore_errors=True)
        raise
    sync_directory(parent)


def _write_log(path: str, created: int, bodies: Iterable[bytes]) -> None:
    header = Header(LOG, created, os.urandom(16))
    with open(path, "xb", opener=_new) as file:
        writer = Writer(file, header)
        records = 0
        for body in bodies:
            writer.write(body)
            records += 1
        file.flush()
        os.fsync(file.fileno())
        file.write(closing(header.seed, writer.offset, records))
        file.flush()
        os.fsync(file.fileno())


def _new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
