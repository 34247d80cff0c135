"""Watching what happens to keys.

The table keeps the last events in a ring while somebody watches, and nothing otherwise. Who
waits says so, looks once more, and sleeps until a writer has something to tell; writers that
nobody waits for tell nothing.
"""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from dumbkv._arguments import Buffer
from dumbkv._scan import text
from dumbkv.errors import ClosedError, WatchLostError

if TYPE_CHECKING:
    from dumbkv._table import Table as _Base
else:

    class _Base:
        __slots__ = ()


Kind = Literal["set", "delete", "expire", "evict", "clear"]
KINDS: tuple[Kind, ...] = ("set", "delete", "expire", "evict", "clear")
LONGEST_SLEEP = 1.0
"""Seconds: a key whose expiry only a reader noticed is told of no later than this."""


class Event(NamedTuple):
    """Something that happened to a key; "clear" to all of them, its key is empty."""

    kind: Kind
    key: bytes
    version: int


class Watched(Protocol):
    """What a watch asks of a table."""

    def _watch(self, since: int | None) -> int | None: ...
    def _unwatch(self) -> None: ...
    def _events(self, place: int) -> tuple[list[tuple[int, bytes, int]], int] | None: ...
    def _expect(self) -> None: ...


class Bell:
    """Wakes whoever waits for news of one table."""

    __slots__ = ("_changed", "_rung", "notified", "starting", "watched", "watches")

    def __init__(self) -> None:
        self.watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self.watched = False
        """Whether there ever was a watch."""
        self._changed = threading.Condition()
        self._rung = 0
        self.notified: tuple[Callable[[], object], ...] = ()
        """What else to call; replaced as a whole, so that ringing needs no lock for it."""
        # Re-entrant: a watch that nobody closed may be finalized while another begins.
        self.starting = threading.RLock()
        """For the first watch to begin and the last to end one at a time."""

    def ring(self) -> None:
        with self._changed:
            self._rung += 1
            self._changed.notify_all()
        for notify in self.notified:
            notify()

    @property
    def rung(self) -> int:
        return self._rung

    def wait(self, since: int, seconds: float) -> None:
        """Until it has rung more often than that."""
        with self._changed:
            self._changed.wait_for(lambda: self._rung != since, seconds)


class Watch(Iterator[Event]):
    """What ``store.watch()`` gives: see there."""

    def __init__(
        self,
        table: Watched,
        bell: Bell,
        prefix: bytes,
        since: int | None,
        timeout: float | None,
        notify: Callable[[], object] | None = None,
    ) -> None:
        self._table: Watched | None = table
        self._notify = notify
        self._bell, self._prefix, self._timeout = bell, prefix, timeout
        self._ready: deque[Event] = deque()
        self._lock = threading.Lock()
        with bell.starting:
            bell.watched = True
            place = table._watch(since)
        if place is None:
            self._table = None
            raise WatchLostError(
                f"events after version {since} are not kept: read the store and watch from there"
            )
        self._place = place
        bell.watches.add(self)
        if notify is not None:
            with bell.starting:
                bell.notified += (notify,)

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event, or None after `timeout` seconds without one; None waits for ever.

        Raises WatchLostError when more happened than is kept, ClosedError when the watch or
        the store is closed.
        """
        end = None if timeout is None else time.monotonic() + seconds("timeout", timeout)
        while True:
            rung = self._bell.rung
            event = self._next() or self._expecting()
            if event is not None:
                return event
            left = LONGEST_SLEEP if end is None else min(LONGEST_SLEEP, end - time.monotonic())
            if left <= 0:
                return None
            self._bell.wait(rung, left)

    def __next__(self) -> Event:
        event = self.get(self._timeout)
        if event is None:
            raise StopIteration
        return event

    def __iter__(self) -> "Watch":
        return self

    def close(self) -> None:
        """End the watch; when it was the last, the table keeps no more events."""
        with self._lock:
            table, self._table = self._table, None
        if table is not None:
            with self._bell.starting:
                table._unwatch()
                if self._notify is not None:
                    others = list(self._bell.notified)
                    others.remove(self._notify)
                    self._bell.notified = tuple(others)
            self._bell.ring()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _leave_behind(self) -> None:
        """After a fork, in the child: whoever was using it is not there, but may have left it
        in the middle of something."""
        self._lock = threading.Lock()
        table, self._table = self._table, None
        if table is not None:
            table._unwatch()

    def __del__(self) -> None:
        if getattr(self, "_table", None) is not None:
            self.close()

    def _expecting(self) -> Event | None:
        with self._lock:
            if self._table is not None:
                self._table._expect()
        return self._next()

    def _next(self) -> Event | None:
        with self._lock:
            while not self._ready:
                if self._table is None:
                    raise ClosedError("the watch is closed")
                found = self._table._events(self._place)
                if found is None:
                    raise WatchLostError(
                        "more happened than is kept: read the store anew and watch from there"
                    )
                events, self._place = found
                if not events:
                    return None
                self._ready.extend(
                    Event(KINDS[what], key, version)
                    for what, key, version in events
                    if key.startswith(self._prefix) or KINDS[what] == "clear"
                )
            return self._ready.popleft()


def seconds(name: str, given: float) -> float:
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(given).__name__}")
    if not given >= 0:
        raise ValueError(f"{name} is {given!r}: expected seconds, at least 0")
    return given


class Watches(_Base):
    """What a store has for those who want to know what happens."""

    __slots__ = ()
    _bell: Bell

    def watch(
        self,
        prefix: Buffer = b"",
        *,
        since: int | None = None,
        timeout: float | None = None,
        notify: Callable[[], object] | None = None,
    ) -> Watch:
        """Events of the keys that begin with `prefix`, in the order of their versions.

        From now on, or all after version `since` while they are kept: as long as somebody
        watches the table keeps the last ones, 4 MiB of them, and whoever falls further behind
        gets WatchLostError. Iterating waits for each event, at most `timeout` seconds, then
        ends; ``get(timeout)`` gives one or None. Deletions, expiries and evictions have
        versions of their own while somebody watches; those do not come again when a store on disk
        is closed and opened again, nor after a crash unless the clock was set back. An expired key
        is told of when it is cleared away, within about a second. Close it, or use it in a
        ``with``. It does not pass a fork: in the child it is closed.

        For an event loop: after ``get(0)`` gave None, `notify` is called once something has
        happened, in the thread that did it and possibly inside the store's lock. It has to be
        quick, must not raise, and must not use the store: it only wakes who will ``get``.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> with store.watch(b"user:", timeout=0) as events:
        ...     store[b"user:1"] = b"anna"
        ...     store[b"other"] = b"-"
        ...     del store[b"user:1"]
        ...     [(event.kind, event.key) for event in events]
        [('set', b'user:1'), ('delete', b'user:1')]
        """
        if since is not None and (not isinstance(since, int) or isinstance(since, bool)):
            raise TypeError(f"since must be a version, not {type(since).__name__}")
        if since is not None and not 0 <= since < 2**63:
            raise ValueError(f"since is {since}: expected a version")
        if timeout is not None:
            seconds("timeout", timeout)
        return Watch(self, self._bell, text(prefix), since, timeout, notify)

    def _news(self) -> None:
        self._bell.ring()
