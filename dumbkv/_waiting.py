"""Threads that wait until what they wrote is on the disk, and which of them asks for it.

The twin of ``csrc/waiting.h``, for the table in pure Python. One leads and asks for all that was
written. Each of the others has a lock of its own to wait for, so that only those are woken who
are through, and one more, who leads next.
"""

import threading


class Waiter:
    """One who waits for the disk, and the lock that it waits for."""

    __slots__ = ("end", "told")

    def __init__(self, end: int) -> None:
        self.end = end
        self.told = taken()


class Waiting:
    """Those who wait for one log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: list[Waiter] = []
        self._company = 1
        """How many there may be before the next request."""
        self._gathering: threading.Lock | None = None
        self._position = 0
        self._over = False
        self._leader = 0

    def join(self, end: int) -> bool:
        """Wait until all before `end` is on the disk, or never will be; True when the caller is
        to lead instead, until `leave`."""
        me = threading.get_ident()
        while True:
            with self._lock:
                if self._over or self._position >= end:
                    return False
                if self._leader in (0, me):
                    self._leader = me
                    return True
                own = Waiter(end)
                self._waiters.append(own)
                if self._gathering is not None and self._is_complete():
                    self._gathering.release()
                    self._gathering = None
            self._be_told(own)

    def _is_complete(self) -> bool:
        return len(self._waiters) + 1 >= self._company

    def _be_told(self, own: Waiter) -> None:
        try:
            own.told.acquire()
        except BaseException:  # a signal handler raised: it may have been told to lead
            with self._lock:
                if own in self._waiters:
                    self._waiters.remove(own)
                self._let_lead()
            raise

    def _let_lead(self) -> None:
        if not self._leader and self._waiters:
            self._waiters.pop(0).told.release()

    def gather(self, seconds: float) -> int:
        """Who leads waits for those who wrote with the last request, for so long at most: how
        many are there."""
        with self._lock:
            if self._is_complete():
                return len(self._waiters)
            self._gathering = gathering = taken()
        gathering.acquire(timeout=seconds)
        with self._lock:
            self._gathering = None
            return len(self._waiters)

    def tell_all(self, position: int, over: bool = False) -> None:
        """All before `position` is on the disk, or with `over` nothing more will be."""
        with self._lock:
            self._over |= over
            self._position = max(self._position, position)
            self._company = len(self._waiters) + 1
            through = [each for each in self._waiters if over or each.end <= self._position]
            self._waiters = [each for each in self._waiters if each not in through]
        for each in through:
            each.told.release()

    def leave(self) -> None:
        """Lead no more, if this thread does: the first of those who wait is next."""
        with self._lock:
            if self._leader == threading.get_ident():
                self._leader = 0
                self._let_lead()


def taken() -> threading.Lock:
    """A lock that is held."""
    lock = threading.Lock()
    lock.acquire()
    return lock
