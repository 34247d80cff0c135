"""A view's batch: the store's own, with keys and values through the view's codecs."""

from types import TracebackType
from typing import Any, Generic, TypeVar

from dumbkv._batch import Batch
from dumbkv._codec import Coded

K = TypeVar("K")
V = TypeVar("V")


class ViewBatch(Generic[K, V]):
    """What ``view.batch()`` gives: see there."""

    __slots__ = ("_batch", "_coded")

    def __init__(self, batch: Batch, coded: Coded[K, V]) -> None:
        self._batch = batch
        self._coded = coded

    @property
    def results(self) -> list[Any]:
        """Of each `set`, `delete` and `incr` in order, once the block has ended: the version,
        whether the key was there, the sum."""
        return self._batch.results

    def check(self, key: K, version: int | None) -> None:
        """Do nothing at all unless `key` is at this version, or absent for None."""
        self._batch.check(self._coded._raw(key), version)

    def set(
        self,
        key: K,
        value: V,
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
        keep_ttl: bool = False,
    ) -> None:
        """Store `value`, with the expiry as for the view's own `set`."""
        raw, data = self._coded._raw(key), self._coded._values.encode(value)
        self._batch.set(raw, data, ttl=ttl, expire_at=expire_at, keep_ttl=keep_ttl)

    def delete(self, key: K) -> None:
        """Remove `key` if it is there."""
        self._batch.delete(self._coded._raw(key))

    def incr(self, key: K, by: int = 1, *, ttl: float | None = None) -> None:
        """Add to the integer at `key`, as the view's own `incr` does."""
        self._batch.incr(self._coded._raw(key), by, ttl=ttl)

    def __enter__(self) -> "ViewBatch[K, V]":
        self._batch.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._batch.__exit__(kind, error, trace)
