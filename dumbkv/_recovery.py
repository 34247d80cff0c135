"""What is found in a data directory, and how it is put in order before a store goes on in it.

A data directory holds the files of one log, numbered without a gap. Only the newest is written
to; the ones before it were closed: their last record says that they end there, and it was on
the disk before the next file was begun. Files go away from the old end only, one at a time.

So a process or a machine may stop at any moment and leave no more than this:

- the newest file not closed, with a torn end (:mod:`dumbkv._logscan`),
- the newest file without its header, when it was just being made,
- an oldest file that had already been taken away.

:func:`survey` tells these from everything else, which is damage, and changes nothing.
:func:`mend` makes of them what a store may go on from: all files closed. It can be stopped at
any step and begun again: each step leaves one of the states above.
"""

import contextlib
import itertools
import os
import re
from typing import BinaryIO, NamedTuple

from dumbkv._files import reading, replacing, sync_directory, write_all
from dumbkv._logscan import Cut, Scan, closed, nonzero, scan
from dumbkv._record import CLOSING_SIZE, HEADER_SIZE, MAGIC, Header, closing
from dumbkv.errors import CorruptError

_NAME = re.compile(r"[0-9]{8,}\.log")
_PIECE = 1024 * 1024
_CREATED_AT = 12
_NUMBER_AT = 20

_datasync = getattr(os, "fdatasync", os.fsync)


class LogFile(NamedTuple):
    """A file of the log, as far as it is whole."""

    number: int
    path: str
    header: Header
    valid_end: int
    """Where the last whole record ends; of a closed file, the record that closes it."""
    closed: bool
    records: int
    """Without the one that closes it."""
    mark: int
    """All before this was on the disk, as the file itself says."""
    torn: Cut | None = None
    """What is behind `valid_end` and is neither whole nor zeros."""


class Survey(NamedTuple):
    """What is in a data directory."""

    directory: str
    files: tuple[LogFile, ...]
    """From the oldest to the newest. All but the last one are closed."""
    headless: str | None = None
    """A newest file that was not yet one: without a header, and empty."""

    @property
    def next_number(self) -> int:
        """What the next file is called by."""
        return self.files[-1].number + 1 if self.files else 1

    @property
    def cut_bytes(self) -> int:
        """How much of the end does not count, because it was torn."""
        return sum(file.torn.size for file in self.files if file.torn is not None)


def name(number: int) -> str:
    """What a file of the log is called.

    >>> name(7)
    '00000007.log'
    """
    return f"{number:08}.log"


def numbers(directory: str) -> list[int]:
    """Those of the log's files in a directory, in order. All other names are nobody's business."""
    found = [each for each in os.listdir(directory) if _NAME.fullmatch(each)]
    return sorted(int(each[:-4]) for each in found if each == name(int(each[:-4])) != name(0))


def survey(directory: str, *, check: bool = False) -> Survey:
    """What is in a data directory; CorruptError for what no crash can have left there.

    Of closed files only header and end are looked at, or with `check` every record; of another
    one all of it. OSError for what the system refuses and for a log that is not a file.
    """
    found = numbers(directory)
    _expect_all(directory, found)
    files: list[LogFile] = []
    for number in found:
        path = os.path.join(directory, name(number))
        with reading(path) as file:
            newest = number == found[-1]
            if newest and _headless(file) and (files or number == 1):
                return Survey(directory, tuple(files), path)
            each = _looked_at(file, path, number, check)
        if not newest and not each.closed:
            what = f"the file is not closed, and {name(number + 1)} follows it"
            raise CorruptError(path, each.valid_end, what)
        if files:
            _expect_later(each, files[-1])
        files.append(each)
    return Survey(directory, tuple(files))


def _expect_all(directory: str, found: list[int]) -> None:
    for before, after in itertools.pairwise(found):
        if after != before + 1:
            what = f"the file is missing: there are {name(before)} and {name(after)}"
            raise CorruptError(os.path.join(directory, name(before + 1)), 0, what)


def _headless(file: BinaryIO) -> bool:
    """Whether a file can be one that was just being made: it has a part of a header or none, and
    nothing behind."""
    begin = file.read(HEADER_SIZE).rstrip(b"\0")
    magic = begin[: len(MAGIC)]
    return (
        len(begin) < HEADER_SIZE
        and magic == MAGIC[: len(magic)]
        and nonzero(file, HEADER_SIZE) is None
    )


def _looked_at(file: BinaryIO, path: str, number: int, check: bool) -> LogFile:
    seen: Scan | None = None if check else closed(file, path)
    if seen is None:
        seen = scan(file, path)
    return LogFile(
        number, path, seen.header, seen.valid_end, seen.closed, seen.records, seen.mark, seen.torn
    )


def _expect_later(file: LogFile, before: LogFile) -> None:
    if file.header.number == before.header.number:
        what = f"the file has the same random number as {name(before.number)}: it is a copy"
        raise CorruptError(file.path, _NUMBER_AT, what)
    if file.header.created < before.header.created:
        what = f"the file is older than {name(before.number)}, which should be the older one"
        raise CorruptError(file.path, _CREATED_AT, what)


def mend(found: Survey) -> Survey:
    """Close what a crash left open, and take away what was not yet a file; what is then there.

    A torn end is cut off. If there are whole records in it, it is first saved beside the file,
    under its name and ``.cut``.
    """
    if found.headless is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(found.headless)
    files = found.files
    if files:
        files = (*files[:-1], _close(files[-1]))
    sync_directory(found.directory)
    return found._replace(files=files, headless=None)


def _close(file: LogFile) -> LogFile:
    if file.torn is not None and file.torn.whole:
        _save(file)
    descriptor = os.open(file.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _rewrite(descriptor, file.mark, file.valid_end)
        os.ftruncate(descriptor, file.valid_end)
        _datasync(descriptor)
        if file.closed:
            return file
        at = file.valid_end
        write_all(descriptor, closing(file.header.seed, at, file.records), at)
        _datasync(descriptor)
    finally:
        os.close(descriptor)
    return file._replace(valid_end=at + CLOSING_SIZE, closed=True, mark=at, torn=None)


def _save(file: LogFile) -> None:
    with reading(file.path) as torn, replacing(file.path + ".cut") as saved:
        torn.seek(file.valid_end)
        while piece := torn.read(_PIECE):
            saved.write(piece)


def _rewrite(descriptor: int, at: int, end: int) -> None:
    """Write again what stands there and may not be on the disk.

    A sync that failed leaves the system with pages that it takes for written and that are not,
    so that another sync would do nothing for them.
    """
    while at < end:
        piece = os.pread(descriptor, min(_PIECE, end - at), at)
        if not piece:
            raise OSError(f"the file has become shorter than {end} bytes while it was read")
        write_all(descriptor, piece, at)
        at += len(piece)
