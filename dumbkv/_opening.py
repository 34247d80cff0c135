"""A data directory made ready for a store, and what is in it put into the store's table."""

import errno
import logging
import os
import stat
from typing import Protocol

from dumbkv import _clean
from dumbkv._files import reading, sync_directory
from dumbkv._log import Log
from dumbkv._record import HEADER_SIZE, RECORD_SIZE
from dumbkv._recovery import LogFile, Survey, mend, survey
from dumbkv.errors import CorruptError, StoreFullError

PIECE = 4 << 20
"""How much of a file is read at a time, unless a record is larger."""

logger = logging.getLogger("dumbkv")


class Table(_clean.Table, Protocol):
    """What is asked of the table here."""

    def _see_version(self, version: int, /) -> None: ...
    def _replay(self, data: memoryview, offset: int, seed: int, path: str, /) -> int: ...
    def sweep(self) -> int: ...


def make_directory(path: str) -> None:
    """See to it that `path` is a directory, one that nobody else may look into if it is new."""
    try:
        os.mkdir(path, 0o700)
        sync_directory(os.path.dirname(os.path.abspath(path)))
    except FileExistsError:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            where = os.path.realpath(path)
            what = f"a symbolic link: give what it points to, {where!r}"
            raise OSError(errno.ELOOP, what, path) from None
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path) from None


def recover(table: Table, directory: str, room: int | None) -> tuple[Log, int]:
    """Put the directory in order and all entries into the table: its log, with a new file begun,
    and how many bytes did not count because a crash had cut them."""
    found = survey(directory)
    cut = found.cut_bytes
    if cut:
        logger.warning(
            "%s: the last %d bytes of the log were cut short by a crash and do not count",
            found.files[-1].path,
            cut,
        )
    try:
        load(table, found)  # before anything is changed: it may be refused
    except StoreFullError as error:
        raise StoreFullError(
            f"{directory} has more entries than max_bytes={room} has room for: {error}: raise "
            "max_bytes or open it with eviction='lru'"
        ) from None
    found = mend(found)
    log = Log(directory, {file.number: os.stat(file.path).st_size for file in found.files})
    log.begin_file(table)
    return log, cut


def load(table: Table, found: Survey) -> None:
    """Put into a table what is in the log; it need not be the log's own table."""
    for file in found.files:
        table._see_version(file.header.created)
        _load_file(table, file)
    table.sweep()


def _load_file(table: Table, found: LogFile) -> None:
    buffer = bytearray(min(PIECE, found.valid_end))
    at, filled = HEADER_SIZE, 0
    with reading(found.path) as file:
        file.seek(HEADER_SIZE)
        while at < found.valid_end:
            left = found.valid_end - at - filled
            view = memoryview(buffer)
            more = os.readv(file.fileno(), [view[filled : filled + left]])
            filled += more
            done = table._replay(view[:filled], at, found.header.seed, found.path)
            if not done and filled == len(buffer):
                buffer = buffer + bytes(_missing(buffer, at, found))
                continue
            if not done and not more:
                what = "the file ends in the middle of a record"
                raise CorruptError(found.path, at, what)
            view[: filled - done] = view[done:filled]
            at, filled = at + done, filled - done


def _missing(begin: bytearray, at: int, found: LogFile) -> int:
    """How much longer than `begin` the record is that it begins."""
    length = int.from_bytes(begin[:4], "little")
    if at + RECORD_SIZE + length > found.valid_end:
        left = found.valid_end - at - RECORD_SIZE
        what = f"a record of {length} bytes, and only {left} are left in the file"
        raise CorruptError(found.path, at, what)
    return RECORD_SIZE + length - len(begin)
