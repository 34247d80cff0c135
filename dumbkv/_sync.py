"""When what was written is on the disk: who asks the disk, who waits, and what a failure means.

One thread at a time leads: it asks the disk for all that was written up to then, and whoever
waits for a part of that waits for the leader. So many writers share one request. Who is elected
to lead takes a writer's turn first, to see how far that is, and gives it back before it asks;
a writer may ask in the middle of its turn, so nobody may wait for a turn and be in its way.

Those whom a request let go write again at once, most of them just too late for the next. So a
leader first gives as many as there were the last time a moment to come: a share of what the last
request took, and nothing when it was alone. Who waits and who leads is the table's affair
(``csrc/waiting.h``, :mod:`dumbkv._waiting`), so that writers wait without the GIL.

A request that failed is not made again: after it the system takes pages for written that are
not (see the PostgreSQL project's "fsync errors"). The log is poisoned then. Reading goes on;
every write raises, and to open the store again shows what did reach the disk.
"""

import bisect
import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import NoReturn, Protocol

from dumbkv.errors import PoisonedError

BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
"""Upper bounds in seconds of the counts in `Syncs.counts`, which has one more for what is above."""

GATHER = 0.25
"""For how long a leader waits for others at most, as a share of what the last request took."""

datasync = getattr(os, "fdatasync", os.fsync)

Done = Callable[[Exception | None], object]


class Logged(Protocol):
    """What is asked of the table here. ``csrc/pylog.h`` and :mod:`dumbkv._recorder` have it."""

    def _log_lock(self) -> None: ...
    def _log_unlock(self) -> None: ...
    def _log_state(self) -> tuple[int, int, int]: ...
    def _log_synced(self, offset: int) -> None: ...
    def _log_refuses(self, on: bool) -> None: ...
    def _log_undo(self, what: int) -> None: ...
    def _log_join(self, end: int) -> bool: ...
    def _log_gather(self, seconds: float) -> int: ...
    def _log_reached(self, position: int, over: bool) -> None: ...
    def _log_leave(self) -> None: ...


SWAP, FORGET, ALL = range(3)
"""What `_log_undo` does: begin another generation of changes, forget the one before, undo all."""


class Syncs:
    """The state of one log's way to the disk. Positions are bytes of all of the log."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._condition = threading.Condition(threading.RLock())
        self._leading = False
        self._took = 0.0
        self._waiting: list[tuple[int, Done]] = []
        self.descriptor = -1
        self.position = 0
        """All before it is on the disk."""
        self.error: PoisonedError | None = None
        self.alone: int | None = None
        """The thread behind which nobody waits: what it hears is kept for the next who asks."""
        self.unheard: PoisonedError | None = None
        """The same error while only that thread has heard of it."""
        self.requests = 0
        self.counts = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.last = time.time()
        """When all that was written was on the disk, in seconds since 1970."""

    def wait(self, table: Logged, end: int) -> None:
        """Return when all before `end` is on the disk; PoisonedError when that cannot be."""
        while self.position < end:
            self.expect_sound()
            try:
                if table._log_join(end):
                    table._log_gather(GATHER * self._took)
                    self._lead(table)
            finally:
                table._log_leave()

    def _lead(self, table: Logged) -> None:
        table._log_lock()
        try:
            offset, end, _ = table._log_state()
            with self._condition:
                if self.position >= end or self.error is not None:
                    return  # somebody was first, who may have closed the file or seen it fail
                self._leading = True
            table._log_undo(SWAP)
        finally:
            table._log_unlock()
        try:
            self.request()
        except OSError as error:
            self._poison(table, error, in_turn=False)
        except BaseException:
            self._let_others_ask()
            raise
        table._log_undo(FORGET)
        table._log_synced(offset)
        self._reached(table, end)

    def in_turn(self, table: Logged, finish: Callable[[], object] | None = None) -> None:
        """The same for all that is written, by the writer whose turn it is; `finish` may go on
        with the file before anybody else asks the disk."""
        with self._condition:
            while self._leading:
                self._condition.wait()
            self.expect_sound()
            offset, end, _ = table._log_state()
            if finish is None and self.position >= end:
                return  # there may be no file to ask for
            self._leading = True
        try:
            self.request()
            if finish is not None:
                finish()
        except OSError as error:
            self._poison(table, error, in_turn=True)
        except BaseException as error:
            if finish is not None:  # nobody knows how far that was
                self._poison(table, error, in_turn=True)
            self._let_others_ask()
            raise
        table._log_undo(SWAP)
        table._log_undo(FORGET)
        if finish is None:
            table._log_synced(offset)
        self._reached(table, end)

    def _let_others_ask(self) -> None:
        """A signal handler raised while the disk was asked, which did not say no: whoever is next
        asks it for the same and more."""
        with self._condition:
            self._leading = False
            self._condition.notify_all()

    def request(self) -> None:
        """Ask the disk, and note how long it took."""
        began = time.perf_counter()
        datasync(self.descriptor)
        took = time.perf_counter() - began
        self.requests += 1
        self.seconds += took
        self._took = took
        self.counts[bisect.bisect_left(BUCKETS, took)] += 1

    def _reached(self, table: Logged, end: int) -> None:
        with self._condition:
            self.position = max(self.position, end)
            self.last = time.time()
            self._leading = False
            due = [done for at, done in self._waiting if at <= self.position]
            self._waiting = [each for each in self._waiting if each[0] > self.position]
            self._condition.notify_all()
        table._log_reached(end, False)
        for done in due:
            done(None)

    def _poison(self, table: Logged, cause: BaseException, in_turn: bool) -> NoReturn:
        table._log_refuses(True)
        why = str(cause) or repr(cause)
        error = PoisonedError(
            f"{self._path}: the disk failed to keep what was written: {why}; the store takes no "
            "more writes: open it again to see what is on the disk"
        )
        error.__cause__ = cause
        with self._condition:
            self.unheard = error if threading.get_ident() == self.alone else None
            self.error, self._leading = error, False
            due, self._waiting = self._waiting, []
            self._condition.notify_all()
        if not in_turn:
            table._log_lock()
        try:
            table._log_undo(ALL)
        finally:
            if not in_turn:
                table._log_unlock()
            table._log_reached(0, True)
        for _, done in due:
            done(error)
        raise error

    def poison(self, table: Logged, cause: OSError) -> NoReturn:
        """The same for another failure after which the file is not known, by the writer whose
        turn it is."""
        with self._condition:
            while self._leading:
                self._condition.wait()
        self._poison(table, cause, in_turn=True)

    def waits(self) -> tuple[list[tuple[str, float]], float]:
        """How many requests took at most so many seconds, for each of `BUCKETS` and for any, and
        how long all took."""
        bounds = [*map(str, BUCKETS), "+Inf"]
        sums = map(float, itertools.accumulate(self.counts))
        return list(zip(bounds, sums, strict=True)), self.seconds

    def expect_sound(self) -> None:
        if self.error is not None:
            self.unheard = None
            raise PoisonedError(str(self.error)) from self.error.__cause__

    def when_synced(self, end: int, done: Done) -> None:
        """Call `done` with None once all before `end` is on the disk, or with PoisonedError; in
        whatever thread learns of it, now if it is known. It must not wait, nor raise."""
        with self._condition:
            error = self.error
            if error is None and self.position < end:
                self._waiting.append((end, done))
                return
        done(error if self.position < end else None)

    @property
    def waited_for(self) -> int:
        """The furthest position that somebody is to be told of, or 0."""
        with self._condition:
            return max((end for end, _ in self._waiting), default=0)
