"""Logs made by hand, for what no store would write; and what a log holds, by the plainest rules."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from dumbkv._logscan import read
from dumbkv._record import (
    LOG,
    Clear,
    Delete,
    Expire,
    Header,
    Operation,
    Set,
    Synced,
    Writer,
    closing,
    encode,
)
from dumbkv._recovery import LogFile, Survey, name, survey

CREATED = 1_800_000_000_000_000
Record = Sequence[Operation]


def log_file(
    directory: Path,
    number: int,
    records: Iterable[Record],
    *,
    closed: bool = True,
    room: int = 0,
    created: int | None = None,
) -> list[int]:
    """A file of the log, with so many zeros behind it; where its records end, the first at the
    header's end."""
    header = Header(LOG, CREATED + number if created is None else created, number.to_bytes(16))
    with (directory / name(number)).open("wb") as file:
        writer = Writer(file, header)
        ends = [writer.offset]
        for record in records:
            writer.write(encode(record))
            ends.append(writer.offset)
        if closed:
            file.write(closing(header.seed, writer.offset, len(ends) - 1))
        file.write(bytes(room))
    return ends


def small_records(number: int = 1) -> list[Record]:
    """Records of every kind, the later ones behind a mark."""
    key = b"key %d" % number
    return [
        [Set(key, b"value", 7), Set(b"both", b"or none", 8), Delete(b"absent")],
        [Set(b"gone", b"soon", 9, CREATED * 2)],
        [Clear(), Set(key, bytes(40), 10), Set(b"large", bytes(range(256)), 11)],
        [Expire(b"large", CREATED * 2)],
        [Delete(key), Set(key, b"again", 12)],
    ]


def marked(records: Sequence[Record], at: int) -> list[Record]:
    """The same with a mark in the record `at`, which says all before it was on the disk."""
    size = 40 + sum(8 + len(encode(record)) for record in records[:at])
    return [*records[:at], [Synced(size), *records[at]], *records[at + 1 :]]


def state_of(records: Iterable[Record]) -> dict[bytes, Set]:
    """What is there after these records."""
    state: dict[bytes, Set] = {}
    for record in records:
        for operation in record:
            match operation:
                case Set(key):
                    state[key] = operation
                case Delete(key):
                    state.pop(key, None)
                case Clear():
                    state.clear()
                case Expire(key, expiry) if key in state:
                    state[key] = state[key]._replace(expiry=expiry)
    return state


def records_of(file: LogFile) -> list[Record]:
    with open(file.path, "rb") as opened:
        return [record for _, record in read(opened, file.path, file.valid_end)]


def all_records(found: Survey) -> list[Record]:
    return [record for file in found.files for record in records_of(file)]


def look(directory: Path, *, check: bool = True) -> Survey:
    return survey(str(directory), check=check)
