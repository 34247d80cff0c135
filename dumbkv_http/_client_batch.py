"""A client's batch: noted here, done by the server in one request."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from dumbkv._arguments import (
    NEVER,
    Buffer,
    check_expiry,
    check_version,
    epoch_microseconds,
    key_from,
    microseconds,
    step_from,
    value_from,
)
from dumbkv.errors import shown
from dumbkv_http._json import member

__all__ = ["Batch"]

Document = dict[str, Any]


class Batch:
    """What ``client.batch()`` gives: see ``Store.batch``."""

    def __init__(
        self, max_key: int, max_value: int, commit: Callable[[Document], list[Any]]
    ) -> None:
        self._max_key, self._max_value = max_key, max_value
        self._commit: Callable[[Document], list[Any]] | None = commit
        self._checks: dict[bytes, int | None] = {}
        self._steps: list[Document] = []
        self.results: list[Any] = []
        """Of each `set`, `delete` and `incr` in order, once the block has ended: the version (None
        if the batch deletes the key after that), whether the key was there, the sum."""

    def check(self, key: Buffer, version: int | None) -> None:
        """Do nothing at all unless `key` is at this version, or absent for None."""
        checked = self._key(key)
        if version is not None:
            check_version(version)
        if self._checks.setdefault(checked, version) != version:
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
        step = dict([("op", "set"), member("key", checked), member("value", stored)])
        expiry: Document = {"keep_ttl": True} if keep_ttl else {}
        if ttl is not None:
            expiry["ttl"] = _seconds(microseconds("ttl", ttl), ttl)
        if expire_at is not None:
            expiry["expire_at"] = _seconds(epoch_microseconds(expire_at), expire_at)
        self._steps.append({**step, **expiry})

    def delete(self, key: Buffer) -> None:
        """Remove `key` if it is there."""
        self._steps.append(dict([("op", "delete"), member("key", self._key(key))]))

    def incr(self, key: Buffer, by: int = 1, *, ttl: float | None = None) -> None:
        """Add to the integer at `key`, as the store's own `incr` does."""
        checked = self._key(key)
        step: Document = dict([("op", "incr"), member("key", checked)])
        step["by"] = step_from(by, 1)
        if ttl is not None:
            step["ttl"] = _seconds(microseconds("ttl", ttl), ttl)
        self._steps.append(step)

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        commit, self._commit = self._commit, None
        if kind is None and commit is not None and (self._checks or self._steps):
            checks = [
                {**dict([member("key", key)]), "version": version}
                for key, version in self._checks.items()
            ]
            self.results = commit({"checks": checks, "ops": self._steps})

    def _key(self, key: Buffer) -> bytes:
        if self._commit is None:
            raise RuntimeError("the batch is over: begin another with store.batch()")
        return key_from(key, self._max_key)


def _seconds(checked: int, given: float) -> float | str:
    return "never" if checked == NEVER else given
