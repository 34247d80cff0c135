"""The law of files: what one table dumps the other loads, with its expiries."""

import os
import tempfile
from unittest import mock

from hypothesis.stateful import rule

import dumbkv
from tests.law import MONOTONIC, WALL, Base, flags


class Files(Base):
    @rule(replace=flags)
    def dump_and_load(self, replace: bool) -> None:
        # A load asks the system what the time is, as it knows no store's clock.
        clock = mock.patch("time.time_ns", return_value=(WALL + self.now) * 1000)
        # What reaches the disk is no matter here, and takes most of the time.
        disk = mock.patch("os.fsync")
        with tempfile.TemporaryDirectory() as directory, clock, disk:
            paths = [os.path.join(directory, str(n)) for n in range(len(self.stores))]
            for store, path in zip(self.stores, paths, strict=True):
                assert store.dump(path) == len(self.model)
            for store, path in zip(self.stores, reversed(paths), strict=True):
                self.loads_the_same(store, path, replace)

    def loads_the_same(self, store: dumbkv.Store, path: str, replace: bool) -> None:
        with dumbkv.open(
            backend=store.backend, default_ttl=60, max_key=store.max_key, max_value=store.max_value
        ) as other:
            other._set_clock(MONOTONIC + self.now, WALL + self.now)
            other[b"a"] = b"there before"
            other[b"of no other"] = b"there before"
            kept = {} if replace else {b"a": b"there before", b"of no other": b"there before"}
            assert other.load(path, replace=replace) == len(self.model)
            expected = kept | {key: value for key, (value, _) in self.model.items()}
            assert dict(other) == expected
            for key, (_, deadline) in self.model.items():
                entry = other.entry(key)
                assert entry is not None
                assert entry.expires_at == (None if deadline is None else (deadline + WALL) / 1e6)
            other._check()
