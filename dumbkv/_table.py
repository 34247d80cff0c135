"""The table in pure Python: the readable specification of what a table does.

The C table (``csrc/table.h``, ``csrc/pytable.c``) has the same methods with the
same arguments, results, errors and messages, and one suite of tests holds the
two to it. Read this one to know what happens.

A key is there until it is deleted or its deadline has passed; from that moment
no method sees it, and whichever method meets its remains first clears them away.

With `max_bytes` a write that would pass it raises StoreFullError and changes nothing, or,
with ``eviction="lru"``, first drops keys that were not read lately. Removing always works.

The lock is re-entrant because a finalizer or a signal handler may run in the
middle of a method and use the store it interrupts.
"""

from collections.abc import Iterable, Mapping
from threading import RLock
from typing import Any, Literal, TypeVar, overload

from dumbkv import _record as record
from dumbkv._arguments import (
    DROP,
    INT64,
    KEY_CEILING,
    NEVER,
    PUT,
    VALUE_CEILING,
    Buffer,
    check_expiry,
    check_version,
    epoch_microseconds,
    integer_from,
    key_from,
    limit,
    microseconds,
    pairs_from,
    room_from,
    step_from,
    value_from,
)
from dumbkv._cells import Cells
from dumbkv._changing import Change
from dumbkv._entry import Entry
from dumbkv._internals import Internals
from dumbkv._recorder import Recorder, Turn
from dumbkv.errors import shown

T = TypeVar("T")

MAX_KEY = 1024
MAX_VALUE = 16 * 1024 * 1024
_MISSING: Any = object()


