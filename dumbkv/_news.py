"""What the table in pure Python tells others: keys that came and went, and events.

Both cost nothing until somebody asks for them, and both are bounded: who falls too far
behind is told so and begins anew.
"""

from collections import deque
from itertools import islice
from typing import NamedTuple

SET, DELETED, EXPIRED, EVICTED, CLEARED = range(5)
"""What happens to keys. CLEARED is of all, and its key is empty."""

RING_BYTES = 4 << 20
EVENT_BYTES = 11
FEWEST_CHANGES = 65536
SOME = 1000


class Event(NamedTuple):
    what: int
    key: bytes
    version: int


class News:
    """A journal of changed keys, and a ring of the last events."""

    __slots__ = ("_begin", "_bytes", "_changes", "_gone", "_lost", "_ring", "waited", "watchers")

    def __init__(self) -> None:
        self._changes: list[bytes] | None = None
        self._lost = False
        self.watchers = 0
        self.waited = False
        """Somebody waits for something to happen."""
        self._ring: deque[Event] = deque()
        self._bytes = 0
        self._begin = 0  # events are numbered; the number of the oldest
        self._gone = 0  # the version of the last event that is not in the ring

    # Keys that appeared or vanished

    def note(self, on: bool) -> None:
        """Begin an empty journal, or stop."""
        self._changes = [] if on else None
        self._lost = False

    def changed(self, key: bytes, entries: int) -> None:
        if self._changes is None:
            return
        self._changes.append(key)
        if len(self._changes) > FEWEST_CHANGES + entries // 2:
            self.lose()

    def lose(self) -> None:
        self._lost, self._changes = self._changes is not None or self._lost, None

    def changes(self) -> list[bytes] | None:
        """The keys since the last call; None when there were too many."""
        if self._lost:
            return None
        keys, self._changes = self._changes or [], []
        return keys

    # Events

    def watch(self, since: int | None, last: int) -> int | None:
        """The number of the first event after a version, or of the next to come; None when
        events since then are not kept."""
        if not self.watchers:
            self._begin += len(self._ring)
            self._ring.clear()
            self._bytes, self._gone = 0, last
        after = 0 if since is None else since
        if since is not None and after < self._gone:
            return None
        self.watchers += 1
        if since is None:
            return self._begin + len(self._ring)
        return self._begin + sum(event.version <= after for event in self._ring)

    def unwatch(self) -> None:
        self.watchers -= 1
        if not self.watchers:
            self._begin += len(self._ring)
            self._ring.clear()

    def happened(self, what: int, key: bytes, version: int) -> None:
        self._ring.append(Event(what, key, version))
        self._bytes += len(key) + EVENT_BYTES
        while self._bytes > RING_BYTES:
            gone = self._ring.popleft()
            self._bytes -= len(gone.key) + EVENT_BYTES
            self._gone = gone.version
            self._begin += 1

    def events(self, place: int) -> tuple[list[tuple[int, bytes, int]], int] | None:
        """Some events from a number on, and the number to read on from; None when lost."""
        if place < self._begin:
            return None
        first = place - self._begin
        some: list[tuple[int, bytes, int]] = list(islice(self._ring, first, first + SOME))
        return some, place + len(some)

    def due(self) -> bool:
        """True once after something happened that somebody waits for."""
        waited, self.waited = self.waited, False
        return waited
