"""The keys in order, beside a table that has none.

A table does not keep order: putting a key in its place costs ten times what a set does. It
keeps a journal of keys that appeared and vanished instead, from the first scan on. Who wants
the order first brings it up to date: few keys go in or out one by one, many in one merge,
and when the journal was lost because there were too many, all is sorted anew.

The journal says which keys changed and not how, so the table is asked which of them are
there now. A key that changes again meanwhile is in the next journal.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Protocol

from sortedcontainers import SortedList

from dumbkv.errors import ClosedError

MERGE = 50
"""From one changed key in so many on, merging all is quicker than one by one."""

OFTEN, SELDOM = 0.02, 0.5
"""Seconds between two looks at the journal of a store that is kept in order: just after
something changed, and when nothing does."""


class Journaled(Protocol):
    """What an order asks of a table."""

    def _note(self, on: bool) -> None: ...
    def _changes(self) -> list[bytes] | None: ...
    def _those(self, keys: Iterable[bytes]) -> list[bytes]: ...
    def _in_order(self) -> Iterable[list[bytes]]: ...


class Bounds:
    """A range of keys: from `low` on, if it is `closed` with it, and below `high`, if any."""

    __slots__ = ("closed", "high", "low")

    def __init__(self, low: bytes, closed: bool, high: bytes | None) -> None:
        self.low, self.closed, self.high = low, closed, high


class Order:
    """The order of one table's keys; built at the first use. Methods are given the table."""

    __slots__ = ("_keys", "_lock")

    def __init__(self) -> None:
        self._keys: SortedList[bytes] | None = None
        # Re-entrant: a finalizer that scans may run in the middle of a method.
        self._lock = threading.RLock()

    def some(self, table: Journaled, bounds: Bounds, most: int, reverse: bool) -> list[bytes]:
        """The first keys in the bounds, or the last, backwards. O(log n + most) when up to date."""
        with self._lock:
            keys = self._up_to_date(table)
            inside = keys.irange(
                bounds.low, bounds.high, inclusive=(bounds.closed, False), reverse=reverse
            )
            return list(islice(inside, most))

    def count(self, table: Journaled, bounds: Bounds) -> int:
        """How many keys are in the bounds. O(log n) when up to date."""
        with self._lock:
            keys = self._up_to_date(table)
            end = len(keys) if bounds.high is None else keys.bisect_left(bounds.high)
            count: int = end - keys.bisect_left(bounds.low)
            return count

    def catch_up(self, table: Journaled) -> bool:
        """Bring the order up to date; whether there was anything to do."""
        with self._lock:
            changed = table._changes() if self._keys is not None else None
            if changed is None:
                self._build(table)
            elif changed:
                self._apply(table, changed)
            return changed is None or bool(changed)

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork(self) -> None:
        self._lock.release()

    # Inside the lock

    def _up_to_date(self, table: Journaled) -> "SortedList[bytes]":
        self.catch_up(table)
        assert self._keys is not None
        return self._keys

    def _build(self, table: Journaled) -> None:
        self._keys = None  # its memory is wanted for the next
        table._note(True)
        self._keys = SortedList(chain.from_iterable(table._in_order()))

    def _apply(self, table: Journaled, changed: list[bytes]) -> None:
        keys = self._keys
        assert keys is not None
        there = set(table._those(changed))
        if len(changed) * MERGE > len(keys):
            gone = there.union(changed)
            kept = [key for key in keys if key not in gone]
            kept += sorted(there)
            self._keys = SortedList(kept)
            return
        for key in set(changed):
            if key not in there:
                keys.discard(key)
            elif key not in keys:
                keys.add(key)


class Ordered(Protocol):
    """What the keeper asks of a store."""

    def _catch_up(self) -> bool: ...


def keep(store: Ordered) -> None:
    """Keep the order of `store` in step in a thread of its own, for as long as it exists."""
    run: Callable[[weakref.ref[Ordered]], None] = _run
    threading.Thread(
        target=run, args=(weakref.ref(store),), name="dumbkv-order", daemon=True
    ).start()


def _run(reference: "weakref.ref[Ordered]") -> None:
    wait = OFTEN
    while True:
        time.sleep(wait)
        store = reference()
        if store is None:
            return
        try:
            wait = OFTEN if store._catch_up() else min(2 * wait, SELDOM)
        except ClosedError:
            return
        del store  # what is waited for may be forgotten meanwhile