class Table(Internals):
    """Keys to values, each method one atomic step. Costs are O(1) unless said."""

    __slots__ = ("max_key", "max_value")

    max_key: int
    max_value: int

    def __init__(
        self,
        *,
        max_key: int = MAX_KEY,
        max_value: int = MAX_VALUE,
        default_ttl: float | None = None,
        max_bytes: int | None = None,
        eviction: Literal["reject", "lru"] = "reject",
    ) -> None:
        self.max_key = limit("max_key", max_key, 1, KEY_CEILING)
        self.max_value = limit("max_value", max_value, 0, VALUE_CEILING)
        self._default_ttl = (
            None if default_ttl is None else microseconds("default_ttl", default_ttl)
        )
        self._lock: RLock | Turn = RLock()
        self._recorder: Recorder | None = None
        self._cells = Cells(*room_from(max_bytes, eviction))
        self._awake = False
        self._closed = False

    # Reading

    def __getitem__(self, key: Buffer) -> bytes:
        key = self._key(key)
        with self._lock:
            cell = self._read(key)
        if cell is None:
            raise KeyError(key)
        return cell.value

    @overload
    def get(self, key: Buffer) -> bytes | None: ...
    @overload
    def get(self, key: Buffer, default: T) -> bytes | T: ...
    def get(self, key: Buffer, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        key = self._key(key)
        with self._lock:
            cell = self._read(key)
        return default if cell is None else cell.value

    def __contains__(self, key: object) -> bool:
        checked = self._key(key)
        with self._lock:
            return self._read(checked) is not None

    def __len__(self) -> int:
        with self._lock:
            self._open()
            self._cells.sweep()
            return len(self._cells)

    def entry(self, key: Buffer) -> Entry | None:
        """The key with value, version and expiry, or None when it is not there."""
        key = self._key(key)
        with self._lock:
            cell = self._read(key)
            if cell is None:
                return None
            expires_at = None
            if cell.deadline != NEVER:
                expires_at = (self._cells.wall() + cell.deadline - self._cells.now()) / 1e6
            return Entry(key, cell.value, cell.version, expires_at)

    def get_many(self, keys: Iterable[Buffer]) -> dict[bytes, bytes]:
        """The values of those of `keys` that are there, by key, read in one step."""
        checked = [self._key(key) for key in keys]
        with self._lock:
            self._open()
            cells = [(key, self._read(key)) for key in checked]
        return {key: cell.value for key, cell in cells if cell is not None}

    def ttl(self, key: Buffer) -> float | None:
        """Seconds until `key` expires, or None when it never does; KeyError when absent."""
        key = self._key(key)
        with self._lock:
            cell = self._read(key)
            if cell is None:
                raise KeyError(key)
            return None if cell.deadline == NEVER else (cell.deadline - self._cells.now()) / 1e6

    # Writing

    def __setitem__(self, key: Buffer, value: Buffer) -> None:
        key, value = self._key(key), self._value(value)
        with self._lock:
            self._live(key)
            self._put(key, value, self._default_deadline())

    def set(
        self,
        key: Buffer,
        value: Buffer,
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
        keep_ttl: bool = False,
        nx: bool = False,
        xx: bool = False,
        if_version: int | None = None,
    ) -> int | None:
        """Store `value` under `key`; the new version, or None when a condition failed.

        `ttl` is in seconds from now and `expire_at` in seconds since 1970; infinity
        means never, None the store's default. `keep_ttl` leaves the expiry of an
        existing key as it is; otherwise a write replaces it. `nx` writes only when
        the key is absent, `xx` only when it is there, `if_version` only when the key
        is there at that version.
        """
        key, value = self._key(key), self._value(value)
        check_expiry(ttl, expire_at, keep_ttl)
        span = None if ttl is None else microseconds("ttl", ttl)
        epoch = None if expire_at is None else epoch_microseconds(expire_at)
        if nx and (xx or if_version is not None):
            raise ValueError("nx writes only absent keys: expected no xx or if_version beside it")
        if if_version is not None:
            check_version(if_version)
        with self._lock:
            cell = self._live(key)
            if (
                (nx and cell is not None)
                or (xx and cell is None)
                or (if_version is not None and (cell is None or cell.version != if_version))
            ):
                return None
            if keep_ttl and cell is not None:
                deadline = cell.deadline
            else:
                deadline = self._deadline(span, epoch)
            return self._put(key, value, deadline)

    def add(
        self,
        key: Buffer,
        value: Buffer,
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
    ) -> int | None:
        """Store `value` only when `key` is absent; the version, or None when it was there."""
        return Table.set(self, key, value, ttl=ttl, expire_at=expire_at, nx=True)

    def setdefault(self, key: Buffer, default: Buffer) -> bytes:
        """The value of `key`, after storing `default` when it was absent."""
        key, value = self._key(key), self._value(default)
        with self._lock:
            cell = self._live(key)
            if cell is not None:
                return cell.value
            self._put(key, value, self._default_deadline())
            return value

    def update(self, other: Mapping[Any, Any] | Iterable[Any] = (), /) -> None:
        """Store every pair of a mapping or of an iterable of pairs: all of them or none."""
        self._put_many("update", other, None, None)

    def set_many(
        self,
        items: Mapping[Any, Any] | Iterable[Any],
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
    ) -> None:
        """Store every pair of a mapping or of an iterable of pairs, all with one expiry: all
        of them or none, in one step."""
        check_expiry(ttl, expire_at)
        span = None if ttl is None else microseconds("ttl", ttl)
        epoch = None if expire_at is None else epoch_microseconds(expire_at)
        self._put_many("set_many", items, span, epoch)

    def _put_many(self, function: str, items: Any, span: int | None, epoch: int | None) -> None:
        pairs = [(self._key(k), self._value(v)) for k, v in pairs_from(function, items)]
        with self._lock:
            self._open()
            deadline = self._deadline(span, epoch)
            need = sum(self._cells.cost(key, value) for key, value in pairs)
            if not self._cells.evicts:
                cells = ((key, self._live(key)) for key in {key for key, _ in pairs})
                need -= sum(
                    self._cells.cost(key, cell.value) for key, cell in cells if cell is not None
                )
            self._cells.make_room(need)
            self._change(Change(PUT, key, value, deadline) for key, value in pairs)

    def incr(self, key: Buffer, by: int = 1, *, ttl: float | None = None) -> int:
        """Add `by` to the decimal integer at `key` and return the sum.

        An absent key counts as 0. Its expiry is `ttl` from its first `incr`, and later
        ones leave it alone: one call is a fixed-window rate limiter. The value is kept
        as ASCII decimal digits. Raises NotAnIntegerError when the value is something
        else, OverflowError when the sum does not fit 64 bits.
        """
        return self._add(key, by, 1, ttl)

    def decr(self, key: Buffer, by: int = 1, *, ttl: float | None = None) -> int:
        """Subtract `by`: ``incr`` with the sign turned."""
        return self._add(key, by, -1, ttl)

    def _add(self, key: Buffer, by: int, sign: int, ttl: float | None) -> int:
        key = self._key(key)
        by = step_from(by, sign)
        span = None if ttl is None else microseconds("ttl", ttl)
        with self._lock:
            cell = self._live(key)
            if cell is None:
                total, deadline = by, self._deadline(span, None)
            else:
                total, deadline = integer_from(key, cell.value) + by, cell.deadline
            if total not in INT64:
                raise OverflowError(
                    f"the sum at key {shown(key)} does not fit a signed 64-bit integer"
                )
            self._put(key, b"%d" % total, deadline)
            return total

    def touch(
        self, key: Buffer, ttl: float | None = None, *, expire_at: float | None = None
    ) -> bool:
        """Give `key` a new expiry and leave its value and version; False when absent."""
        key = self._key(key)
        if (ttl is None) == (expire_at is None):
            raise ValueError("touch needs either ttl or expire_at")
        span = None if ttl is None else microseconds("ttl", ttl)
        epoch = None if expire_at is None else epoch_microseconds(expire_at)
        with self._lock:
            cell = self._live(key)
            if cell is None:
                return False
            self._move(key, cell, self._deadline(span, epoch))
            return True

    def persist(self, key: Buffer) -> bool:
        """Take the expiry off `key`; whether it had one."""
        key = self._key(key)
        with self._lock:
            cell = self._live(key)
            if cell is None or cell.deadline == NEVER:
                return False
            self._move(key, cell, NEVER)
            return True

    # Removing

    def __delitem__(self, key: Buffer) -> None:
        if not Table.delete(self, key):
            raise KeyError(bytes(key))

    def delete(self, key: Buffer, *, if_version: int | None = None) -> bool:
        """Remove `key`; whether it was there (and, if asked, at that version)."""
        key = self._key(key)
        if if_version is not None:
            check_version(if_version)
        with self._lock:
            cell = self._live(key)
            if cell is None or (if_version is not None and cell.version != if_version):
                return False
            self._drop(key)
            return True

    def delete_many(self, keys: Iterable[Buffer]) -> int:
        """Remove those of `keys` that are there, in one step; how many there were."""
        checked = dict.fromkeys(self._key(key) for key in keys)
        with self._lock:
            self._open()
            return sum(self._change(Change(DROP, key) for key in checked))

    @overload
    def pop(self, key: Buffer) -> bytes: ...
    @overload
    def pop(self, key: Buffer, default: T) -> bytes | T: ...
    def pop(self, key: Buffer, default: Any = _MISSING) -> Any:
        """Remove `key` and return its value, or `default`; KeyError without one."""
        key = self._key(key)
        with self._lock:
            cell = self._live(key)
            if cell is not None:
                self._drop(key)
                return cell.value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[bytes, bytes]:
        """Remove some key and return it with its value; KeyError when there is none."""
        with self._lock:
            self._open()
            self._cells.sweep()
            for key, cell in self._cells.items():
                self._drop(key)
                return key, cell.value
        raise KeyError("popitem(): the store is empty")

    def clear(self) -> None:
        """Remove every key at once. O(n)."""
        with self._lock:
            self._open()
            self._cells.sweep()
            if self._recorder is not None:
                self._recorder.expect_ready()
                self._log_append(record.encode_one(record.Clear()))
                self._log_flush()
            self._cells.clear()
            self._tell()

    # The whole table

    def sweep(self) -> int:
        """Clear away the remains of expired keys now; how many there were. O(n)."""
        with self._lock:
            self._open()
            swept = self._cells.sweep()
            self._tell()
            return swept

    def close(self) -> None:
        """Give the memory back; every later call but `close` raises ClosedError."""
        with self._lock:
            self._closed = True
            self._cells.clear()
            self._tell()

    @property
    def closed(self) -> bool:
        return self._closed

    def _counters(self) -> tuple[int, ...]:
        """The fields of Stats, in order."""
        entries = Table.__len__(self)
        with self._lock:
            cells = self._cells
            return (entries, cells.data_bytes, cells.memory(), *cells.counts.values())

    # Arguments

    def _key(self, given: object) -> bytes:
        return key_from(given, self.max_key)

    def _value(self, given: object) -> bytes:
        return value_from(given, self.max_value)
