"""What the rest of a store asks of the table in pure Python, beside the methods that all have."""

from collections.abc import Iterable, Iterator
from typing import Any

from dumbkv._arguments import DROP, LOOK, NEVER, PUT, PUT_KEEPING, Operation, operation_from
from dumbkv._cells import Cell
from dumbkv._changing import Change, Changing
from dumbkv._recorder import Recorder, Turn
from dumbkv.errors import ConflictError


class Internals(Changing):
    """Steps that scans, batches, watches, the sweeper, forks and the log take. Each is atomic."""

    __slots__ = ()

    max_key: int
    max_value: int

    def _keys(self, cursor: int) -> tuple[list[bytes], int]:
        """Some keys and the cursor for the next ones, from 0 until it is 0 again.

        A key that is there from the first call to the last comes exactly once.
        """
        with self._lock:
            self._open()
            self._cells.sweep()
            return self._cells.some(cursor)

    def _check(self) -> None:
        """Raise AssertionError unless every invariant of the table holds. O(n)."""
        with self._lock:
            self._cells.check()

    # Many keys

    def _pairs(self, keys: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """Those of the keys that are there, in their order, with their values."""
        with self._lock:
            cells = [(key, self._live(key)) for key in keys]
        return [(key, cell.value) for key, cell in cells if cell is not None]

    def _those(self, keys: Iterable[bytes]) -> list[bytes]:
        """The same without the values."""
        with self._lock:
            return [key for key in keys if self._live(key) is not None]

    def _commit(self, operations: list[tuple[Any, ...]]) -> list[int]:
        """Do all of the operations on different keys, in one step, or none.

        Each is (PUT, PUT_KEEPING, DROP or LOOK; key; the version it has to be at, 0 for
        absent, None for any; value; ttl; expire_at). Gives the versions of what was written
        and, of what was removed, whether it was there. Raises ConflictError.
        """
        checked = [operation_from(each, self.max_key, self.max_value) for each in operations]
        with self._lock:
            self._open()
            before = [self._live(each.key) for each in checked]
            need = 0
            for each, cell in zip(checked, before, strict=True):
                if each.want is not None and each.want != (cell.version if cell else 0):
                    raise ConflictError(each.key)
                if each.act in (PUT, PUT_KEEPING):
                    need += self._cells.cost(each.key, each.value)
                if each.act != LOOK and cell is not None and not self._cells.evicts:
                    need -= self._cells.cost(each.key, cell.value)
            self._cells.make_room(need)
            return self._change(map(self._as_change, checked, before))

    def _as_change(self, operation: Operation, before: Cell | None) -> Change:
        if operation.act in (LOOK, DROP):
            return Change(operation.act, operation.key)
        deadline = self._deadline(operation.span, operation.epoch)
        if operation.act == PUT_KEEPING and before is not None:
            deadline = before.deadline
        return Change(PUT, operation.key, operation.value, deadline)

    # What it tells others

    def _in_order(self) -> Iterator[list[bytes]]:
        """All keys in order, some at a time."""
        with self._lock:
            self._open()
            self._cells.sweep()
            keys = list(self._cells)
        yield sorted(keys)

    def _note(self, on: bool) -> None:
        """Keep a journal of keys that appear and vanish, from an empty one on, or stop."""
        with self._lock:
            self._cells.news.note(on)

    def _changes(self) -> list[bytes] | None:
        """Keys that appeared or vanished since the last call; None when there were too many."""
        with self._lock:
            self._open()
            return self._cells.news.changes()

    def _watch(self, since: int | None) -> int | None:
        """Begin to watch after a version, or from now on for None: where to read, or None
        when the events since then are not kept."""
        with self._lock:
            self._open()
            return self._cells.news.watch(since, self._cells.last_version)

    def _unwatch(self) -> None:
        with self._lock:
            self._cells.news.unwatch()

    def _events(self, place: int) -> tuple[list[tuple[int, bytes, int]], int] | None:
        """Some events, as (what, key, version), and where to read on; None when they are lost."""
        with self._lock:
            self._open()
            return self._cells.news.events(place)

    def _expect(self) -> None:
        """Somebody is about to wait: call `_news` once after something happened."""
        self._cells.news.waited = True

    # Its time

    def _next_expiry(self) -> float | None:
        """Seconds to the earliest expiry there may be, or None when nothing can expire."""
        with self._lock:
            first = self._cells.next_deadline
            if self._closed or first == NEVER:
                return None
            return max(0, first - self._cells.now()) / 1e6

    def _rest(self) -> bool:
        """The sweeper is about to stop; False when it has to go on."""
        with self._lock:
            self._awake = self._next_expiry() is not None
            return not self._awake

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork(self) -> None:
        self._lock.release()

    def _set_clock(self, monotonic: int, wall: int) -> None:
        """Stop both clocks at these microseconds, for tests that are not to wait."""
        self._cells.clock = (monotonic, wall)

    # Its log

    def _log_begin(self, waits: bool) -> None:
        """Begin a log: whether a change waits for the disk, and can be undone."""
        self._recorder = Recorder(self, waits)
        self._lock = Turn(self._lock, self, self._recorder)
        self._cells.evicted = self._recorder.evicted
