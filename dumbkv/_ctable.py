"""The C table, both its doors put together.

Methods for single keys are those of the type in ``csrc/pytable.c``. Work on the table
as a whole goes through cffi, which lets go of the GIL for it.
"""

from collections.abc import Iterator
from typing import Any

from dumbkv import _native
from dumbkv.errors import ClosedError, CorruptError, StoreFullError

_ffi, _lib = _native.ffi, _native.lib
if _lib.dkv_install() != 0:
    raise ImportError("the C table could not be installed")


SOME = 10_000
_CLEAR = b"\x03"
"""A record's body that says it, as :mod:`dumbkv._record` has it."""


class Table(_native.Table):
    """As :class:`dumbkv._table.Table`, in C."""

    __slots__ = ()

    def clear(self) -> None:
        """Remove every key at once. O(n)."""
        if not self._logs():
            _answer(_lib.dkv_clear(self._pointer()))
        else:
            self._clear_logged()
        self._reap_all()

    def _clear_logged(self) -> None:
        self._log_lock()
        try:
            if self.closed:
                raise ClosedError("the store is closed")
            self._log_append(_CLEAR)
            self._log_flush()
            _answer(_lib.dkv_clear(self._pointer()))
        finally:
            self._log_unlock()

    def sweep(self) -> int:
        """Clear away the remains of expired keys now; how many there were. O(n)."""
        swept = _answer(_lib.dkv_sweep(self._pointer()))
        self._reap_all()
        return swept

    def close(self) -> None:
        """Give the memory back; every later call but `close` raises ClosedError."""
        _lib.dkv_close(self._pointer())
        self._reap_all()

    def _counters(self) -> tuple[int, ...]:
        """The fields of Stats, in order."""
        counts = _ffi.new("dkv_counts *")
        _answer(_lib.dkv_count(self._pointer(), counts))
        return (
            counts.entries,
            counts.data_bytes,
            counts.memory_bytes,
            counts.hits,
            counts.misses,
            counts.sets,
            counts.deletes,
            counts.expired,
            counts.evicted,
        )

    def _check(self) -> None:
        """Raise AssertionError unless every invariant of the table holds. O(n)."""
        why = _ffi.new("char[]", 100)
        broken = _lib.dkv_check(self._pointer(), why, len(why))
        assert not broken, _ffi.string(why).decode()

    def _last_version(self) -> int:
        return int(_lib.dkv_last_version(self._pointer()))

    def _see_version(self, version: int) -> None:
        """The last version is at least this one."""
        _lib.dkv_see_version(self._pointer(), version)

    def _replay(self, data: Any, offset: int, seed: int, path: str) -> int:
        """Do again what whole records say: how many bytes those are. An entry that has expired
        stays until the next sweep, as a later record may give it another expiry."""
        replaying = _ffi.new("dkv_replaying *", {"offset": offset, "seed": seed})
        bytes_there = _ffi.from_buffer("uint8_t[]", data)
        done = int(_lib.dkv_replay(self._pointer(), bytes_there, len(bytes_there), replaying))
        if done == _lib.DKV_ECORRUPT:
            what = _ffi.string(replaying.why).decode()
            raise CorruptError(path, replaying.offset, what)
        if done == _lib.DKV_EFULL:
            raise StoreFullError("there is no room for all entries")
        return _answer(done)

    def _next_expiry(self) -> float | None:
        """Seconds to the earliest expiry there may be, or None when nothing can expire."""
        microseconds: int = _lib.dkv_next_expiry(self._pointer())
        return None if microseconds < 0 else microseconds / 1e6

    def _rest(self) -> bool:
        """The sweeper is about to stop; False when it has to go on."""
        return bool(_lib.dkv_rest(self._pointer()))

    def _in_order(self) -> Iterator[list[bytes]]:
        """All keys in order, some at a time: sorted without the GIL, made objects with it."""
        out = _ffi.new("dkv_sorted **")
        _answer(_lib.dkv_sort_keys(self._pointer(), out))
        try:
            handle = int(_ffi.cast("uintptr_t", out[0]))
            while keys := self._sorted(handle, SOME):
                yield keys
        finally:
            _lib.dkv_sorted_free(out[0])

    def _before_fork(self) -> None:
        """Take a writer's turn. The C takes its locks inside fork() (``csrc/fork.c`` says why)."""
        if self._logs():
            self._log_lock()

    def _after_fork(self) -> None:
        if self._logs():
            self._log_unlock()

    def _reap_all(self) -> None:
        """Let go of the values that a call without the GIL removed."""
        while self._reap():
            pass

    def _pointer(self) -> Any:
        return _ffi.cast("dkv_table *", self._handle())


def _answer(code: int) -> int:
    if code == _lib.DKV_ECLOSED:
        raise ClosedError("the store is closed")
    if code < 0:
        raise MemoryError
    return code
