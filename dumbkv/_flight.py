"""One call of a factory for all the threads that want its value.

A thread that misses a key puts a flight under it into a dict, and leads it: it calls its
factory, stores the value and takes the flight out again. Threads that miss the key while the
flight is there wait for it to land. A dict's `setdefault` and `pop` are atomic, so there is no
lock: none that a fork could find taken, and none held while a factory runs.

Between missing the key and leading, a thread may have overlooked a whole flight. So a leader
looks into the store once more before it calls.

The error of a factory is one object, which the leader and everybody who waited raise, as the
futures of the standard library do; its traceback may show frames of several of them. What ends
a thread and not just a call (KeyboardInterrupt, SystemExit: all that is no Exception) is the
leader's alone, and whoever waited begins anew.

A flight holds the error, the error its traceback, and that the frames it came through: a frame
that kept the flight would close a circle, which only the garbage collector opens again.
"""

import time
from collections.abc import Callable
from threading import TIMEOUT_MAX, Event, get_ident
from typing import TYPE_CHECKING, Protocol

from dumbkv._arguments import Buffer, check_expiry_now, key_from, value_from
from dumbkv.errors import shown

if TYPE_CHECKING:
    from dumbkv._table import Table as _Base
else:

    class _Base:
        __slots__ = ()


class Fillable(Protocol):
    """What a flight asks of a store."""

    max_key: int
    max_value: int

    def get(self, key: Buffer) -> bytes | None: ...
    def add(
        self, key: Buffer, value: Buffer, *, ttl: float | None, expire_at: float | None
    ) -> int | None: ...


class _Flight:
    __slots__ = ("error", "landed", "leader", "value")

    def __init__(self) -> None:
        self.landed = Event()
        self.leader = get_ident()
        self.value: bytes | None = None
        self.error: Exception | None = None


class Flights:
    """The calls of factories that are under way for one store."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        self._under_way: dict[bytes, _Flight] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def get_or_set(
        self,
        store: Fillable,
        key: Buffer,
        factory: Callable[[], Buffer],
        ttl: float | None,
        expire_at: float | None,
        timeout: float | None,
    ) -> bytes:
        if ttl is not None or expire_at is not None:
            check_expiry_now(ttl, expire_at)
        if timeout is not None:
            _check_timeout(timeout)
        value = store.get(key)
        if value is not None:
            return value
        key = key_from(key, store.max_key)
        end = None if timeout is None else time.monotonic() + min(timeout, TIMEOUT_MAX)
        while True:
            mine = _Flight()
            flight = self._under_way.setdefault(key, mine)
            try:
                if flight is mine:
                    return self._lead(store, key, factory, ttl, expire_at)
                if flight.leader == mine.leader:
                    raise RuntimeError(
                        f"the factory for key {shown(key)} asks for that key itself: "
                        "expected a factory that makes the value without it"
                    )
                if not flight.landed.wait(None if end is None else end - time.monotonic()):
                    raise TimeoutError(
                        f"the value of key {shown(key)} was not there within timeout={timeout!r} "
                        "seconds: another thread is still making it"
                    )
                if flight.error is not None:
                    raise flight.error
                if flight.value is not None:
                    return flight.value
            finally:
                del flight, mine

    def _lead(
        self,
        store: Fillable,
        key: bytes,
        factory: Callable[[], Buffer],
        ttl: float | None,
        expire_at: float | None,
    ) -> bytes:
        value: bytes | None = None
        error: Exception | None = None
        try:
            value = _make(store, key, factory, ttl, expire_at)
            return value
        except Exception as raised:
            error = raised
            raise
        finally:
            flight = self._under_way.pop(key)
            flight.value, flight.error = value, error
            flight.landed.set()
            del flight, error

    def leave_behind(self) -> None:
        """After a fork, in the child: forget the flights whose leaders are not there.

        A leader that forked inside its factory goes on in the child too; the event it will
        set is a new one, because one of those who waited may have held the old one's lock.
        """
        for key, flight in list(self._under_way.items()):
            if flight.leader == get_ident():
                flight.landed = Event()
            else:
                del self._under_way[key]


def _make(
    store: Fillable,
    key: bytes,
    factory: Callable[[], Buffer],
    ttl: float | None,
    expire_at: float | None,
) -> bytes:
    value = store.get(key)
    if value is not None:
        return value
    made = value_from(factory(), store.max_value)
    while store.add(key, made, ttl=ttl, expire_at=expire_at) is None:
        value = store.get(key)
        if value is not None:  # another writer was faster; if it is gone again, so is its claim
            return value
    return made


def _check_timeout(given: float) -> None:
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise TypeError(f"timeout must be a number of seconds, not {type(given).__name__}")
    if not given >= 0:
        raise ValueError(f"timeout is {given!r}: expected seconds from 0 on, or None for no limit")


class Fills(_Base):
    """What a store has for values that are made when they are missed."""

    __slots__ = ()
    _flights: Flights

    def get_or_set(
        self,
        key: Buffer,
        factory: Callable[[], Buffer],
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """The value of `key`; when it is absent, the one that ``factory()`` makes.

        However many threads miss the key, one of them calls its factory and the others wait
        for that value, at most `timeout` seconds: then TimeoutError. It is stored with `ttl`
        or `expire_at`, unless another writer has stored one meanwhile; then all get that one.
        What the factory raises, everybody who waited for it gets, the same object; the next
        caller calls its own factory. A factory that asks for its own key gets RuntimeError;
        factories in two threads that ask for each other's wait for ever without a `timeout`.
        A present key costs one ``get``.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.get_or_set(b"page", lambda: b"made", ttl=60)
        b'made'
        >>> store.get_or_set(b"page", lambda: b"made anew", ttl=60)
        b'made'
        """
        return self._flights.get_or_set(self, key, factory, ttl, expire_at, timeout)
