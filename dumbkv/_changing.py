"""How the table in pure Python makes its changes: one or many as one, and first in the log.

All of it is called with the lock held.
"""

from collections.abc import Iterable
from typing import NamedTuple

from dumbkv import _record as record
from dumbkv._arguments import DROP, LOOK, NEVER, PUT
from dumbkv._cells import Cell
from dumbkv._logtable import LogTable
from dumbkv._recorder import Recorder
from dumbkv.errors import ClosedError

MOVE = 4
"""Beside what a batch does with a key: give it another deadline and leave the rest."""


class Change(NamedTuple):
    """What is to become of one key."""

    act: int
    key: bytes
    value: bytes = b""
    deadline: int = NEVER


class Changing(LogTable):
    """A table's state, and the steps that its methods are made of."""

    __slots__ = ("_awake", "_cells", "_closed", "_default_ttl", "_lock", "_recorder")

    _awake: bool
    _closed: bool
    _default_ttl: int | None

    def _news(self) -> None:
        """Called when something happened that somebody waits for; a store tells them."""

    def _wake(self) -> None:
        """Called when the table comes to hold a deadline; a store starts its sweeper then."""

    def _open(self) -> None:
        if self._closed:
            raise ClosedError("the store is closed")

    def _default_deadline(self) -> int:
        return NEVER if self._default_ttl is None else self._deadline(self._default_ttl, None)

    def _deadline(self, span: int | None, epoch: int | None) -> int:
        cells = self._cells
        if epoch is not None:
            return NEVER if epoch == NEVER else max(1, cells.now() + epoch - cells.wall())
        if span is None:
            return self._default_deadline()
        return NEVER if span == NEVER else cells.now() + span

    def _read(self, key: bytes) -> Cell | None:
        self._open()
        return self._cells.read(key)

    def _live(self, key: bytes) -> Cell | None:
        self._open()
        return self._cells.live(key)

    def _put(self, key: bytes, value: bytes, deadline: int) -> int:
        self._cells.room_for(key, value)
        return self._change([Change(PUT, key, value, deadline)])[0]

    def _drop(self, key: bytes) -> None:
        self._change([Change(DROP, key)])

    def _change(self, changes: Iterable[Change]) -> list[int]:
        """Do these, for which there is room, as one: the log has them first, if there is one.
        Gives the versions of what was written and, of what was removed, whether it was there."""
        wanted = list(changes)
        if self._recorder is None:
            done = [self._apply(each, *self._begin(each)) for each in wanted]
        else:
            self._recorder.expect_ready()
            last = self._cells.last_version
            try:
                begun = [self._begin(each) for each in wanted]
                self._record(self._recorder, wanted, begun)
            except BaseException:
                self._cells.last_version = last  # versions that nobody has seen may come again
                raise
            done = [
                self._apply(each, self._cells.any(each.key), version)
                for each, (_, version) in zip(wanted, begun, strict=True)
            ]
        self._see_to(min((each.deadline for each in wanted if each.act != LOOK), default=NEVER))
        self._tell()
        return done

    def _begin(self, change: Change) -> tuple[Cell | None, int]:
        """What there is, and the version of the change."""
        cell = self._live(change.key)
        if change.act == PUT:
            return cell, self._cells.next_version()
        return cell, self._cells.next_if_watched() if change.act == DROP and cell else 0

    def _apply(self, change: Change, cell: Cell | None, version: int) -> int:
        key = change.key
        if change.act == PUT:
            self._cells.put(key, Cell(change.value, version, change.deadline))
        elif change.act == DROP and cell is not None:
            self._cells.drop(key, cell, version=version)
        elif change.act == MOVE and cell is not None:
            self._cells.restore(key, cell._replace(deadline=change.deadline))
        return int(cell is not None) if change.act == DROP else version

    def _record(
        self, recorder: Recorder, changes: list[Change], begun: list[tuple[Cell | None, int]]
    ) -> None:
        """Write the changes to the log."""
        operations: list[record.Operation] = []
        for each, (cell, version) in zip(changes, begun, strict=True):
            if each.act == PUT:
                expiry = self._cells.expiry(each.deadline)
                operations.append(record.Set(each.key, each.value, version, expiry))
            elif each.act == MOVE:
                operations.append(record.Expire(each.key, self._cells.expiry(each.deadline)))
            elif each.act == DROP and cell is not None:
                operations.append(record.Delete(each.key))
        if operations:
            recorder.write(operations)
        if operations and recorder.waits:
            kept = zip(changes, begun, strict=True)
            recorder.undo[0].extend(
                (each.key, cell) for each, (cell, _) in kept if each.act != LOOK
            )

    def _tell(self) -> None:
        if self._cells.news.due():
            self._news()

    def _move(self, key: bytes, cell: Cell, deadline: int) -> None:
        """Give a key another deadline and leave the rest."""
        self._cells.room_for(key, cell.value)
        self._change([Change(MOVE, key, cell.value, deadline)])

    def _see_to(self, deadline: int) -> None:
        if deadline != NEVER and not self._awake:
            self._awake = True
            self._wake()
