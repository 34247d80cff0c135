"""The table in pure Python as whoever looks after its log sees it: the end of ``csrc/pylog.h``
and ``csrc/replay.c``.

What is called here comes in a turn, which `_log_lock` begins, but for `_log_synced`,
`_log_refuses` and what is about those who wait for the disk.
"""

from typing import TYPE_CHECKING

from dumbkv import _record as record
from dumbkv._arguments import NEVER
from dumbkv._cells import Cell
from dumbkv._recorder import Recorder
from dumbkv.errors import CorruptError, StoreFullError

if TYPE_CHECKING:
    import threading

    from dumbkv._cells import Cells
    from dumbkv._recorder import Turn

SWAP, FORGET, ALL = range(3)


class LogTable:
    """What a table has for its log."""

    __slots__ = ()

    _cells: "Cells"
    _lock: "threading.RLock | Turn"
    _recorder: Recorder | None

    @property
    def _recording(self) -> Recorder:
        assert self._recorder is not None
        return self._recorder

    def _log_file(self, descriptor: int, offset: int, end: int, seed: int, before: int) -> None:
        """Go on in another file."""
        self._recording.file(descriptor, offset, end, seed, before)

    def _log_extend(self, end: int) -> None:
        """There is room in the file up to here."""
        self._recording.end = end

    def _log_state(self) -> tuple[int, int, int]:
        """Where the next record goes, in the file and in all of the log, and how many the file
        has."""
        log = self._recording
        return log.offset, log.before + log.offset, log.records

    def _log_synced(self, offset: int) -> None:
        """The file is on the disk up to here."""
        self._recording.synced = offset

    def _log_refuses(self, on: bool) -> None:
        """Whether changes are refused from here on."""
        self._recording.refuses = on

    def _log_lock(self) -> None:
        self._lock.acquire()

    def _log_unlock(self) -> None:
        self._lock.release()

    def _log_append(self, body: bytes) -> int:
        """Write a record of these operations: where in the log it ends."""
        self._recording.expect_sound()
        self._recording.write(record.decode(body))
        return self._log_state()[1]

    def _log_keep(self, data: bytes, offset: int, seed: int) -> int:
        """Write again those sets in the whole records of some bytes that are still so: how many
        bytes those records are."""
        self._recording.expect_sound()  # what is undone would be so again
        kept: list[record.Operation] = []
        done = 0
        for size, operations in records(data, offset, seed, ""):
            kept += filter(None, map(self._still, operations))
            done += size
        if kept:
            self._recording.write(kept)
        return done

    def _still(self, operation: record.Operation) -> record.Operation | None:
        """A set that is still so, with the expiry it has by now."""
        if not isinstance(operation, record.Set):
            return None
        cell = self._cells.live(operation.key)
        if cell is None or cell.version != operation.version:
            return None
        return operation._replace(expiry=self._cells.expiry(cell.deadline))

    def _log_undo(self, what: int) -> None:
        """Begin another generation of changes, forget the one before, or undo all."""
        now, before = self._recording.undo
        if what == SWAP:
            self._recording.undo = [], before + now  # if the last request was interrupted
        elif what == FORGET:
            self._recording.undo = now, []
        else:
            for key, cell in reversed(before + now):
                self._put_back(key, cell)
            self._recording.undo = [], []

    def _put_back(self, key: bytes, cell: Cell | None) -> None:
        there = self._cells.live(key)
        if cell is not None:
            self._cells.restore(key, cell)
            self._cells.told(key)
        elif there is not None:
            self._cells.drop(key, there)

    def _last_version(self) -> int:
        return self._cells.last_version

    def _see_version(self, version: int) -> None:
        """The last version is at least this one."""
        self._cells.see_version(version)

    # Those who wait for the disk

    def _log_join(self, end: int) -> bool:
        """Wait until all before this position is on the disk, or never will be; True when the
        caller is to lead instead, until `_log_leave`."""
        return self._recording.waiting.join(end)

    def _log_gather(self, seconds: float) -> int:
        """Who leads waits for those who wrote with the last request, for so long at most: how
        many are there."""
        return self._recording.waiting.gather(seconds)

    def _log_reached(self, position: int, over: bool) -> None:
        """All before this position is on the disk, or nothing more will be."""
        self._recording.waiting.tell_all(position, over)

    def _log_leave(self) -> None:
        """Lead no more, if this thread does."""
        self._recording.waiting.leave()

    def _log_unwaited(self, on: bool) -> None:
        """A thread begins or ends not to wait: here `_log_wait` is always asked."""

    # What the log asks of the store

    def _log_room(self, need: int) -> None:
        """Make room for a record of so many bytes."""

    def _log_failed(self, number: int) -> None:
        """A write failed with this errno; raises."""

    def _log_wait(self, end: int) -> None:
        """Wait until all before this position is on the disk."""

    def _log_flush(self) -> None:
        """The same for all that is written, in a turn, if changes wait for the disk."""

    def _log_refuse(self, unused: int) -> None:
        """Say why nothing is written any more; raises."""

    # Reading the log, before anybody else has the table

    def _replay(self, data: bytes | memoryview, offset: int, seed: int, path: str) -> int:
        """Do again what whole records say: how many bytes those are. An entry that has expired
        stays until the next sweep, as a later record may give it another expiry."""
        done = 0
        for size, operations in records(data, offset, seed, path):
            for operation in operations:
                try:
                    self._redo(operation)
                except StoreFullError:
                    if self._recording.swept or not self._cells.sweep():
                        raise
                    self._recording.swept = True
                    self._redo(operation)
            done += size
        return done

    def _redo(self, operation: record.Operation) -> None:
        cells = self._cells
        match operation:
            case record.Set(key, value, version, expiry):
                cells.room_for(key, value)
                cells.restore(key, Cell(value, version, self._deadline_at(expiry)))
                cells.see_version(version)
            case record.Delete(key):
                cell = cells.any(key)
                if cell is not None:
                    cells.take(key, cell)
            case record.Expire(key, expiry):
                cell = cells.any(key)
                if cell is not None:
                    cells.restore(key, cell._replace(deadline=self._deadline_at(expiry)))
                elif self._recording.swept:  # it may be one of those that were removed
                    raise StoreFullError("what had expired was removed to make room")
            case record.Clear():
                cells.sweep()  # what had expired was not deleted, and does not count as that
                cells.clear()

    def _deadline_at(self, expiry: int) -> int:
        return expiry + self._cells.now() - self._cells.wall() if expiry else NEVER


def records(
    data: bytes | memoryview, offset: int, seed: int, path: str
) -> "list[tuple[int, list[record.Operation]]]":
    """The size and operations of each whole record in some bytes of a log, from `offset` on."""
    found = []
    at = 0
    whole = bytes(data)
    while len(whole) - at >= record.RECORD_SIZE:
        length = int.from_bytes(whole[at : at + 4], "little")
        end = at + record.RECORD_SIZE + length
        if not length:
            raise CorruptError(path, offset + at, "a record of 0 bytes: expected at least 1")
        if end > len(whole):
            break
        body = whole[at + record.RECORD_SIZE : end]
        if record.seal(seed, offset + at, body) != whole[at:end]:
            what = f"the checksum does not fit the record of {length} bytes"
            raise CorruptError(path, offset + at, what)
        found.append((end - at, record.decode(body, path, offset + at + record.RECORD_SIZE)))
        at = end
    return found
