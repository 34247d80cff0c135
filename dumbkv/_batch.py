"""Several changes as one: all of them or none.

A batch notes what it is asked to do and does nothing until its block ends. Then it works out
what each key is to be, reading those whose present value matters, and gives the table one
list: checks, writes and removals, done in one step if every key that was read or checked is
still at its version. When only a key that was read has changed, it reads again.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from dumbkv._arguments import (
    DROP,
    INT64,
    LOOK,
    PUT,
    PUT_KEEPING,
    Buffer,
    check_expiry,
    check_version,
    epoch_microseconds,
    integer_from,
    key_from,
    microseconds,
    step_from,
    value_from,
)
from dumbkv._entry import Entry
from dumbkv.errors import ConflictError, shown

if TYPE_CHECKING:
    from dumbkv._table import Table as _Base
else:

    class _Base:
        __slots__ = ()


class Committing(Protocol):
    """What a batch asks of a table."""

    max_key: int
    max_value: int

    def entry(self, key: Buffer) -> Entry | None: ...
    def _commit(self, operations: list[tuple[Any, ...]]) -> list[int]: ...


@dataclass
class Becoming:
    """What a key is to be."""

    want: int | None = None
    """The version it has to be at, 0 for absent, None for any."""
    known: bool = False
    value: bytes | None = None
    act: int = LOOK
    ttl: float | None = None
    expire_at: float | None = None

    def put(self, value: bytes, keep: bool, ttl: float | None, expire_at: float | None) -> None:
        if not (keep and self.act in (PUT, PUT_KEEPING)):
            keeping = keep and self.act == LOOK
            self.act, self.ttl, self.expire_at = PUT_KEEPING if keeping else PUT, ttl, expire_at
        self.value, self.known = value, True


class Step(Protocol):
    """One thing a batch was asked to do; gives its result, or None for the key's version."""

    def __call__(self, plan: "Plan") -> Any: ...


class Plan:
    """What every key is to be, worked out from the steps of a batch."""

    def __init__(self, table: Committing, checks: dict[bytes, int]) -> None:
        self._table = table
        self.keys = {key: Becoming(want) for key, want in checks.items()}

    def untouched(self, key: bytes) -> Becoming:
        return self.keys.setdefault(key, Becoming())

    def read(self, key: bytes) -> Becoming:
        """The key with the value it has at this point of the batch."""
        becoming = self.untouched(key)
        if not becoming.known:
            entry = self._table.entry(key)
            version = entry.version if entry else 0
            if becoming.want not in (None, version):
                raise ConflictError(key)
            becoming.want, becoming.known = version, True
            becoming.value = entry.value if entry else None
        return becoming

    def operations(self) -> list[tuple[Any, ...]]:
        return [
            (each.act, key, each.want, each.value, each.ttl, each.expire_at)
            for key, each in self.keys.items()
        ]


class Batch:
    """What ``store.batch()`` gives: see there."""

    def __init__(self, table: Committing) -> None:
        self._table: Committing | None = table
        self._max_key, self._max_value = table.max_key, table.max_value
        self._checks: dict[bytes, int] = {}
        self._steps: list[tuple[bytes, Step]] = []
        self.results: list[Any] = []
        """Of each `set`, `delete` and `incr` in order, once the block has ended: the version (None
        if the batch deletes the key after that), whether the key was there, the sum."""

    def check(self, key: Buffer, version: int | None) -> None:
        """Do nothing at all unless `key` is at this version, or absent for None."""
        checked = self._key(key)
        if version is not None:
            check_version(version)
        wanted = version or 0
        if self._checks.setdefault(checked, wanted) != wanted:
            raise ValueError(f"the key {shown(checked)} is checked for two versions")

    def set(
        self,
        key: Buffer,
        value: Buffer,
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
        keep_ttl: bool = False,
    ) -> None:
        """Store `value`, with the expiry as for the store's own `set`."""
        checked, stored = self._key(key), value_from(value, self._max_value)
        check_expiry(ttl, expire_at, keep_ttl)
        if ttl is not None:
            microseconds("ttl", ttl)
        if expire_at is not None:
            epoch_microseconds(expire_at)

        def step(plan: Plan) -> None:
            plan.untouched(checked).put(stored, keep_ttl, ttl, expire_at)

        self._steps.append((checked, step))

    def delete(self, key: Buffer) -> None:
        """Remove `key` if it is there."""
        checked = self._key(key)

        def step(plan: Plan) -> bool:
            becoming = plan.read(checked)
            was_there = becoming.value is not None
            becoming.value, becoming.act = None, DROP
            return was_there

        self._steps.append((checked, step))

    def incr(self, key: Buffer, by: int = 1, *, ttl: float | None = None) -> None:
        """Add to the integer at `key`, as the store's own `incr` does."""
        checked = self._key(key)
        by = step_from(by, 1)
        if ttl is not None:
            microseconds("ttl", ttl)

        def step(plan: Plan) -> int:
            becoming = plan.read(checked)
            before = becoming.value
            total = by if before is None else integer_from(checked, before) + by
            if total not in INT64:
                raise OverflowError(
                    f"the sum at key {shown(checked)} does not fit a signed 64-bit integer"
                )
            becoming.put(b"%d" % total, before is not None, ttl if before is None else None, None)
            return total

        self._steps.append((checked, step))

    def __enter__(self) -> "Batch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        table, self._table = self._table, None
        if kind is None and table is not None:
            self.results = self._commit(table)

    def _commit(self, table: Committing) -> list[Any]:
        while True:
            plan = Plan(table, self._checks)
            results = [(key, step(plan)) for key, step in self._steps]
            try:
                done = zip(plan.keys.items(), table._commit(plan.operations()), strict=True)
                versions = {
                    key: None if becoming.act == DROP else version
                    for (key, becoming), version in done
                }
            except ConflictError as conflict:
                if self._still_holds(table, conflict.key):
                    continue  # another writer came between the look at a key and now
                raise
            return [versions[key] if result is None else result for key, result in results]

    def _still_holds(self, table: Committing, key: bytes) -> bool:
        """Whether what the block checked of a key, if anything, is so."""
        if key not in self._checks:
            return True
        entry = table.entry(key)
        return self._checks[key] == (entry.version if entry else 0)

    def _key(self, key: Buffer) -> bytes:
        if self._table is None:
            raise RuntimeError("the batch is over: begin another with store.batch()")
        return key_from(key, self._max_key)


class Batches(_Base):
    """What a store has for several changes as one."""

    __slots__ = ()

    def batch(self) -> Batch:
        """Changes that are done together when the block ends: all of them or none.

        The block notes `check`, `set`, `delete` and `incr`; no lock is held while it runs,
        and nothing is done when it raises. At its end all is done in one step: nobody sees a
        part of it. ConflictError when a checked key is not at its version; when a value that
        `incr` meets is no integer, or memory would not do, that error. Then nothing changed.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.update({b"anna": b"10", b"otto": b"5"})
        >>> anna = store.entry(b"anna")
        >>> with store.batch() as b:
        ...     b.check(b"anna", anna.version)
        ...     b.incr(b"anna", -3)
        ...     b.incr(b"otto", 3)
        >>> b.results, store[b"anna"], store[b"otto"]
        ([7, 8], b'7', b'8')
        >>> with store.batch() as b:
        ...     b.check(b"anna", anna.version)
        ...     b.set(b"anna", b"0")
        Traceback (most recent call last):
        dumbkv.errors.ConflictError: the key b'anna' is not at the version that was checked
        """
        return Batch(self)
