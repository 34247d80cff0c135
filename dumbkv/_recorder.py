"""How the table in pure Python writes its log: the twin of ``csrc/log.c`` and ``csrc/pylog.h``.

A change is prepared, written and then applied, all with the table's lock held: here readers wait
for the write, though not for the disk. What was evicted goes into the next record's head, and
what was on the disk is told first in a record, as there.
"""

import os
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from dumbkv._record import BODY_CEILING, Delete, Operation, Synced, encode, encode_one, seal
from dumbkv._waiting import Waiting
from dumbkv.errors import TooLargeError

if TYPE_CHECKING:
    from dumbkv._cells import Cell


class Logging(Protocol):
    """What is asked of the table, which asks its store."""

    def _log_room(self, need: int) -> None: ...
    def _log_failed(self, number: int) -> None: ...
    def _log_wait(self, end: int) -> None: ...
    def _log_refuse(self, unused: int) -> None: ...


class Recorder:
    """Where the next record goes, and what waits to go into it."""

    def __init__(self, table: Logging, waits: bool) -> None:
        self._table = table
        self.waits = waits
        self.refuses = False
        self.evicted: list[bytes] = []
        """Keys that are in no record yet."""
        self.synced = 0
        """To tell of in the next record, 0 for nothing."""
        self.undo: tuple[list[tuple[bytes, Cell | None]], ...] = ([], [])
        """What keys were before changes: those of this generation, and of the one before."""
        self.swept = False
        """For memory, what had expired was removed while the log was read."""
        self.writing = False
        self.waiting = Waiting()
        self.file(-1, 0, 0, 0, 0)

    def file(self, descriptor: int, offset: int, end: int, seed: int, before: int) -> None:
        self._descriptor, self._seed = descriptor, seed
        self.offset, self.end, self.before = offset, end, before
        self.records = self.synced = 0

    def expect_ready(self) -> None:
        """Raise when nothing may be written now."""
        if self.writing:
            raise RuntimeError(
                "this thread is in the middle of a write to the store: a signal handler or "
                "finalizer that comes then cannot write to it"
            )
        self.expect_sound()

    def expect_sound(self) -> None:
        """Raise when nothing may be written any more."""
        if self.refuses:
            self._table._log_refuse(0)

    def write(self, operations: Iterable[Operation]) -> None:
        """Write a record of these, or raise; then nothing of it is in the file."""
        body = encode(operations)
        was, self.writing = self.writing, True
        try:
            while self.offset + len(record := self._record(body)) > self.end:
                self._table._log_room(len(record))
            self._write(record)
        finally:
            self.writing = was

    def _record(self, body: bytes) -> bytes:
        mark = encode_one(Synced(self.synced)) if self.synced else b""
        whole = mark + encode(map(Delete, self.evicted)) + body
        if len(whole) > BODY_CEILING:
            raise TooLargeError(
                "the change is larger than a record of the log: expected at most "
                f"{BODY_CEILING} bytes"
            )
        return seal(self._seed, self.offset, whole)

    def _write(self, record: bytes) -> None:
        done = 0
        try:
            while done < len(record):
                done += os.pwrite(self._descriptor, record[done:], self.offset + done)
        except OSError as error:
            self._table._log_failed(error.errno or 0)
        self.offset += len(record)
        self.records += 1
        self.evicted.clear()
        self.synced = 0


class Turn:
    """The table's lock of a table with a log: who gives it back waits for the disk, if changes
    do, for what was written in the meantime."""

    def __init__(self, lock: "threading.RLock | Turn", table: Logging, recorder: Recorder) -> None:
        self._lock, self._table, self._recorder = lock, table, recorder
        self._depth = 0
        self._end = 0

    def acquire(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def release(self) -> None:
        self._depth -= 1
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()
        if self._depth == 1:
            recorder = self._recorder
            self._end = recorder.before + recorder.offset

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        recorder = self._recorder
        end = recorder.before + recorder.offset
        written = recorder.waits and self._depth == 1 and kind is None and end != self._end
        self.release()
        if written:
            self._table._log_wait(end)
