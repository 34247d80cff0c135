"""The store: a table that behaves like a dict, and the front door that opens one.

Single-key methods are the table's own, found by Python directly on the C type,
so that `store[k]` and `store.get(k)` run no Python frame. What stands here is
the rest: iteration, views, statistics, lifetime.

The order of bases matters. `Store` comes first so that it can add to the table;
the table comes before `MutableMapping` so that its atomic methods win over the
mixins, which are built from several steps and would race.
"""

import os
from collections.abc import ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

from dumbkv import _fork, _order, _sweeper, _table
from dumbkv._batch import Batches
from dumbkv._dump import Dumps
from dumbkv._durable import FSYNC, Disk, Durable, Fsync
from dumbkv._entry import Stats
from dumbkv._flight import Fills, Flights
from dumbkv._modify import Modifies
from dumbkv._scan import Scans
from dumbkv._view import Viewed
from dumbkv._watch import Bell, Watches

Backend = Literal["auto", "c", "python"]

if TYPE_CHECKING:

    class _Mapping(_table.Table, MutableMapping[bytes, bytes]):  # type: ignore[misc]  # bytes-like keys are accepted
        ...
else:

    class _Mapping:
        __slots__ = ()


S = TypeVar("S", bound="Store")


class Store(Durable, Viewed, Scans, Batches, Watches, Dumps, Fills, Modifies, _Mapping):  # type: ignore[misc]  # as _Mapping
    """A thread-safe mapping of bytes to bytes; made by :func:`dumbkv.open`.

    Every method is one atomic step. Iteration, over the store or a view of it, may
    run beside writers: a key that is there all the time comes exactly once.
    """

    __slots__ = ()

    _ordered: bool
    backend: Literal["c", "python"]
    """Which table serves: the C one or the one in pure Python."""

    def __iter__(self) -> Iterator[bytes]:
        cursor = 0
        while True:
            keys, cursor = self._keys(cursor)
            yield from keys
            if not cursor:
                return

    def keys(self) -> KeysView[bytes]:
        """A live view of the keys."""
        return KeysView(self)

    def values(self) -> ValuesView[bytes]:
        """A live view of the values."""
        return _Values(self)

    def items(self) -> ItemsView[bytes, bytes]:
        """A live view of the pairs."""
        return _Items(self)

    def stats(self) -> Stats:
        """Counters since the store was opened."""
        return Stats(*self._counters(), *self._disk_stats())

    def _wake(self) -> None:
        _sweeper.start(self)

    def _catch_up(self) -> bool:
        return self._order.catch_up(self)

    def _before_fork(self) -> None:
        self._order.before_fork()
        super()._before_fork()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._order.after_fork()

    def _in_child(self) -> None:
        """After a fork, on the child's side: the threads stayed behind."""
        if self._log is not None:
            self._log.in_child(self)
        left, self._bell = self._bell, Bell()
        for watch in left.watches:
            watch._leave_behind()
        self._flights.leave_behind()
        if not self._rest():
            self._wake()
        if self._ordered:
            _order.keep(self)

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        what = "closed" if self.closed else f"{len(self)} keys"
        return f"<dumbkv.Store: {what}, {self.backend} table>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Store is neither copied nor pickled: use dict(store) for its contents")


class _Values(ValuesView[bytes]):
    """Skips a key that goes away between its turn and the look at its value."""

    __slots__ = ()
    _mapping: Store

    def __iter__(self) -> Iterator[bytes]:
        for _, value in self._mapping.items():
            yield value

    def __contains__(self, value: object) -> bool:
        return any(value == each for each in self)


class _Items(ItemsView[bytes, bytes]):
    __slots__ = ()
    _mapping: Store

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for key in self._mapping:
            value = self._mapping.get(key)
            if value is not None:
                yield key, value


class PythonStore(Store, _table.Table, MutableMapping[bytes, bytes]):  # type: ignore[misc]  # as _Mapping
    """A store on the table in pure Python."""

    __slots__ = ("__weakref__", "_bell", "_flights", "_log", "_order", "_ordered", "_room")
    backend = "python"


