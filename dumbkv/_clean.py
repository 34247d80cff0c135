"""The log made shorter, from its old end.

What is still so of the oldest file is appended again, a slice at a time, beside running writes;
then that is brought to the disk, and then the file goes. So nothing but one file is ever there
twice, and what was only ever added to is not written again.

A thread of the store begins once the log is `BEGIN` times what its entries need, and goes on
until it is `END` times that. Writers may be faster: whoever makes room in a log of `PAY` times
does some slices first, `SHARE` times as much as it makes room for. So a log whose old half is all
needed and whose young half is all superseded is written anew before it has grown much.

All of it is done by a writer whose turn it is, a slice a turn.
"""

import os
import time
from collections.abc import Iterator
from typing import Protocol

from dumbkv import _log
from dumbkv._files import reading, sync_directory
from dumbkv._record import HEADER_SIZE, RECORD_SIZE, decode_header
from dumbkv.errors import CorruptError

BEGIN, END, PAY = 1.8, 1.6, 1.9
SHARE = 8
FLOOR = 2 << 20
"""Bytes that a log may always have beside."""
SLICE = 256 << 10
REST = 5
"""A thread that cleans rests this many times longer than it works."""


class Table(_log.Table, Protocol):
    """What is asked of the table here."""

    def _log_keep(self, data: bytes, offset: int, seed: int, /) -> int: ...


class Cleaner:
    """Cleans one log."""

    def __init__(self, log: _log.Log) -> None:
        self._log = log
        self._slices: Iterator[int] = iter(())
        self._oldest = 0
        self._busy = False  # what is appended may need room itself
        self.pinned = 0
        """How many want the files to stay as they are."""
        self.failed = False
        """Whether it was given up: the disk would not, or a file is damaged."""

    def share(self, table: Table) -> float:
        """How many times what is needed the log has, without the floor."""
        entries, data = table._counters()[:2]
        return max(0, self._log.size - FLOOR) / max(1, _log.needed(entries, data))

    def pay(self, table: Table) -> None:
        """What a writer does in its turn, unless it cleans already and that needs room."""
        left = SHARE * _log.LEAST_ROOM
        while left > 0 and not self._busy and (done := self.step(table)):
            left -= done

    def step(self, table: Table, before: int | None = None) -> int:
        """Do a slice of the oldest file, if that is older than file `before`, or than the newest:
        how many bytes of it, 0 when there is no such file."""
        oldest = min(self._log.sizes)
        if self.failed or self.pinned or oldest >= (self._log.newest if before is None else before):
            return 0
        if oldest != self._oldest:
            self._slices, self._oldest = self._file(table, oldest), oldest
        self._busy = True
        try:
            return next(self._slices)
        except BaseException:
            self._oldest = 0  # begin it anew: to append twice does no harm
            raise
        finally:
            self._busy = False

    def _file(self, table: Table, number: int) -> Iterator[int]:
        path = self._log.path(number)
        with reading(path) as file:
            seed = decode_header(file.read(HEADER_SIZE), path).seed
            at, end = HEADER_SIZE, self._log.sizes[number]
            size = SLICE
            while at < end:
                data = os.pread(file.fileno(), min(size, end - at), at)
                done = table._log_keep(data, at, seed)
                if not done and len(data) < size:
                    raise CorruptError(path, at, "the file ends in the middle of a record")
                size = SLICE if done else RECORD_SIZE + int.from_bytes(data[:4], "little")
                at += done
                if at < end:
                    yield done or 1
        self._log.syncs.in_turn(table)
        os.unlink(path)
        del self._log.sizes[number]
        try:
            sync_directory(self._log.directory)
        except OSError as error:
            self._log.syncs.poison(table, error)
        yield SLICE

    def clean(self, table: Table, before: int) -> None:
        """Do all files older than `before`, with rests between slices."""
        done = 1
        while done:
            began = time.perf_counter()
            table._log_lock()
            try:
                done = self.step(table, before)
            finally:
                table._log_unlock()
            time.sleep((time.perf_counter() - began) * REST)