NativeStore: type[Store] | None = None
"""A store on the C table, or None where it was not built."""

try:
    from dumbkv import _ctable
except ImportError as error:
    _why_no_c = str(error)
else:

    class _NativeStore(Store, _ctable.Table, MutableMapping[bytes, bytes]):  # type: ignore[misc]  # as _Mapping
        """A store on the C table."""

        __slots__ = ("__weakref__", "_bell", "_flights", "_log", "_order", "_ordered", "_room")
        backend = "c"

    NativeStore = _NativeStore


def open(  # the name gzip, shelve and dbm use for the same thing
    path: str | os.PathLike[str] | None = None,
    *,
    fsync: Fsync = "everysec",
    backend: Backend | None = None,
    max_key: int = _table.MAX_KEY,
    max_value: int = _table.MAX_VALUE,
    default_ttl: float | None = None,
    max_bytes: int | None = None,
    eviction: Literal["reject", "lru"] = "reject",
    ordered: bool = False,
) -> Store:
    """A store in memory, or with `path` one that is also on disk, in that directory.

    What was in the directory is there again, whatever became of the process that wrote it. Every
    change is in the log before anybody sees it, so that it outlasts the process; `fsync` says
    when it outlasts a power cut: ``"always"`` before the call returns, ``"everysec"`` within a
    second, ``"never"`` when the system pleases, and at close. LockedError when the directory is
    open already, CorruptError when what was on the disk is damaged: nothing is changed then.

    `backend` is ``"auto"`` (the C table, or the Python one where C was not built),
    ``"c"`` (the C table or RuntimeError) or ``"python"``; None takes the environment
    variable ``DUMBKV_BACKEND``, and ``"auto"`` without one. `max_key` and `max_value`
    are in bytes. `default_ttl`, in seconds, is the expiry of a key written without one.
    `max_bytes` limits keys, values and what holds them, at least 64 KiB: a write that would
    pass it raises StoreFullError and changes nothing, or with ``eviction="lru"`` first drops
    keys that were not read lately. `ordered` keeps the keys in order from the start, in a
    thread of its own, so that no scan has to sort them all.

    >>> import dumbkv
    >>> with dumbkv.open() as store:
    ...     store[b"colour"] = b"green"
    ...     version = store.set(b"colour", b"blue", xx=True)
    ...     store.set(b"colour", b"red", if_version=version - 1) is None
    ...     store.get(b"colour"), store.incr(b"visits"), b"shape" in store
    True
    (b'blue', 1, False)
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "data")
    ...     with dumbkv.open(path) as store:
    ...         store[b"colour"] = b"green"
    ...     with dumbkv.open(path) as store:
    ...         store[b"colour"]
    b'green'
    """
    if fsync not in FSYNC:
        raise ValueError(f"fsync is {fsync!r}: expected 'always', 'everysec' or 'never'")
    store = _store_type(backend)(
        max_key=max_key,
        max_value=max_value,
        default_ttl=default_ttl,
        max_bytes=max_bytes,
        eviction=eviction,
    )
    store._order, store._bell, store._flights = _order.Order(), Bell(), Flights()
    store._ordered = ordered
    store._log = None
    if path is not None:
        store._log = Disk(store, os.fsdecode(path), fsync, max_bytes)
    if ordered:
        store._catch_up()
        _order.keep(store)
    store._room = max_bytes if eviction == "reject" else None
    _fork.keep(store)
    return store


def _store_type(backend: str | None) -> type[Store]:
    given = os.environ.get("DUMBKV_BACKEND", "auto") if backend is None else backend
    if given not in ("auto", "c", "python"):
        where = "DUMBKV_BACKEND" if backend is None else "backend"
        raise ValueError(f"{where} is {given!r}: expected 'auto', 'c' or 'python'")
    if given == "python":
        return PythonStore
    if NativeStore is not None:
        return NativeStore
    if given == "c":
        raise RuntimeError(
            f"the C table was asked for but is not there ({_why_no_c}): reinstall dumbkv "
            "with a C compiler and DUMBKV_BUILD=c to see why, or use backend='auto'"
        )
    return PythonStore
